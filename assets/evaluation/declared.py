"""One checkpoint on one declared benchmark: its scores, and every answer with its verdict.

The protocol is the method's matter (`resources/benchmarks`); comparing checkpoints is the report's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.store import Artifact, CheckResult, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.benchmarks.answers import Answer, Measure
    from resources.execution import Execution

ACCURACY = "accuracy"


def build_scores(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: Mapping[str, Any], execution: Execution
) -> Output:
    """The tables `benchmarks`, a row a metric and mode, and `answers`.

    `inputs`: `model` and `benchmark`. `recipe`: `model`, `stage`, `name` and `protocol`, what of
    the declaration is not in the benchmark's own slice. An `unknown` verdict is in no accuracy.
    """
    from resources.benchmarks.answers import Asked, Subject
    from resources.benchmarks.methods import method
    from resources.recipe.sections.benchmark import Benchmark

    model, benchmark = inputs["model"], inputs["benchmark"]
    protocol = Benchmark.model_validate(
        {**benchmark.manifest["recipe"]["benchmark"], **recipe["protocol"]}
    )
    asked = Asked(
        benchmark.table("problems").to_pylist(), benchmark.table("examples").to_pylist(), protocol
    )
    how = method(protocol.method)
    subject = Subject(model, model.data_version, execution)
    answers = how.answer(subject, asked, recipe["seed"])
    measures = how.measure(answers, asked)
    counted = {each: sum(a.verdict == each for a in answers) for each in ("correct", "unknown")}
    return Output(
        tables={
            "benchmarks": score_table(measures, recipe, protocol.method),
            "answers": answer_table(answers, recipe, benchmark.key),
        },
        metrics={_name(each): each.value for each in measures}
        | {name: float(count) for name, count in counted.items()},
    )


def _name(measure: Measure) -> str:
    return f"{measure.metric}_{measure.reasoning}" if measure.reasoning else measure.metric


def score_table(measures: Sequence[Measure], recipe: Mapping[str, Any], method: str) -> pa.Table:
    """The `benchmarks` table; `accuracy` is null where the metric is another."""
    import pyarrow as pa

    text, real, whole = pa.string(), pa.float64(), pa.int64()
    schema = pa.schema(
        {
            "model": text,
            "stage": text,
            "benchmark": text,
            "reasoning": text,
            "problems": whole,
            "samples": whole,
            "accuracy": real,
            "metric": text,
            "value": real,
            "method": text,
            "ci_low": real,
            "ci_high": real,
            "chance": real,
            "at_chance": pa.bool_(),
        }
    )
    rows = [
        {
            "model": recipe["model"],
            "stage": recipe["stage"],
            "benchmark": recipe["name"],
            "reasoning": each.reasoning,
            "problems": each.problems,
            "samples": each.samples,
            "accuracy": each.value if each.metric == ACCURACY else None,
            "metric": each.metric,
            "value": each.value,
            "method": method,
            "ci_low": each.low,
            "ci_high": each.high,
            "chance": each.chance,
            "at_chance": each.at_chance,
        }
        for each in measures
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def answer_table(answers: Sequence[Answer], recipe: Mapping[str, Any], key: str) -> pa.Table:
    """Every answer with its verdict, as the `answers` table; `key` is the benchmark's asset."""
    import json

    import pyarrow as pa

    from warehouse.rows import parents_of, with_ids

    problems = [each.problem for each in answers]
    nothing = pa.nulls(len(answers), pa.int64())
    table = pa.table(
        {
            "problem_id": pa.array([p["row_id"] for p in problems], pa.binary(16)),
            "reasoning": pa.array([each.reasoning for each in answers], pa.string()),
            "sample_index": pa.array([each.sample_index for each in answers], pa.int64()),
            "response": pa.array([each.response for each in answers], pa.string()),
            "verdict": pa.array([each.verdict for each in answers], pa.string()),
            "difficulty": nothing,
            "domain": pa.array([p["domain"] for p in problems], pa.string()),
            "benchmark": pa.repeat(recipe["name"], len(answers)),
            "thinking_tokens": nothing,
            "completion_tokens": pa.array([a.completion_tokens for a in answers], pa.int64()),
            "follows_toggle": pa.nulls(len(answers), pa.bool_()),
            "evidence": pa.array([each.evidence for each in answers], pa.string()),
            "truncated": pa.array([each.truncated for each in answers], pa.bool_()),
            "numbers": pa.array([json.dumps(dict(a.numbers)) for a in answers], pa.string()),
        }
    )
    parents = parents_of([[p["row_id"]] for p in problems], [[key]] * len(problems))
    content = ["reasoning", "response"]
    return with_ids(table, recipe["asset_key"], content, parents, "sample_index")


def every_problem_answered(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Each problem is answered as often in each mode as the protocol says."""
    protocol = artifact.manifest["recipe"]["protocol"]
    problems = inputs["benchmark"].manifest["tables"]["problems"]["rows"]
    modes = max(1, len(protocol.get("thinking", [])))
    expected = problems * modes * protocol.get("samples", 1)
    found = artifact.manifest["tables"]["answers"]["rows"]
    return CheckResult(
        "every_problem_answered",
        found == expected,
        f"{found} answers to {problems} problems, expected {expected}",
    )


def some_judged(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Some answer was judged, and no score lies outside its interval."""
    rows = artifact.table("benchmarks").to_pylist()
    wrong = [row for row in rows if not row["ci_low"] <= row["value"] <= row["ci_high"]]
    return CheckResult(
        "some_judged",
        bool(rows) and not wrong,
        f"{len(rows)} scores, {len(wrong)} outside their interval, "
        f"{sum(row['problems'] == 0 for row in rows)} without a judged problem",
    )
