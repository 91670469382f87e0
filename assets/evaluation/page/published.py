"""The report's section on declared benchmarks: every checkpoint's scores, beside its parent's.

Shows what `declared.py` measured; a score that guessing would reach is said to be at chance, and
not compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from assets.evaluation.compared import label
from assets.evaluation.page.blocks import card, table
from assets.evaluation.page.charts import percent
from assets.evaluation.paired import change
from warehouse.store import Artifact

# One row of the `benchmarks` table of a declared benchmark, and under `change` its paired
# difference from the parent with the half-width of the interval, where both can be compared.
Row = dict[str, Any]
HEAD = (
    "Benchmark",
    "Measure",
    "Thinking",
    "Checkpoint",
    "Problems",
    "Score (95 %)",
    "Guessing",
    "Against the parent",
)


def key(checkpoint: str, name: str) -> str:
    """Where the scores of a checkpoint on the declared benchmark `name` stand."""
    return f"{checkpoint}_benchmark_{name}"


def gathered(
    by_key: Mapping[str, Artifact], line: Sequence[Sequence[str]], names: Sequence[str]
) -> dict[str, list[Row]]:
    """The scores benchmark by benchmark, of all models of a parent together, which comes first.

    `line` lists (model, key, label) of all checkpoints. Found by the names of the models.
    """
    found: dict[str, list[Row]] = {}
    for models in _families(line):
        of = " and ".join(models)
        own = {
            checkpoint: label(models, model, stage)
            for model, checkpoint, stage in line
            if model in models
        }
        for name in names:
            scored = [(by_key[key(checkpoint, name)], said) for checkpoint, said in own.items()]
            parent = scored[0][0]
            before = {_asked(row): row for row in parent.table("benchmarks").to_pylist()}
            for artifact, said in scored:
                for row in artifact.table("benchmarks").to_pylist():
                    differs = None
                    if artifact is not parent and _comparable(row, before.get(_asked(row))):
                        differs = change(parent, artifact, row["reasoning"])
                    found.setdefault(of, []).append({**row, "stage": said, "change": differs})
    return found


def _families(line: Sequence[Sequence[str]]) -> list[list[str]]:
    """The models by the parent they share; a model's first checkpoint is its parent."""
    first: dict[str, str] = {}
    for model, checkpoint, _ in line:
        first.setdefault(model, checkpoint)
    families: dict[str, list[str]] = {}
    for model, parent in first.items():
        families.setdefault(parent, []).append(model)
    return list(families.values())


def _asked(row: Row) -> tuple[str, str]:
    return row["metric"], row["reasoning"] or ""


def _comparable(row: Row, parent: Row | None) -> bool:
    """Whether both are accuracies that guessing does not reach."""
    both = [each for each in (row, parent) if each is not None]
    return len(both) == 2 and all(
        each["accuracy"] is not None and not each["at_chance"] for each in both
    )


def section(scores: Mapping[str, list[Row]]) -> str:
    """The section's HTML; empty where no benchmark is declared."""
    made = [card(_capitals(models), _table(rows)) for models, rows in scores.items() if rows]
    about = (
        "<p>Benchmarks that the recipe declares, held out whole from everything that is trained "
        "on. Differences from the parent are paired over the problems that both answered, in "
        "percentage points with their 95 % interval; what guessing reaches is at chance and not "
        "compared. Problems without a verdict count in none.</p>"
    )
    return about + "".join(made) if made else ""


def _capitals(models: str) -> str:
    return " and ".join(model.capitalize() for model in models.split(" and "))


def _table(rows: Sequence[Row]) -> str:
    order = {_line(row): None for row in rows}
    place = {line: number for number, line in enumerate(order)}
    return table(HEAD, (_cells(row) for row in sorted(rows, key=lambda row: place[_line(row)])))


def _line(row: Row) -> tuple[str, str, str]:
    return row["benchmark"], *_asked(row)


def _cells(row: Row) -> tuple[str, ...]:
    chance = row["chance"]
    return (
        *_line(row),
        row["stage"],
        f"{row['problems']:,}",
        _score(row),
        "" if chance is None else f"{percent(chance)} %",
        "" if row["change"] is None else _change(*row["change"]),
    )


def _score(row: Row) -> str:
    share = row["accuracy"] is not None
    low, value, high = (
        percent(number) if share else f"{number:.2f}"
        for number in (row["ci_low"], row["value"], row["ci_high"])
    )
    return f"{value} ({low} to {high})" + (", at chance" if row["at_chance"] else "")


def _change(value: float, half: float) -> str:
    return f"{100 * value:+.1f} ({100 * (value - half):+.1f} to {100 * (value + half):+.1f})"
