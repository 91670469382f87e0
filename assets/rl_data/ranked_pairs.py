"""Turns judged responses to one prompt into pairs of a better and a worse one.

Pure selection: it knows verdicts and the reasoning toggle, no model and no reward.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resources.verifiers.reasoning import TAGS, Tags, follows_toggle, split

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.verifiers.attempts import Attempt, Prompt


@dataclass(frozen=True)
class Response:
    """What was said, and its tokens (as sampled, where it was sampled)."""

    text: str
    token_ids: list[int]


@dataclass(frozen=True)
class Pair:
    """Two responses to `prompt`; `kind` says why one is better.

    Kinds: `correctness` (verdicts differ), `toggle` (one breaks the reasoning toggle) and
    `reward` (scores differ).
    """

    prompt: "Prompt"
    chosen: Response
    rejected: Response
    kind: str


def sampled(attempt: "Attempt") -> Response:
    """An attempt's response with the tokens that were drawn."""
    return Response(attempt.completion.text, attempt.completion.token_ids)


def break_toggle(response: str, reasoning: str, tags: Tags = TAGS) -> str:
    r"""`response`, which obeys the toggle, changed so that it breaks it and nothing else.

    >>> break_toggle("<think>\n2+2=4\n</think>\n\n4", "on")
    '4'
    >>> break_toggle("4", "off")
    '<think>\n4\n</think>\n\n4'
    """
    thinking, answer = split(response, tags)
    opening, closing = tags
    return (
        answer if reasoning == "on" else f"{opening}\n{thinking or answer}\n{closing}\n\n{answer}"
    )


def ranked_pairs(attempts: Sequence["Attempt"], encode: Callable[[str], list[int]]) -> list[Pair]:
    """Pairs within each problem, in order of first appearance; `encode` turns text into tokens.

    `correctness`: the i-th correct response of a mode against the i-th incorrect one. `toggle`: a
    response that obeys its mode (a correct one, else a finished one, where there is one) against
    one that breaks it: a response sampled in the other mode where there is one, else the same
    response with its thinking removed (on) or wrapped in think tags (off).
    """
    groups: dict[bytes, list[Attempt]] = {}
    for attempt in (each for each in attempts if each.answered):
        groups.setdefault(attempt.prompt.problem["row_id"], []).append(attempt)
    return [pair for group in groups.values() for pair in _of_problem(group, encode)]


def _of_problem(group: list["Attempt"], encode: Callable[[str], list[int]]) -> Iterator[Pair]:
    for mode in ("on", "off"):
        asked = [a for a in group if a.prompt.reasoning == mode]
        correct = [a for a in asked if a.verdict.verdict == "correct" and a.follows_toggle]
        incorrect = [a for a in asked if a.verdict.verdict == "incorrect"]
        for better, worse in zip(correct, incorrect, strict=False):
            yield Pair(better.prompt, sampled(better), sampled(worse), "correctness")
        obeying = correct or sorted(
            (a for a in asked if a.follows_toggle), key=lambda a: a.truncated
        )
        if not obeying:
            continue
        best = obeying[0]
        breaking = [
            sampled(a)
            for a in group
            if a.prompt.reasoning != mode and not follows_toggle(a.completion.text, mode, a.tags)
        ]
        if not breaking:
            text = break_toggle(best.completion.text, mode, best.tags)
            breaking = [Response(text, encode(text))]
        yield Pair(best.prompt, sampled(best), breaking[0], "toggle")


def pair_table(
    pairs: Sequence[Pair],
    asset_key: str,
    chosen_rewards: Sequence[float],
    rejected_rewards: Sequence[float],
    **columns: Sequence[object],
) -> "pa.Table":
    """The pairs as `preferences` rows, with their token ids, `position` and further `columns`.

    Each problem must carry `asset_key`, the key of the asset its row stands in.
    """
    import pyarrow as pa

    from warehouse.rows import parents_of, with_ids

    problems = [pair.prompt.problem for pair in pairs]
    tokens = pa.list_(pa.int32())
    data: dict[str, pa.Array] = {
        "problem_id": pa.array([problem["row_id"] for problem in problems], pa.binary(16)),
        "chosen": pa.array([pair.chosen.text for pair in pairs], pa.string()),
        "rejected": pa.array([pair.rejected.text for pair in pairs], pa.string()),
        "chosen_reward": pa.array(list(chosen_rewards), pa.float64()),
        "rejected_reward": pa.array(list(rejected_rewards), pa.float64()),
        "reasoning": pa.array([pair.prompt.reasoning for pair in pairs], pa.string()),
        "kind": pa.array([pair.kind for pair in pairs], pa.string()),
        "domain": pa.array([problem["domain"] for problem in problems], pa.string()),
        "chosen_ids": pa.array([pair.chosen.token_ids for pair in pairs], tokens),
        "rejected_ids": pa.array([pair.rejected.token_ids for pair in pairs], tokens),
        "position": pa.array(range(len(pairs)), pa.int64()),
        **{name: pa.array(list(values)) for name, values in columns.items()},
    }
    parents = parents_of([[p["row_id"]] for p in problems], [[p["asset_key"]] for p in problems])
    content = ["reasoning", "kind", "chosen", "rejected"]
    return with_ids(pa.table(data), asset_key, content, parents, sample_index_column="position")
