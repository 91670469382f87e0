"""Gives problems without a known answer one by vote: what most of the answers to each say.

Asks no model: another margin counts again what was answered. What agrees with the vote is said in
`verify.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.execution import Execution
    from resources.verifiers.voting import Ballot, Count, Majority

ANSWERS = ("row_id", "problem_id", "reasoning", "response", "finish_reason")


def vote(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: Mapping[str, Any], execution: Execution
) -> Output:
    """`votes`, a row for each answered problem without a known answer, and `ballots`, one for each
    answer to it that may vote.

    `inputs`: `problems`, `generations`. `recipe`: `domain`; `modes`, the reasoning modes whose
    answers vote; `vote` (minimum, share, margin).
    """
    import pyarrow.compute as pc

    from resources.verifiers.voting import Rule, ballot, count, decide

    domain, rule = str(recipe["domain"]), Rule(**recipe["vote"])
    answers = voting(inputs, recipe["modes"])
    texts = (answers[name].to_pylist() for name in ("response", "finish_reason"))
    cast = [ballot(domain, said, end) for said, end in zip(*texts, strict=True)]
    places: dict[bytes, list[int]] = {}
    for place, problem in enumerate(answers["problem_id"].to_pylist()):
        places.setdefault(problem, []).append(place)
    majorities: list[Majority] = []
    counts: list[Count] = []
    for done, own in enumerate(places.values()):
        given = Counter(cast[place].answer for place in own if not cast[place].why)
        counts.append(count(given, equal(domain)))
        majorities.append(decide(counts[-1], rule))
        execution.progress("votes", (done + 1) / len(places))
    votes = _votes(list(places.items()), majorities, answers, inputs, recipe)
    counted = dict(zip(places, counts, strict=True))
    ballots = _ballots(answers, cast, counted, inputs["generations"].key, recipe["asset_key"])
    outcomes = Counter(each.outcome for each in majorities)
    metrics = {f"votes_{each.replace(' ', '_')}": float(n) for each, n in sorted(outcomes.items())}
    metrics["ballots_counted"] = float(pc.sum(ballots["counted"]).as_py() or 0)
    return Output(tables={"votes": votes, "ballots": ballots}, metrics=metrics)


def voting(inputs: Mapping[str, Artifact], modes: Sequence[str]) -> pa.Table:
    """The answers to problems without a known answer that may vote, sorted by their ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    problems = inputs["problems"].table("problems", ["row_id", "expected_answer"])
    missing = pc.equal(pc.fill_null(problems["expected_answer"], ""), "")
    asked = problems.filter(missing)["row_id"]
    answers = inputs["generations"].table("generations", list(ANSWERS))
    wanted = pc.and_(
        pc.is_in(answers["problem_id"], asked),
        pc.is_in(answers["reasoning"], value_set=pa.array(list(modes), pa.string())),
    )
    return answers.filter(wanted).sort_by([("problem_id", "ascending"), ("row_id", "ascending")])


def equal(domain: str) -> Any:
    """Whether two answers of a domain say the same, in either order asked of the verifier once."""
    from resources.verifiers.voting import agrees

    @lru_cache(maxsize=4096)
    def ordered(one: str, other: str) -> bool:
        return agrees(domain, one, other).correct

    return lambda one, other: ordered(*sorted((one, other)))


def _votes(
    places: Sequence[tuple[bytes, Sequence[int]]],
    majorities: Sequence[Majority],
    answers: pa.Table,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
) -> pa.Table:
    """A row a problem, the child of the problem and of the answers to it that may vote."""
    import pyarrow as pa

    from warehouse.rows import parents_of, with_ids

    problems = [problem for problem, _ in places]
    table = pa.table(
        {
            "problem_id": pa.array(problems, pa.binary(16)),
            "domain": pa.repeat(recipe["domain"], len(problems)),
            "answer": pa.array([each.answer for each in majorities], pa.string()),
            "outcome": pa.array([each.outcome for each in majorities], pa.string()),
            "leader": pa.array([each.leader for each in majorities], pa.string()),
            "answers": pa.array([len(own) for _, own in places], pa.int64()),
            "votes": pa.array([each.votes for each in majorities], pa.int64()),
            "leader_votes": pa.array([each.leader_votes for each in majorities], pa.int64()),
            "second_votes": pa.array([each.second_votes for each in majorities], pa.int64()),
            "evidence": pa.array([each.evidence for each in majorities], pa.string()),
        }
    )
    ids = answers["row_id"].to_pylist()
    key, made = inputs["problems"].key, inputs["generations"].key
    parents = parents_of(
        [[problem, *(ids[place] for place in own)] for problem, own in places],
        [[key, *[made] * len(own)] for _, own in places],
    )
    return with_ids(table, recipe["asset_key"], ["outcome", "answer"], parents)


def _ballots(
    answers: pa.Table,
    cast: Sequence[Ballot],
    counts: Mapping[bytes, Count],
    generations_key: str,
    asset_key: str,
) -> pa.Table:
    """A row an answer: what it says, which answer that is a vote for, or why it does not count."""
    import pyarrow as pa

    from warehouse.rows import parents_of, with_ids

    ids, problems = answers["row_id"].to_pylist(), answers["problem_id"].to_pylist()
    heads = [
        None if each.why else counts[problem].counts_for.get(each.answer)
        for each, problem in zip(cast, problems, strict=True)
    ]
    reasons = [
        each.why or (None if head is not None else "says the same as two answers that differ")
        for each, head in zip(cast, heads, strict=True)
    ]
    table = pa.table(
        {
            "generation_id": pa.array(ids, pa.binary(16)),
            "problem_id": pa.array(problems, pa.binary(16)),
            "answer": pa.array([each.answer for each in cast], pa.string()),
            "counts_for": pa.array(heads, pa.string()),
            "counted": pa.array([head is not None for head in heads], pa.bool_()),
            "reason": pa.array(reasons, pa.string()),
        }
    )
    parents = parents_of([[one] for one in ids], [[generations_key]] * len(ids))
    return with_ids(table, asset_key, ["answer", "counts_for"], parents)
