"""Judges generations with the verifier of their domain. Samples nothing and drops nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution

BATCH = 2048  # generations judged between two reports of progress


def verify(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """One row of `verdicts` for each row of `generations`; `inputs` holds it and `problems`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from resources.verifiers.attempts import unanswered
    from resources.verifiers.dispatch import verify_many
    from warehouse.rows import parents_of, with_ids

    columns = ["row_id", "problem_id", "reasoning", "response", "finish_reason"]
    generations = inputs["generations"].table("generations", columns)
    problems = inputs["problems"].table("problems")
    place = pc.index_in(generations["problem_id"], problems["row_id"])
    if place.null_count:
        raise ValueError(
            f"{inputs['generations'].key}: {place.null_count} generations answer problems that are "
            f"not in {inputs['problems'].key}; rebuild the generations"
        )
    rows = problems.to_pylist()
    asked = [rows[index] for index in place.to_pylist()]
    responses, modes = generations["response"].to_pylist(), generations["reasoning"].to_pylist()
    found = []
    for start in range(0, len(asked), BATCH):
        part = slice(start, start + BATCH)
        found += verify_many(asked[part], responses[part], modes[part])
        execution.progress("verdicts", len(found) / len(asked))
    reasons = generations["finish_reason"].to_pylist()
    found = [unanswered(reason) or one for one, reason in zip(found, reasons, strict=True)]
    ids = generations["row_id"].combine_chunks()
    table = pa.table(
        {
            "generation_id": ids,
            "verifier": pa.array([row["domain"] for row in asked], pa.string()),
            "verdict": pa.array([one.verdict for one in found], pa.string()),
            "evidence": pa.array([one.evidence for one in found], pa.string()),
        }
    )
    parents = parents_of(
        [[one] for one in ids.to_pylist()], [[inputs["generations"].key]] * len(ids)
    )
    table = with_ids(table, recipe["asset_key"], ["verifier", "verdict", "evidence"], parents)
    return Output(tables={"verdicts": table}, metrics=_metrics(modes, [v.verdict for v in found]))


def _metrics(modes: list[str], verdicts: list[str]) -> dict[str, float]:
    counts, pairs = Counter(modes), Counter(zip(modes, verdicts, strict=True))
    metrics = {f"correct_{mode}": pairs[mode, "correct"] / counts[mode] for mode in sorted(counts)}
    unknown = sum(verdict == "unknown" for verdict in verdicts)
    return metrics | {"unknown": unknown / max(len(verdicts), 1)}
