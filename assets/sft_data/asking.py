"""Asks a model for what an asset needs, and stops the asset where too much was never answered.

What is asked, and what an answer says, is the asset's own (`generate.py`, `judge.py`,
`feedback_edit/`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from warehouse.store import Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.engines.protocol import Completion, Engine, Request, Sampling
    from resources.execution import Execution

MOST_FAILED = 0.01  # of the requests: more stop the asset
T = TypeVar("T")


class Asking:
    """The requests of one asset: how many there were, how many failed, what all of them took."""

    def __init__(self, asset_key: str) -> None:
        self.asset_key, self.requests, self.failed = asset_key, 0, 0
        self._why = ""
        self._usage: list[dict[str, Any]] = []

    def answered(
        self,
        engine: Engine,
        things: Iterable[T],
        request: Callable[[T], Request],
        count: int,
        sampling: Sampling,
    ) -> Iterator[tuple[list[T], list[Completion]]]:
        """Answers to `count` things as they come, in groups, failed ones among them."""
        from resources.engines import asking
        from resources.engines.protocol import FAILED
        from resources.verifiers import attempts

        for _, asked, made in asking.answered(engine, things, request, count, sampling):
            self.requests += len(made)
            for each in made:
                if each.finish_reason == FAILED:
                    self.failed, self._why = self.failed + 1, each.served
            yield asked, made
        self._usage += attempts.usage(engine)

    def settled(self) -> dict[str, Any]:
        """The asset's observations. ValueError where more than `MOST_FAILED` of all failed."""
        if self.failed > MOST_FAILED * self.requests:
            raise ValueError(
                f"{self.asset_key}: {self.failed} of {self.requests} requests were not answered "
                f"(the last: {self._why}); the others' answers are kept: run again"
            )
        seconds = sum(each["seconds"] for each in self._usage)
        return {"requests": self._usage, "engine_seconds": seconds}


def replies(
    table: str,
    role: str,
    workdir: Path,
    recipe: Mapping[str, Any],
    execution: Execution,
    things: Iterable[T],
    count: int,
    request: Callable[[T], Request],
    rows: Callable[[list[T], list[Completion], str], pa.Table],
) -> Output:
    """`table`, of the `rows` that the replies of a role to `count` things make.

    `recipe` has the role (its model) and `sampling`; `rows` is given things, replies and the
    model's version, once with none so that the table has its columns where nothing is asked.
    """
    from resources.engines.opening import open_served
    from resources.engines.protocol import Sampling
    from warehouse.files.spool import Spool

    engine = open_served(recipe[role], execution, role)
    sampling = Sampling(**recipe["sampling"], seed=recipe["seed"])
    asking = Asking(recipe["asset_key"])
    with Spool(workdir / f"{table}.arrow") as spool:
        spool.add(rows([], [], engine.model_version))
        for asked, made in asking.answered(engine, things, request, count, sampling):
            spool.add(rows(asked, made, engine.model_version))
    return Output(
        tables={table: spool.batches()},
        metrics={table: float(spool.rows)},
        observations=asking.settled(),
    )
