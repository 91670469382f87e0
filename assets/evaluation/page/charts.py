"""Charts as inline SVG that follow the page's colours in light and dark.

Knows numbers and labels; colours are CSS classes of `style.py`. Nothing is fetched from outside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from assets.evaluation.page.svg import drawing, element, text


@dataclass(frozen=True)
class Line:
    """A series of (x, y, low, high); `kind` names its colour, `dashed` draws it as a comparison."""

    name: str
    kind: str
    points: Sequence[tuple[float, float, float, float]]
    dashed: bool = False


def percent(value: float) -> str:
    """A share as a percentage with one decimal place.

    >>> percent(0.625)
    '62.5'
    """
    return f"{100 * value:.1f}"


def label(value: str, x: float, y: float, kind: str = "tick", anchor: str = "middle") -> str:
    """A text element."""
    return element("text", text(value), class_=kind, x=x, y=y, text_anchor=anchor)


def title(value: str) -> str:
    """What a browser shows when the pointer rests on the element around it."""
    return element("title", text(value))


def lines(series: Sequence[Line], x_label: str, *, width: int = 340, height: int = 210) -> str:
    """Accuracy (0 to 100 %) over a whole-numbered axis, with interval bands."""
    left, right, top, bottom = 38, 12, 12, 34
    xs = sorted({point[0] for line in series for point in line.points})
    low, high = (xs[0], xs[-1]) if xs else (0.0, 1.0)

    def x(value: float) -> float:
        return left + (value - low) / max(high - low, 1e-9) * (width - left - right)

    def y(value: float) -> float:
        return top + (1 - value) * (height - top - bottom)

    def path(points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)

    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = y(tick)
        parts.append(element("line", class_="grid", x1=left, x2=width - right, y1=at, y2=at))
        parts.append(label(f"{tick:.0%}", left - 6, at + 3.5, anchor="end"))
    parts += [label(f"{value:g}", x(value), height - 18) for value in xs]
    parts.append(label(x_label, (left + width - right) / 2, height - 3, "axis"))
    for line in series:
        if not line.dashed and len(line.points) > 1:
            band = [(p[0], p[3]) for p in line.points] + [(p[0], p[2]) for p in line.points[::-1]]
            parts.append(element("polygon", class_=f"band {line.kind}", points=path(band)))
    for line in series:
        kind = f"line {line.kind}" + (" dashed" if line.dashed else "")
        course = path([(p[0], p[1]) for p in line.points])
        parts.append(element("polyline", class_=kind, points=course))
        for point in [] if line.dashed else line.points:
            about = title(
                f"{line.name}, {x_label} {point[0]:g}: {percent(point[1])} % "
                f"({percent(point[2])} to {percent(point[3])})"
            )
            parts.append(
                element(
                    "circle", about, class_=f"dot {line.kind}", cx=x(point[0]), cy=y(point[1]), r=3
                )
            )
    return drawing(width, height, "chart", *parts)


def course(
    points: Sequence[tuple[float, float]], x_label: str, write: Callable[[float], str]
) -> str:
    """What became of a measure over an amount: a curve, its first and last value written."""
    width, height, left, right, top, bottom = 320, 190, 46, 30, 20, 34
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high, furthest = min(ys), max(ys), max(xs) or 1.0
    room = (high - low) * 0.2 or abs(high) * 0.05 or 1.0
    low, high = low - room, high + room

    def x(value: float) -> float:
        return left + value / furthest * (width - left - right)

    def y(value: float) -> float:
        return top + (high - value) / (high - low) * (height - top - bottom)

    parts = []
    for tick in ticks(low, high, 4):
        at = y(tick)
        parts.append(element("line", class_="grid", x1=left, x2=width - right, y1=at, y2=at))
        parts.append(label(f"{tick:g}", left - 6, at + 3.5, anchor="end"))
    parts += [label(amount(tick), x(tick), height - 18) for tick in ticks(0.0, furthest, 4)]
    parts.append(label(x_label, (left + width - right) / 2, height - 3, "axis"))
    path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
    parts.append(element("polyline", class_="line on", points=path))
    for a, b in points:
        about = title(f"{a:,.0f} {x_label}: {write(b)}")
        parts.append(element("circle", about, class_="dot on", cx=x(a), cy=y(b), r=3))
    for (a, b), side in ((points[0], "start"), (points[-1], "middle")):
        above = -9 if b >= sum(ys) / len(ys) else 17
        parts.append(label(write(b), x(a) + 4 * (side == "start"), y(b) + above, "number", side))
    return drawing(width, height, "chart", *parts)


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` + 1 round numbers within the ends.

    >>> ticks(0.0, 49323.0, 4)
    [0.0, 20000.0, 40000.0]
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def amount(value: float) -> str:
    """A number of tokens.

    >>> amount(20000.0), amount(1.5e6), amount(500.0)
    ('20 K', '1.5 M', '500')
    """
    for size, unit in ((1e9, " B"), (1e6, " M"), (1e3, " K")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def accuracy_bar(accuracy: float, low: float, high: float, kind: str) -> str:
    """A small bar with its 95 % interval, for a table cell."""
    width, height = 128, 16
    whiskers = [
        element("line", class_="interval", x1=a * width, x2=b * width, y1=y1, y2=y2)
        for a, b, y1, y2 in ((low, high, 8, 8), (low, low, 4.5, 11.5), (high, high, 4.5, 11.5))
    ]
    size = max(accuracy * width, 1.5)
    return drawing(
        width,
        height,
        "bar",
        title(f"{percent(accuracy)} %, 95 % interval {percent(low)} to {percent(high)}"),
        element("rect", class_="track", width=width, height=8, y=4, rx=4),
        element("rect", class_=f"fill {kind}", width=size, height=8, y=4, rx=4),
        *whiskers,
    )


def stacked(rows: Mapping[str, Sequence[tuple[str, str, float]]], unit: str) -> str:
    """Horizontal bars; each row has (name, colour, value) pieces, the total written at the end."""
    width, left, right, step = 640, 150, 90, 30
    most = max((sum(piece[2] for piece in pieces) for pieces in rows.values()), default=0) or 1
    parts = []
    for index, (name, pieces) in enumerate(rows.items()):
        y, x = index * step + 4, float(left)
        parts.append(label(name, left - 12, y + 15, "label", "end"))
        for piece, kind, value in pieces:
            size = value / most * (width - left - right)
            about = title(f"{name}, {piece}: {value:,.0f} {unit}")
            parts.append(
                element(
                    "rect",
                    about,
                    class_=f"fill {kind}",
                    x=x,
                    y=y,
                    width=max(size - 1, 0.0),
                    height=20,
                    rx=3,
                )
            )
            x += size
        total = sum(piece[2] for piece in pieces)
        parts.append(label(f"{total:,.0f}", x + 8, y + 15, "number", "start"))
    return drawing(width, len(rows) * step + 4, "chart wide", *parts)


def histogram(values: Mapping[str, float], marked: Sequence[str], x_label: str) -> str:
    """Columns by label; those in `marked` are drawn as dropped."""
    width, height, bottom, left = 420, 190, 36, 10
    most = max(values.values(), default=0) or 1
    step = (width - 2 * left) / max(len(values), 1)
    parts = []
    for index, (name, value) in enumerate(values.items()):
        size = value / most * (height - bottom - 18)
        x, y = left + index * step, height - bottom - size
        kind = "muted" if name in marked else "on"
        parts.append(
            element("rect", class_=f"fill {kind}", x=x + 2, y=y, width=step - 4, height=size, rx=3)
        )
        parts.append(label(f"{value:,.0f}", x + step / 2, y - 4, "number"))
        parts.append(label(name, x + step / 2, height - 20))
    parts.append(label(x_label, width / 2, height - 4, "axis"))
    return drawing(width, height, "chart", *parts)


def spark(points: Sequence[tuple[float, float]], *, width: int = 260, height: int = 110) -> str:
    """A small curve on its own scale, with its first and last value written."""
    values = [value for _, value in points]
    low, high = min(values), max(values)
    span = high - low or 1.0
    course = [
        (
            8 + index / max(len(values) - 1, 1) * (width - 16),
            12 + (1 - (value - low) / span) * (height - 40),
        )
        for index, value in enumerate(values)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in course)
    return drawing(
        width,
        height,
        "chart",
        element("polyline", class_="line on", points=path),
        element("circle", class_="dot on", cx=course[-1][0], cy=course[-1][1], r=3),
        label(f"{values[0]:.2f}", course[0][0], height - 4, "number", "start"),
        label(f"{values[-1]:.2f}", course[-1][0], height - 4, "number", "end"),
    )
