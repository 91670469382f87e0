"""`heirloom run --dry-run`: what would run, why, and what it is predicted to cost.

Knows plans; runs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from jobs.board import clock
from jobs.console import open_console, plain_table
from jobs.planning.plan import Step


def show_costs(todo: Sequence[Step], *, timed: bool = True) -> None:
    """Print a line a step, and the totals; without times where nobody `timed` the machine."""
    if not todo:
        print("nothing to do")
        return
    table = plain_table("asset", "state")
    for name in ("time", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why")
    for step in todo:
        # As Text: Rich would take `[group_1]` for markup.
        costs = _written([step], timed)
        table.add_row(Text(step.label), step.state, *costs, Text(step.why))
    table.add_section()
    table.add_row(f"{_assets(todo)} assets", "", *_written(todo, timed), "")
    spared = [step for step in todo if not step.certain]
    if spared:
        why = "stands if its inputs come out as they are"
        table.add_row(f"of them {_assets(spared)}", "", *_written(spared, timed), why)
    open_console().print(table)


def _assets(steps: Sequence[Step]) -> int:
    return len({step.key for step in steps})


def _written(steps: Sequence[Step], timed: bool) -> tuple[str, str]:
    """What the steps cost, as it stands in the table."""
    seconds = sum(step.seconds for step in steps)
    tokens = sum(step.predicted("tokens") for step in steps if not step.found.restorable)
    return clock(seconds) if timed else "-", f"{tokens:,.0f}" if tokens else ""
