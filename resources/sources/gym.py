"""Rows that reasoning-gym generates: a task by name, with its own parameters, seed and first rows.

The same rows for one version of the package. Knows no problems.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import yaml

from resources.recipe.sections.data import GYM
from resources.sources.account import SourceError

TRIES = 50  # rows looked at for each that is wanted, before a task counts as exhausted


@dataclass(frozen=True)
class Generated:
    """A task, its parameters as written (`seed=7&max_terms=2`), and the package's version."""

    task: str
    parameters: str
    version: str


def generated(path: str) -> Generated | None:
    """What `reasoning_gym:TASK?seed=7&max_terms=2` names; None for another path.

    >>> found = generated("reasoning_gym:chain_sum?seed=7")
    >>> found.task, found.parameters, generated("./rows.jsonl")
    ('chain_sum', 'seed=7', None)
    """
    if not path.startswith(GYM):
        return None
    task, _, parameters = path.removeprefix(GYM).partition("?")
    return Generated(task, parameters, metadata.version("reasoning-gym"))


def rows(task: Generated, limit: int | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """`limit` rows behind the first `skip`, numbered from 1: `question`, `answer`, `metadata`.

    A question that comes again is passed over. Raises SourceError where there is no such task, a
    parameter it does not have, no limit, or where there are fewer questions.
    """
    name = f"{GYM}{task.task}"
    if limit is None:
        raise SourceError(f"{name} generates rows without end; give `limit`")
    given: dict[str, Any] = {"seed": 0, "skip": 0}
    for part in filter(None, task.parameters.split("&")):
        key, _, value = part.partition("=")
        given[key] = yaml.safe_load(value)
    skip = given.pop("skip")
    if not isinstance(skip, int) or skip < 0:
        raise SourceError(f"{name}: skip must be a number of rows, found {skip!r}")
    number = -skip
    for number, row in enumerate(_different(name, task.task, skip + limit, given), 1 - skip):
        if number > 0:
            yield number, row
    if number < limit:
        raise SourceError(
            f"{name} has {number + skip} different questions, {skip} to skip and {limit} to take "
            "are more; lower `limit`"
        )


def _different(name: str, task: str, count: int, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The first `count` rows that ask different questions, or as many as there are."""
    import reasoning_gym

    try:
        made = reasoning_gym.create_dataset(task, size=TRIES * count, **given)
    except (ValueError, TypeError, AssertionError) as error:
        raise SourceError(f"{name}: {error}") from None
    asked: set[str] = set()
    for row in made:
        if row["question"] not in asked:
            asked.add(row["question"])
            yield dict(row)
            if len(asked) == count:
                return
