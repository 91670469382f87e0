"""Judges generations with the verifier of their domain. Samples nothing and drops nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution
    from resources.verifiers.verdict import Verdict

BATCH = 2048  # generations judged between two reports of progress


def verify(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """One row of `verdicts` for each row of `generations`, or of `edits` where `inputs` has those.

    `inputs` also holds `problems`.

    Where it holds `votes`, answers to problems without a known answer are judged by those, and
    `verifier` says so: a vote is never taken for a truth.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from resources.verifiers.attempts import unanswered
    from resources.verifiers.dispatch import verify_many
    from resources.verifiers.voting import BY_VOTE
    from warehouse.rows import parents_of, with_ids

    columns = ["row_id", "problem_id", "reasoning", "response", "finish_reason"]
    table = "edits" if "edits" in inputs else "generations"
    made = inputs[table]
    generations = made.table(table, columns)
    problems = inputs["problems"].table("problems")
    place = pc.index_in(generations["problem_id"], problems["row_id"])
    if place.null_count:
        raise ValueError(
            f"{made.key}: {place.null_count} {table} answer problems that are not in "
            f"{inputs['problems'].key}; rebuild the {table}"
        )
    rows = problems.to_pylist()
    asked = [rows[index] for index in place.to_pylist()]
    responses, modes = generations["response"].to_pylist(), generations["reasoning"].to_pylist()
    found = []
    for start in range(0, len(asked), BATCH):
        part = slice(start, start + BATCH)
        found += verify_many(asked[part], responses[part], modes[part])
        execution.progress("verdicts", len(found) / len(asked))
    verifiers = [row["domain"] for row in asked]
    for at, verdict in _by_vote(asked, responses, inputs.get("votes")):
        found[at], verifiers[at] = verdict, verifiers[at] + BY_VOTE
    reasons = generations["finish_reason"].to_pylist()
    found = [unanswered(reason) or one for one, reason in zip(found, reasons, strict=True)]
    ids = generations["row_id"].combine_chunks()
    judged = pa.table(
        {
            "generation_id": ids,
            "verifier": pa.array(verifiers, pa.string()),
            "verdict": pa.array([one.verdict for one in found], pa.string()),
            "evidence": pa.array([one.evidence for one in found], pa.string()),
        }
    )
    parents = parents_of([[one] for one in ids.to_pylist()], [[made.key]] * len(ids))
    judged = with_ids(judged, recipe["asset_key"], ["verifier", "verdict", "evidence"], parents)
    return Output(tables={"verdicts": judged}, metrics=_metrics(modes, [v.verdict for v in found]))


def _by_vote(
    asked: Sequence[Mapping[str, Any]], responses: Sequence[str], votes: Artifact | None
) -> Iterator[tuple[int, Verdict]]:
    """Places of the answers to problems that were voted on, with the verdict by vote."""
    from resources.verifiers.voting import judged

    if votes is None:
        return
    columns = ["problem_id", "answer", "evidence"]
    found = {row["problem_id"]: row for row in votes.table("votes", columns).to_pylist()}
    for place, (problem, response) in enumerate(zip(asked, responses, strict=True)):
        vote = found.get(problem["row_id"])
        if vote is not None:
            yield place, judged(problem["domain"], response, vote["answer"], vote["evidence"])


def _metrics(modes: list[str], verdicts: list[str]) -> dict[str, float]:
    counts, pairs = Counter(modes), Counter(zip(modes, verdicts, strict=True))
    metrics = {f"correct_{mode}": pairs[mode, "correct"] / counts[mode] for mode in sorted(counts)}
    unknown = sum(verdict == "unknown" for verdict in verdicts)
    return metrics | {"unknown": unknown / max(len(verdicts), 1)}
