"""Rows that reasoning-gym generates: a task by name, with its own parameters and seed.

The same rows for one version of the package. Knows no problems.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import yaml

from resources.recipe.data import GYM
from resources.sources.account import SourceError


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
    """The first `limit` rows, numbered from 1: `question`, `answer` and `metadata`.

    Raises SourceError where there is no such task, a parameter it does not have, or no limit.
    """
    import reasoning_gym

    name = f"{GYM}{task.task}"
    if limit is None:
        raise SourceError(f"{name} generates rows without end; give `limit`")
    given: dict[str, Any] = {}
    for part in filter(None, task.parameters.split("&")):
        key, _, value = part.partition("=")
        given[key] = yaml.safe_load(value)
    try:
        made = reasoning_gym.create_dataset(task.task, size=limit, **{"seed": 0, **given})
    except (ValueError, TypeError, AssertionError) as error:
        raise SourceError(f"{name}: {error}") from None
    for number, row in enumerate(made, 1):
        yield number, dict(row)
