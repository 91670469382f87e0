"""The report's section on declared benchmarks: every checkpoint's scores beside each other.

Shows what `declared.py` measured; one that a checkpoint answers no better than by guessing is said
to be at chance, and not compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assets.evaluation.blocks import card, table
from warehouse.store import Artifact

Row = dict[str, Any]  # one row of the `benchmarks` table of a declared benchmark


def key(checkpoint: str, name: str) -> str:
    """Where the scores of a checkpoint on the declared benchmark `name` stand."""
    return f"{checkpoint}_benchmark_{name}"


def gathered(
    by_key: Mapping[str, Artifact], line: Sequence[Sequence[str]], names: Sequence[str]
) -> dict[str, list[Row]]:
    """The scores by model, checkpoint by checkpoint; `line` lists (model, key, label)."""
    found: dict[str, list[Row]] = {}
    for model, checkpoint, _ in line:
        for name in names:
            rows = by_key[key(checkpoint, name)].table("benchmarks").to_pylist()
            found.setdefault(model, []).extend(rows)
    return found


def section(scores: Mapping[str, list[Row]]) -> str:
    """The section's HTML; empty where no benchmark is declared."""
    made = [card(model.capitalize(), _table(rows)) for model, rows in scores.items() if rows]
    about = (
        "<p>Benchmarks that the recipe declares, held out whole from everything that is trained "
        "on. In brackets 95 % intervals; problems without a verdict count in none.</p>"
    )
    return about + "".join(made) if made else ""


def _table(rows: Sequence[Row]) -> str:
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    lines: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in rows:
        asked = row["benchmark"], row["metric"], row["reasoning"] or ""
        lines.setdefault(asked, {})[row["stage"]] = row
    return table(
        ("Benchmark", "Measure", "Thinking", "Problems", *stages),
        (
            (
                *asked,
                f"{max(row['problems'] for row in line.values()):,}",
                *(_cell(line[stage]) if stage in line else "" for stage in stages),
            )
            for asked, line in lines.items()
        ),
    )


def _cell(row: Row) -> str:
    if row["at_chance"]:
        return f"at chance ({row['chance']:.0%})"
    share = row["accuracy"] is not None
    low, value, high = (
        f"{100 * number:.1f}" if share else f"{number:.2f}"
        for number in (row["ci_low"], row["value"], row["ci_high"])
    )
    return f"{value} ({low} to {high})"
