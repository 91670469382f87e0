"""The front of measured KL by size: every target of a library, with all other ways to choose on it.

Draws rows of `search_baselines`; measures nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from assets.evaluation.page.charts import label, percent, title
from assets.evaluation.page.svg import drawing, element
from assets.evaluation.page.ways import OWN, RANDOM

Row = dict[str, Any]
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 720, 46, 176, 16, 58
LINE = 20  # height of a line of the legend
LETTER = 8  # width of a letter of a model's name, about
SHAPES: dict[str, list[tuple[float, float]]] = {
    "square": [(-4, -4), (4, -4), (4, 4), (-4, 4)],
    "diamond": [(0, -5.5), (5.5, 0), (0, 5.5), (-5.5, 0)],
    "triangle": [(0, -5), (5, 4), (-5, 4)],
    "down": [(0, 5), (5, -4), (-5, -4)],
    "star": [(0, -6), (1.8, -1.8), (6, 0), (1.8, 1.8), (0, 6), (-1.8, 1.8), (-6, 0), (-1.8, -1.8)],
}
# Shape and colour of each way to choose, in the order in which they come.
MARKS = [
    ("square", "off"),
    ("diamond", "attention"),
    ("triangle", "fused"),
    ("star", "good"),
    ("down", "bad"),
    ("square", "before"),
    ("diamond", "off"),
    ("triangle", "attention"),
]


def picture(rows: Sequence[Row]) -> str:
    """True KL, logarithmic, over the share of the parent's parameters; empty without two points.

    Of random choices the best of each model stands for all. The line joins what no other point
    beats in both.
    """
    shown = [row for row in best_of_random(rows) if row["feasible"] and row["kl"] > 0]
    if len(shown) < 2:
        return ""
    methods = _methods(shown)
    height = max(320, TOP + BOTTOM + LINE * (len(methods) + 1))
    x = _across([row["parameters_share"] for row in shown])
    ends = [max(row["ci_low"], row["kl"] / 10) for row in shown], [r["ci_high"] for r in shown]
    low, high = min(ends[0]) / 1.15, max(ends[1]) * 1.15

    def y(kl: float) -> float:
        share = math.log(kl / low) / math.log(high / low)
        return TOP + (1 - share) * (height - TOP - BOTTOM)

    parts = []
    for tick in _powers(low, high):
        at = y(tick)
        parts.append(element("line", class_="grid", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at))
        parts.append(label(f"{tick:g}", LEFT - 6, at + 3.5, anchor="end"))
    for model, share in _named(shown, x):
        parts.append(label(model, x(share), height - 38, "named"))
        parts.append(label(f"{percent(share)} %", x(share), height - 23))
    course = " ".join(f"{x(r['parameters_share']):.1f},{y(r['kl']):.1f}" for r in best(shown))
    parts.append(element("polyline", class_="line best", points=course))
    # The models' own choices last: on top of a way that chose the same.
    for row in sorted(shown, key=lambda row: row["method"] == OWN):
        parts += _point(row, x(row["parameters_share"]), y, methods)
    for place, method in enumerate(methods):
        at = TOP + 10 + place * LINE
        parts.append(_mark(methods, method, WIDTH - RIGHT + 22, at))
        name = "what was chosen" if method == OWN else method
        parts.append(label(name, WIDTH - RIGHT + 34, at + 4, "number", "start"))
    about = "share of the parent's parameters; KL to the parent, nats a token"
    parts.append(label(about, (LEFT + WIDTH - RIGHT) / 2, height - 5, "axis"))
    return drawing(WIDTH, height, "chart wide", *parts)


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


def best_of_random(rows: Iterable[Row]) -> list[Row]:
    """The rows with one random choice a model, its best, under a name that says of how many."""
    named, drawn = list[Row](), dict[str, list[Row]]()
    for row in rows:
        if row["method"].startswith(RANDOM) and row["feasible"]:
            drawn.setdefault(row["model"], []).append(row)
        else:
            named.append(row)
    for several in drawn.values():
        least = min(several, key=lambda row: row["kl"])
        many = f", best of {len(several)}" if len(several) > 1 else ""
        named.append(least | {"method": RANDOM + many})
    return named


def _methods(rows: Sequence[Row]) -> list[str]:
    """Ways to choose, what was chosen first, then by their mean KL."""
    kl: dict[str, list[float]] = {}
    for row in rows:
        kl.setdefault(row["method"], []).append(row["kl"])
    return sorted(kl, key=lambda method: (method != OWN, sum(kl[method]) / len(kl[method])))


def _across(shares: Sequence[float]) -> Callable[[float], float]:
    """Where a share of the parameters stands, with some room on either side."""
    low, high = min(shares), max(shares)
    margin = max((high - low) * 0.06, 0.005)

    def x(share: float) -> float:
        return LEFT + (share - low + margin) / (high - low + 2 * margin) * (WIDTH - LEFT - RIGHT)

    return x


def _named(rows: Sequence[Row], x: Callable[[float], float]) -> list[tuple[str, float]]:
    """The models and sizes that are written below the axis, from the left, as far as there is room
    for their names."""
    own = sorted((row["parameters_share"], row["model"]) for row in rows if row["method"] == OWN)
    found: list[tuple[str, float]] = []
    for share, model in own:
        room = LETTER / 2 * max(9, len(model) + len(found[-1][0])) if found else 0
        if not found or x(share) - x(found[-1][1]) > room:
            found.append((model, share))
    return found


def _powers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten within the ends."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [step * 10.0**power for power in range(first, last + 1) for step in (1, 2, 5)]
    return [tick for tick in every if low <= tick <= high]


def _point(row: Row, at: float, y: Callable[[float], float], methods: list[str]) -> list[str]:
    """A mark with its interval."""
    own = row["method"] == OWN
    about = (
        f"{row['model']}, {'what was chosen' if own else row['method']}: {row['kl']:.3f} "
        f"({row['ci_low']:.3f} to {row['ci_high']:.3f}) nats, "
        f"{percent(row['parameters_share'])} % of the parameters"
    )
    low, high = max(row["ci_low"], row["kl"] / 10), row["ci_high"]
    return [
        element("line", class_="interval", x1=at, x2=at, y1=y(high), y2=y(low)),
        element("g", title(about), _mark(methods, row["method"], at, y(row["kl"]))),
    ]


def _mark(methods: list[str], method: str, x: float, y: float) -> str:
    """The mark of a way to choose around a point."""
    if method == OWN:
        return element("circle", class_="dot on", cx=x, cy=y, r=6)
    shape, colour = MARKS[(methods.index(method) - 1) % len(MARKS)]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in SHAPES[shape])
    return element("polygon", class_=f"dot {colour}", points=points)
