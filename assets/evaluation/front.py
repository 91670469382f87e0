"""The front of measured KL by size: every target of a library, with all other ways to choose on it.

Draws rows of `search_baselines`; measures nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from assets.evaluation.charts import label, percent, title
from assets.evaluation.svg import drawing, element, text

Row = dict[str, Any]
SEARCH = "search"  # the method whose rows are the models themselves
SPACE = 13  # points between two labels, one above the other
LEFT, RIGHT, TOP, BOTTOM = 46, 170, 14, 36


def picture(rows: Sequence[Row]) -> str:
    """True KL, logarithmic, over the share of the parent's parameters; empty without two points.

    Of random choices the best of each model stands for all. The line joins what no other point
    beats in both.
    """
    shown = [row for row in _shown(rows) if row["kl"] > 0]
    if len(shown) < 2:
        return ""
    width, height = 720, 360
    low, high = (f(row["kl"] for row in shown) for f in (min, max))
    low, high = low / 1.25, high * 1.25
    left = min(row["parameters_share"] for row in shown)
    right = max(row["parameters_share"] for row in shown)
    margin = max((right - left) * 0.06, 0.005)

    def x(row: Row) -> float:
        span = right - left + 2 * margin
        return LEFT + (row["parameters_share"] - left + margin) / span * (width - LEFT - RIGHT)

    def y(kl: float) -> float:
        share = math.log(kl / low) / math.log(high / low)
        return TOP + (1 - share) * (height - TOP - BOTTOM)

    parts = []
    for tick in _ticks(low, high):
        at = y(tick)
        parts.append(element("line", class_="grid", x1=LEFT, x2=width - RIGHT, y1=at, y2=at))
        parts.append(label(f"{tick:g}", LEFT - 6, at + 3.5, anchor="end"))
    course = " ".join(f"{x(row):.1f},{y(row['kl']):.1f}" for row in best(shown))
    parts.append(element("polyline", class_="line on", points=course))
    for model in dict.fromkeys(row["model"] for row in shown):
        group = [row for row in shown if row["model"] == model]
        places = _apart([y(row["kl"]) for row in group])
        for row, place in zip(group, places, strict=True):
            parts += _point(row, model, x(row), y, place, max(map(x, group)))
    parts += [
        label(f"{percent(tick)} %", x({"parameters_share": tick}), height - 20)
        for tick in sorted({_target(shown, row["model"]) for row in shown})
    ]
    about = "share of the parent's parameters; KL to the parent, nats a token"
    parts.append(label(about, (LEFT + width - RIGHT) / 2, height - 3, "axis"))
    return drawing(width, height, "chart wide", *parts)


def best(rows: Sequence[Row]) -> list[Row]:
    """Rows that no other beats in size and KL both, the smallest first.

    >>> [row["kl"] for row in best([
    ...     {"parameters_share": 0.8, "kl": 0.4}, {"parameters_share": 0.7, "kl": 0.9},
    ...     {"parameters_share": 0.75, "kl": 1.2},
    ... ])]
    [0.9, 0.4]
    """
    found: list[Row] = []
    for row in sorted(rows, key=lambda row: (row["parameters_share"], row["kl"])):
        if not found or row["kl"] < found[-1]["kl"]:
            found.append(row)
    return found


def _shown(rows: Iterable[Row]) -> list[Row]:
    named, drawn = [], dict[str, Row]()
    for row in rows:
        if not row["feasible"]:
            continue
        if not row["method"].startswith("random"):
            named.append(row)
        elif row["model"] not in drawn or row["kl"] < drawn[row["model"]]["kl"]:
            drawn[row["model"]] = row | {"method": "best of random"}
    return sorted([*named, *drawn.values()], key=lambda row: -row["kl"])


def _target(rows: Sequence[Row], model: str) -> float:
    return next(
        (r["parameters_share"] for r in rows if (r["model"], r["method"]) == (model, SEARCH)),
        max(r["parameters_share"] for r in rows if r["model"] == model),
    )


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten within the ends."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [step * 10.0**power for power in range(first, last + 1) for step in (1, 2, 5)]
    return [tick for tick in every if low <= tick <= high]


def _apart(wanted: Sequence[float]) -> list[float]:
    """Heights of labels, from the top down, each at least `SPACE` below the one before."""
    found: list[float] = []
    for height in wanted:
        found.append(max(height, found[-1] + SPACE) if found else height)
    return found


def _point(row: Row, model: str, at: float, y: Any, place: float, edge: float) -> Iterable[str]:
    """A dot with its interval, and its name at the right of its model's points."""
    kind = "on" if row["method"] == SEARCH else "off"
    about = (
        f"{row['method']}: {row['kl']:.3f} ({row['ci_low']:.3f} to {row['ci_high']:.3f}) nats, "
        f"{percent(row['parameters_share'])} % of the parameters"
    )
    low, high = max(row["ci_low"], row["kl"] / 10), row["ci_high"]
    yield element("line", class_="interval", x1=at, x2=at, y1=y(high), y2=y(low))
    yield element("circle", title(about), class_=f"dot {kind}", cx=at, cy=y(row["kl"]), r=4)
    yield element("line", class_="grid", x1=at + 5, x2=edge + 12, y1=y(row["kl"]), y2=place)
    name = model if row["method"] == SEARCH else row["method"]
    yield label(f"{name} {row['kl']:.2f}", edge + 15, place + 4, "number", "start")


def about(models: Sequence[str]) -> str:
    """What the picture says, in words above it."""
    return element(
        "small",
        text(
            f"True KL of {', '.join(models)} and of every other way to choose at the same limits, "
            "before any healing, on text that no stage saw; bars are 95 % intervals."
        ),
    )
