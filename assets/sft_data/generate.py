"""Asks the models for answers: the teacher with thinking on, and one model with thinking off.

Only samples; what is right is judged in `verify.py`, what is used is chosen in `select.py`, so that
neither costs a token again. The paper pairs reasoning-on responses of a reasoning model with
reasoning-off responses of another one (arXiv 2505.00949 section 3.2): the input `instruct`, where
there is one, answers with thinking off.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.engines.protocol import Completion, Engine, Sampling
    from resources.execution import Execution
    from resources.verifiers.attempts import Prompt

MODES = ("on", "off")


def generate(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """Sample `samples_on` and `samples_off` responses to `prompts` problems, as `generations`.

    `inputs`: `problems`, `teacher`, optionally `instruct`. `recipe`: `domain`, `prompts`,
    `samples_on`, `samples_off` and `generation` (temperature, top_p, max_new_tokens).
    """
    import pyarrow as pa

    from resources.engines.opening import open_engine
    from resources.engines.protocol import Sampling
    from resources.verifiers import attempts

    problems = draw(inputs["problems"], recipe["prompts"], recipe["seed"])
    sampling = Sampling(**recipe["generation"], seed=recipe["seed"])
    parts: list[pa.Table] = []
    usage: dict[str, dict[str, int]] = {}
    seconds = 0.0
    for mode in MODES:
        count = recipe[f"samples_{mode}"]
        if not count:
            continue
        model = inputs["instruct"] if mode == "off" and "instruct" in inputs else inputs["teacher"]
        engine = open_engine(model, model.data_version, execution, recipe.get("dtype"))
        prompts = attempts.every(problems, mode, count)
        completions = engine.generate([attempts.request(prompt) for prompt in prompts], sampling)
        seconds += sum(completion.seconds for completion in completions)
        usage[mode] = attempts.usage(engine)
        parts.append(_table(prompts, shared(completions, engine), model, sampling))
    return _output(pa.concat_tables(parts), recipe, inputs["problems"].key, usage, seconds)


def shared(completions: Sequence[Completion], engine: Engine) -> list[Completion]:
    """The completions with their thinking between the tags of text that models share."""
    from resources.verifiers.reasoning import TAGS, retagged

    tags = engine.chat.toggle.tags
    return [replace(each, text=retagged(each.text, tags, TAGS)) for each in completions]


def draw(problems: Artifact, count: int, seed: int) -> list[dict[str, Any]]:
    """`count` training problems (all, if fewer), the same ones still when others are added.

    Problems are ordered by a seeded hash of their row id. Raises ValueError when there is none.
    """
    import pyarrow.compute as pc

    table = problems.table("problems")
    table = table.filter(pc.equal(table["split"], "train"))
    if not table.num_rows:
        raise ValueError(f"{problems.key} has no training problem to ask")
    salt = str(seed).encode()
    ranks = [
        hashlib.blake2b(row_id, key=salt, digest_size=8).digest()
        for row_id in table["row_id"].to_pylist()
    ]
    order = sorted(range(len(ranks)), key=ranks.__getitem__)
    rows = table.take(order[:count]).to_pylist()
    return [row | {"asset_key": problems.key} for row in rows]


def _table(
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    model: Artifact,
    sampling: Sampling,
) -> pa.Table:
    import pyarrow as pa

    count = len(prompts)
    return pa.table(
        {
            "problem_id": pa.array([p.problem["row_id"] for p in prompts], pa.binary(16)),
            "role": pa.repeat("assistant", count),
            "model": pa.repeat(model.key, count),
            "model_version": pa.repeat(model.data_version, count),
            "reasoning": pa.array([p.reasoning for p in prompts], pa.string()),
            "sample_index": pa.array([p.sample_index for p in prompts], pa.int64()),
            "temperature": pa.repeat(float(sampling.temperature), count),
            "top_p": pa.repeat(float(sampling.top_p), count),
            "response": pa.array([c.text for c in completions], pa.string()),
            "prompt_tokens": pa.array([c.prompt_tokens for c in completions], pa.int64()),
            "completion_tokens": pa.array([c.completion_tokens for c in completions], pa.int64()),
            "finish_reason": pa.array([c.finish_reason for c in completions], pa.string()),
            "domain": pa.array([p.problem["domain"] for p in prompts], pa.string()),
        }
    )


def _output(
    table: pa.Table,
    recipe: Mapping[str, Any],
    problems_key: str,
    usage: dict[str, dict[str, int]],
    seconds: float,
) -> Output:
    import pyarrow.compute as pc

    from warehouse.rows import parents_of, with_ids

    ids = table["problem_id"].to_pylist()
    parents = parents_of([[one] for one in ids], [[problems_key]] * len(ids))
    table = with_ids(
        table,
        recipe["asset_key"],
        ["reasoning", "response"],
        parents,
        sample_index_column="sample_index",
    )
    truncated = pc.sum(pc.equal(table["finish_reason"], "length")).as_py()
    return Output(
        tables={"generations": table},
        metrics={
            "generations": float(table.num_rows),
            "mean_tokens": pc.mean(table["completion_tokens"]).as_py(),
            "truncated": truncated / table.num_rows,
        },
        observations={"requests": usage, "engine_seconds": seconds},
    )
