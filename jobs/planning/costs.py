"""`heirloom run --dry-run`: what would run, why, and what it is predicted to cost.

Knows plans; runs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from jobs.console import open_console, plain_table
from jobs.display import clock
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
    seconds = tokens = 0.0
    for step in todo:
        read = 0.0 if step.found.restorable else step.predicted("tokens")
        seconds, tokens = seconds + step.seconds, tokens + read
        # As Text: Rich would take `[group_1]` for markup.
        costs = _written(step.seconds, read, timed)
        table.add_row(Text(step.label), step.state, *costs, Text(step.why))
    table.add_section()
    assets = len({step.key for step in todo})
    table.add_row(f"{assets} assets", "", *_written(seconds, tokens, timed), "")
    open_console().print(table)


def _written(seconds: float, tokens: float, timed: bool) -> tuple[str, str]:
    """The costs as they stand in the table."""
    return clock(seconds) if timed else "-", f"{tokens:,.0f}" if tokens else ""
