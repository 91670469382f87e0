"""Benchmarks of one checkpoint on the held-out problems, with thinking on and off.

Asks, judges and counts; it does not compare checkpoints (see `report.py`).
Source: arXiv 2505.00949 section 7 (on: temperature 0.6, top-p 0.95; off: greedy; mean pass@1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.benchmarks.intervals import correct_shares, wilson
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.execution import Execution
    from resources.verifiers.attempts import Attempt

OVERALL = "overall"
MODES = ("on", "off")


def build_benchmarks(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """Accuracy per benchmark (a domain, or `overall`), per depth and per mode, with intervals.

    A mode decoded greedily is sampled once, the other `samples` times. A response whose verdict is
    `unknown` is in `answers` but in no accuracy.
    """
    from resources.engines.opening import open_engine
    from resources.engines.protocol import Sampling
    from resources.training.plots import curve
    from resources.verifiers import attempts

    model, held_out = inputs["model"], inputs["held_out"]
    problems = [
        dict(row, asset_key=held_out.key)
        for row in held_out.table("problems").to_pylist()
        if row["domain"] in recipe["domains"]
    ]
    if not problems:
        raise ValueError(f"{held_out.key} has no problem of the domains {recipe['domains']}")
    engine = open_engine(
        model, model.data_version, execution, recipe.get("dtype"), role="evaluation"
    )
    made: list[Attempt] = []
    for mode in MODES:
        decoding = recipe[mode]
        sampling = Sampling(
            temperature=decoding["temperature"],
            top_p=decoding["top_p"],
            max_new_tokens=recipe["max_new_tokens"],
            seed=recipe["seed"],
        )
        samples = recipe["samples"] if decoding["temperature"] else 1
        made += attempts.attempt(engine, attempts.every(problems, mode, samples), sampling)

    scores = score_table(made, recipe["model"], recipe["stage"])
    overall = {
        row["reasoning"]: row
        for row in scores.to_pylist()
        if row["benchmark"] == OVERALL and row["difficulty"] is None
    }
    answers = answer_table(made, recipe["asset_key"], model)
    metrics = {f"accuracy_{mode}": overall[mode]["accuracy"] for mode in MODES}
    for mode in MODES:
        there = [one for one in made if one.prompt.reasoning == mode]
        metrics[f"follows_toggle_{mode}"] = _mean([one.follows_toggle for one in there])
        metrics[f"truncated_{mode}"] = _mean([one.truncated for one in there])
        metrics[f"tokens_{mode}"] = _mean([one.completion.completion_tokens for one in there])
    metrics["unknown"] = _mean([one.verdict.verdict == "unknown" for one in made])
    return Output(
        tables={"benchmarks": scores, "answers": answers},
        metrics=metrics,
        observations={"requests": attempts.usage(engine)},
        images={"accuracy_by_depth": _picture(scores, curve)},
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)


def score_table(made: Sequence[Attempt], model: str, stage: str) -> pa.Table:
    """The `benchmarks` table: a row a benchmark, mode and depth (null: all depths).

    `accuracy` is the mean over problems of the share of judged samples that are correct; the
    interval takes the problem, not the sample, as the independent trial, which is conservative.
    """
    import pyarrow as pa

    domains = sorted({one.prompt.problem["domain"] for one in made})
    depths = sorted({one.prompt.problem["difficulty"] for one in made} - {None})
    rows = []
    for mode in MODES:
        for domain in [None, *domains]:
            for depth in [None, *depths]:
                chosen = [
                    one
                    for one in made
                    if one.prompt.reasoning == mode
                    and domain in (None, one.prompt.problem["domain"])
                    and depth in (None, one.prompt.problem["difficulty"])
                ]
                shares = correct_shares(
                    (one.prompt.problem["row_id"], one.verdict.verdict) for one in chosen
                )
                if not chosen:
                    continue
                accuracy = _mean(list(shares.values()))
                low, high = wilson(accuracy, len(shares))
                rows.append(
                    {
                        "model": model,
                        "stage": stage,
                        "benchmark": domain or OVERALL,
                        "reasoning": mode,
                        "problems": len(shares),
                        "samples": 1 + max(one.prompt.sample_index for one in chosen),
                        "accuracy": accuracy,
                        "ci_low": low,
                        "ci_high": high,
                        "domain": domain,
                        "difficulty": depth,
                        "correct": sum(one.verdict.correct for one in chosen),
                    }
                )
    text = ("model", "stage", "benchmark", "reasoning", "domain")
    real = ("accuracy", "ci_low", "ci_high")
    schema = pa.schema(
        [
            (name, pa.string() if name in text else pa.float64() if name in real else pa.int64())
            for name in rows[0]
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def answer_table(made: Sequence[Attempt], asset_key: str, model: Artifact) -> pa.Table:
    """Every response with its verdict, as the `answers` table."""
    import pyarrow as pa

    from resources.chat.chat import Chat
    from resources.verifiers.reasoning import split
    from warehouse.rows import parents_of, with_ids

    problems = [one.prompt.problem for one in made]
    thoughts = [split(one.completion.text, one.tags)[0] for one in made]
    thinking = [len(ids) for ids in Chat.load(model.path()).texts(thoughts)]
    table = pa.table(
        {
            "problem_id": pa.array([p["row_id"] for p in problems], pa.binary(16)),
            "reasoning": pa.array([one.prompt.reasoning for one in made], pa.string()),
            "sample_index": pa.array([one.prompt.sample_index for one in made], pa.int64()),
            "response": pa.array([one.completion.text for one in made], pa.string()),
            "verdict": pa.array([one.verdict.verdict for one in made], pa.string()),
            "difficulty": pa.array([p["difficulty"] for p in problems], pa.int64()),
            "domain": pa.array([p["domain"] for p in problems], pa.string()),
            "benchmark": pa.array([p["domain"] for p in problems], pa.string()),
            "thinking_tokens": pa.array(thinking, pa.int64()),
            "completion_tokens": pa.array(
                [one.completion.completion_tokens for one in made], pa.int64()
            ),
            "follows_toggle": pa.array([one.follows_toggle for one in made], pa.bool_()),
            "evidence": pa.array([one.verdict.evidence for one in made], pa.string()),
        }
    )
    parents = parents_of([[p["row_id"]] for p in problems], [[p["asset_key"]] for p in problems])
    content = ["reasoning", "response"]
    return with_ids(table, asset_key, content, parents, sample_index_column="sample_index")


def _picture(scores: pa.Table, curve: Any) -> bytes:
    rows = [row for row in scores.to_pylist() if row["benchmark"] == OVERALL and row["difficulty"]]
    depths = sorted({row["difficulty"] for row in rows})
    series = {
        f"accuracy, thinking {mode}": [
            next(r["accuracy"] for r in rows if (r["reasoning"], r["difficulty"]) == (mode, depth))
            for depth in depths
        ]
        for mode in MODES
    }
    picture: bytes = curve(depths, series, x_label="serial depth k")
    return picture
