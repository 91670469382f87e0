"""Draws seeded problems of any domain as rows: the one way procedural problems are made."""

import json
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import TYPE_CHECKING

from resources.tasks import code, instructions, math, science, tools
from resources.tasks.held_out import DEEPEST_TRAINED, is_held_out
from resources.tasks.problem import DEPTHS, Problem

if TYPE_CHECKING:
    import pyarrow as pa

DOMAINS = ("math", "code", "science", "tools", "instructions")
_MAKERS: dict[str, tuple[Callable[[Random, str, int], Problem], tuple[str, ...]]] = {
    "math": (math.problem, math.KINDS),
    "code": (code.problem, code.KINDS),
    "science": (science.problem, science.KINDS),
    "tools": (tools.problem, tools.KINDS),
    "instructions": (instructions.problem, instructions.KINDS),
}
_MAX_TRIES = 300


class EmptySideError(ValueError):
    """One kind has no problem of this depth on the wanted side of the split."""


def kinds(domain: str) -> tuple[str, ...]:
    """The kinds of problem that `domain` can draw."""
    return _maker(domain)[1]


def _maker(domain: str) -> tuple[Callable[[Random, str, int], Problem], tuple[str, ...]]:
    if domain not in _MAKERS:
        raise ValueError(f"unknown task domain {domain!r}; known: {', '.join(DOMAINS)}")
    return _MAKERS[domain]


def draw(rng: Random, domain: str, kind: str, depth: int, *, held_out: bool) -> Problem:
    """One problem on the wanted side of the split.

    Raises ValueError when that side is empty, as training is above `DEEPEST_TRAINED`.
    """
    make, known = _maker(domain)
    if kind not in known:
        raise ValueError(f"domain {domain!r} has no kind {kind!r}; known: {', '.join(known)}")
    if depth not in DEPTHS:
        raise ValueError(f"depth {depth} is outside {DEPTHS.start}..{DEPTHS.stop - 1}")
    if depth > DEEPEST_TRAINED and not held_out:
        raise ValueError(f"depth {depth} is only held out; training stops at {DEEPEST_TRAINED}")
    for _ in range(_MAX_TRIES):
        problem = make(rng, kind, depth)
        if is_held_out(problem) == held_out:
            return problem
    raise EmptySideError(
        f"no {'held-out' if held_out else 'training'} {domain}/{kind} problem of depth {depth} "
        f"in {_MAX_TRIES} draws"
    )


def stream(
    domain: str,
    *,
    depths: Mapping[int, float],
    seed: object,
    kinds: Mapping[str, float] | None = None,
    held_out: bool = False,
) -> Iterator[Problem]:
    """Endless seeded problems; kinds and depths are drawn by weight.

    Kinds with so few compositions that none of a depth is on the wanted side give way to others.
    """
    weights = dict(kinds) if kinds else dict.fromkeys(_maker(domain)[1], 1.0)
    rng = Random(f"{seed}/{domain}/{'held out' if held_out else 'train'}")
    empty: set[tuple[str, int]] = set()
    names, name_weights = list(weights), list(weights.values())
    levels, level_weights = list(depths), list(depths.values())
    while True:
        kind = rng.choices(names, name_weights)[0]
        depth = rng.choices(levels, level_weights)[0]
        if (kind, depth) in empty:
            continue
        try:
            yield draw(rng, domain, kind, depth, held_out=held_out)
        except EmptySideError:
            empty.add((kind, depth))
            if len(empty) == len(names) * len(levels):
                raise


def distinct(problems: Iterator[Problem], count: int, *, seen: set[str]) -> list[Problem]:
    """The next `count` problems whose question is not in `seen`, which grows.

    Fewer come back when the space of questions is used up (few exist at depth 1).
    """
    found: list[Problem] = []
    misses = 0
    while len(found) < count and misses < _MAX_TRIES:
        problem = next(problems)
        if problem.question in seen:
            misses += 1
            continue
        misses = 0
        seen.add(problem.question)
        found.append(problem)
    return found


TEXT_COLUMNS = (
    "domain",
    "kind",
    "source",
    "question",
    "expected_answer",
    "license",
    "tests",
    "split",
    "subject",
    "subtopic",
    "prompt_messages",
    "metadata",
    "composition",
)


def problem_table(rows: list[dict[str, object]]) -> "pa.Table":
    """Rows of the `problems` view, without ids: see `warehouse.schemas`."""
    import pyarrow as pa

    schema = pa.schema(
        [*((name, pa.string()) for name in TEXT_COLUMNS), ("difficulty", pa.int32())]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def table(problems: list[Problem], *, split: str, source: str = "procedural") -> "pa.Table":
    """Generated problems as rows of the `problems` view."""
    return problem_table(
        [
            {
                "domain": p.domain,
                "kind": p.kind,
                "source": source,
                "question": p.question,
                "expected_answer": p.expected_answer,
                "difficulty": p.depth,
                "license": "Apache-2.0",
                "tests": p.tests,
                "split": split,
                "subject": p.subject,
                "subtopic": p.subtopic,
                "prompt_messages": None,
                "metadata": json.dumps(p.metadata, sort_keys=True),
                "composition": p.composition,
            }
            for p in problems
        ]
    )


def generate(
    domain: str,
    count: int,
    *,
    depths: Mapping[int, float],
    seed: object,
    kinds: Mapping[str, float] | None = None,
    held_out: bool = False,
) -> "pa.Table":
    """`count` distinct problems of one domain as a table; see `stream` and `distinct`."""
    found = distinct(
        stream(domain, depths=depths, seed=seed, kinds=kinds, held_out=held_out), count, seen=set()
    )
    return table(found, split="held_out" if held_out else "train")
