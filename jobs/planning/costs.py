"""`heirloom run --dry-run`: what would run, why, and what it is predicted to cost.

Knows plans; runs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from jobs.console import open_console, plain_table
from jobs.planning.plan import Step

COSTS = ("seconds", "tokens", "bytes")


def show_costs(todo: Sequence[Step], *, timed: bool = True) -> None:
    """Print a line a step, and the totals; without seconds where nobody `timed` the machine."""
    if not todo:
        print("nothing to do")
        return
    table = plain_table("asset", "state")
    for name in COSTS:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why")
    totals = [0.0, 0.0, 0.0]
    for step in todo:
        costs = [step.seconds, step.predicted("tokens"), step.predicted("bytes")]
        costs = [0.0, 0.0, 0.0] if step.found.restorable else costs
        totals = [total + cost for total, cost in zip(totals, costs, strict=True)]
        numbers = _numbers(costs, timed)
        # As Text: Rich would take `[group_1]` for markup.
        table.add_row(Text(step.label), step.state, *numbers, Text(step.why))
    table.add_section()
    assets = len({step.key for step in todo})
    table.add_row(f"{assets} assets", "", *_numbers(totals, timed), "")
    open_console().print(table)


def _numbers(costs: Sequence[float], timed: bool) -> list[str]:
    """The costs as written in the table."""
    seconds, *others = (f"{cost:,.0f}" for cost in costs)
    return [seconds if timed else "-", *others]
