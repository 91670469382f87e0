"""Names unfinished work that no build will take up: of former code, settings or inputs.

Knows the plan and the work folders' names, not what lies in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jobs.planning.plan import Plan
from warehouse.unfinished import folder_of, others


def lost(plan: Plan, scratch: Path) -> list[Path]:
    """The work folders of no build of the plan, those of builds not yet known left out.

    A build is not known while an input of it has no version: what lies there may be its own.
    """
    wanted: set[str] = set()
    waiting: set[str] = set()
    for step in plan.steps:
        if step.found.memo_key is not None:
            wanted |= {step.found.memo_key, *step.found.former_memos}
        elif step.state != "fresh":
            waiting.add(folder_of(scratch, step.key, step.partition, "").name.removesuffix("@"))
    return [
        path
        for path in others(scratch, wanted)
        if not waiting & {path.name.rpartition("@")[0]}
        and not (waiting and "@" not in path.name)  # not yet named by its asset
    ]


def lines(plan: Plan, scratch: Path) -> Iterator[str]:
    """One line a lost folder, for people."""
    for path in lost(plan, scratch):
        asset = path.name.rpartition("@")[0] or "an asset that is not known"
        yield (
            f"unfinished work of {asset} is of other code, settings or inputs and will not be "
            f"taken up: {path} (`heirloom gc` removes it when it is a week old)"
        )
