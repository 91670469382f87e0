"""Asks the models for answers: the teacher with thinking on, and one model with thinking off.

Only samples; what is right is judged in `verify.py`, what is used is chosen in `select.py`, so that
neither costs a token again. The paper pairs reasoning-on responses of a reasoning model with
reasoning-off responses of another one (arXiv 2505.00949 section 3.2): the input `instruct`, where
there is one, answers with thinking off.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.sft_data.asking import Asking
from warehouse.files.spool import Spool
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
    """Sample `samples_on` and `samples_off` responses to problems, as `generations`.

    `inputs`: `problems`, `teacher`, optionally `instruct`. `recipe`: `domain`; `prompts` problems
    of it, without those of the sources `apart`, or all of one `source`; `samples_on`,
    `samples_off`; `generation` (temperature, top_p, max_new_tokens), and `generation_off` where
    that differs; `teacher` and `off`, models that only servers have; `by`, who answers with
    thinking on. Raises ValueError where more than one answer in a hundred is missing.
    """
    from resources.engines.protocol import Sampling
    from resources.verifiers import attempts

    problems = draw(inputs["problems"], recipe)
    asking, counted = Asking(recipe["asset_key"]), _Counts()
    with Spool(workdir / "generations.arrow") as spool:
        for mode in MODES:
            samples = recipe[f"samples_{mode}"]
            if not samples:
                continue
            drawn = recipe.get(f"generation_{mode}", recipe["generation"])
            sampling = Sampling(**drawn, seed=recipe["seed"])
            engine, name, version = _open(mode, inputs, recipe, execution)
            prompts = attempts.every(_rows(problems, inputs["problems"]), mode, samples)
            count = samples * problems.num_rows
            ask = attempts.request
            for asked, made in asking.answered(engine, prompts, ask, count, sampling):
                rows = _table(asked, shared(made, engine), (name, version), sampling)
                counted.add(rows)
                spool.add(_identified(rows, recipe["asset_key"], inputs["problems"].key))
    observations = asking.settled()
    return Output(
        tables={"generations": spool.batches()},
        metrics=counted.metrics(asking.failed),
        observations=observations,
    )


def _open(
    mode: str, inputs: Mapping[str, Artifact], recipe: Mapping[str, Any], execution: Execution
) -> tuple[Engine, str, str]:
    """Who answers in a mode, with its name and version; a served model is named by the recipe."""
    from resources.engines.opening import open_engine, open_served

    apart = "off" in recipe or "instruct" in inputs
    role = "off" if apart and "off" in (mode, recipe.get("by")) else "teacher"
    if role in recipe:
        engine = open_served(recipe[role], execution, role)
        return engine, str(recipe[role]["model"]), engine.model_version
    model = inputs["instruct" if role == "off" else "teacher"]
    version = model.data_version
    engine = open_engine(model, version, execution, recipe.get("dtype"), role=role)
    return engine, model.key, version


def shared(completions: Sequence[Completion], engine: Engine) -> list[Completion]:
    """The completions with their thinking between the tags of text that models share."""
    from resources.verifiers.reasoning import TAGS, retagged

    tags = engine.chat.toggle.tags
    return [replace(each, text=retagged(each.text, tags, TAGS)) for each in completions]


def draw(problems: Artifact, recipe: Mapping[str, Any]) -> pa.Table:
    """The training problems that a recipe has asked: the same ones still when others are added.

    Those of one `source`, or of all but `apart`, ordered by a seeded hash of their row id; no more
    than `prompts`, where it says so. Raises ValueError when there is none.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    table = problems.table("problems")
    table = table.filter(pc.equal(table["split"], "train"))
    if "source" in recipe:
        table = table.filter(pc.equal(table["source"], recipe["source"]))
    if "apart" in recipe:
        others = pc.is_in(table["source"], value_set=pa.array(recipe["apart"], pa.string()))
        table = table.filter(pc.invert(others))
    if not table.num_rows:
        of = f" of the source {recipe['source']}" if "source" in recipe else ""
        raise ValueError(f"{problems.key} has no training problem{of} to ask")
    salt = str(recipe["seed"]).encode()
    ranks = [
        hashlib.blake2b(row_id, key=salt, digest_size=8).digest()
        for row_id in table["row_id"].to_pylist()
    ]
    order = sorted(range(len(ranks)), key=ranks.__getitem__)
    return table.take(order[: recipe.get("prompts")])


def _rows(problems: pa.Table, artifact: Artifact) -> Iterator[dict[str, Any]]:
    """The problems one by one, each naming its asset."""
    for batch in problems.to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            yield row | {"asset_key": artifact.key}


def _table(
    prompts: Sequence[Prompt],
    completions: Sequence[Completion],
    model: tuple[str, str],
    sampling: Sampling,
) -> pa.Table:
    import pyarrow as pa

    count = len(prompts)
    return pa.table(
        {
            "problem_id": pa.array([p.problem["row_id"] for p in prompts], pa.binary(16)),
            "role": pa.repeat("assistant", count),
            "model": pa.repeat(model[0], count),
            "model_version": pa.repeat(model[1], count),
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


def _identified(table: pa.Table, asset_key: str, problems_key: str) -> pa.Table:
    from warehouse.rows import parents_of, with_ids

    ids = table["problem_id"].to_pylist()
    parents = parents_of([[one] for one in ids], [[problems_key]] * len(ids))
    content = ["reasoning", "response"]
    return with_ids(table, asset_key, content, parents, sample_index_column="sample_index")


@dataclass
class _Counts:
    """The metrics of generations, counted as they come."""

    rows: int = 0
    tokens: int = 0
    truncated: int = 0

    def add(self, table: pa.Table) -> None:
        """Count the rows of some completions."""
        import pyarrow.compute as pc

        self.rows += table.num_rows
        self.tokens += pc.sum(table["completion_tokens"]).as_py()
        self.truncated += pc.sum(pc.equal(table["finish_reason"], "length")).as_py()

    def metrics(self, failed: int) -> dict[str, float]:
        """Of all rows, `failed` of which have no answer."""
        found = {
            "generations": float(self.rows),
            "mean_tokens": self.tokens / self.rows,
            "truncated": self.truncated / self.rows,
        }
        return found | ({"failed": failed / self.rows} if failed else {})
