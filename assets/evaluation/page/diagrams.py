"""Architecture strips and the lineage graph as inline SVG.

Knows layers and nodes as plain values; colours are CSS classes of `style.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from assets.evaluation.page.charts import label, title
from assets.evaluation.page.facts import Layer
from assets.evaluation.page.lineage import Node
from assets.evaluation.page.svg import drawing, element, text

CELL, GAP, TALL, LEFT = 22, 4, 34, 74  # of a strip, in pixels
WIDE, HIGH, ACROSS, DOWN, ABREAST = 158, 38, 12, 34, 6  # graph nodes, spaces, nodes a row
FUSED = 1.001


def strip(layers: Sequence[Layer]) -> str:
    """A column a layer, attention above and FFN below, each filled as far as it is kept."""
    width, height = LEFT + len(layers) * (CELL + GAP) + 2, 2 * TALL + GAP + 22
    parts = [
        label("attention", LEFT - 10, TALL / 2 + 4, "axis", "end"),
        label("FFN", LEFT - 10, TALL + GAP + TALL / 2 + 4, "axis", "end"),
    ]
    for index, layer in enumerate(layers):
        x = LEFT + index * (CELL + GAP)
        attention = (layer.attention, layer.attention_name, "attention")
        ffn = (layer.ffn, layer.ffn_name, "ffn")
        for row, (kept, name, kind) in enumerate((attention, ffn)):
            about = f"layer {index}, {kind}: {'removed' if kept == 0 else name}"
            parts.append(_cell(x, row * (TALL + GAP), kept, kind, about))
        if index % 4 == 0:
            parts.append(label(str(index), x + CELL / 2, height - 6))
    return drawing(width, height, "strip", *parts)


def _cell(x: float, y: float, kept: float, kind: str, about: str) -> str:
    frame = "cell" if kept else "cell noop"
    size = {"x": x + 0.5, "width": CELL - 1, "rx": 4}
    parts = [
        title(about),
        element("rect", class_=frame, y=y + 0.5, height=TALL - 1, **size),
    ]
    if kept:
        filled = max(min(kept, 1.0) * (TALL - 1), 3.0)
        colour = "fused" if kept > FUSED else kind
        parts.append(
            element(
                "rect", class_=f"kept {colour}", y=y + TALL - 0.5 - filled, height=filled, **size
            )
        )
    if kept > FUSED:
        parts.append(label(f"{kept:.1f}x", x + CELL / 2, y + TALL / 2 + 4, "inside"))
    return element("g", *parts)


def graph(nodes: Sequence[Node]) -> str:
    """Lineage from the sources at the top to the final asset at the bottom."""
    rows = _rows(nodes)
    width = ABREAST * (WIDE + ACROSS) - ACROSS + 4
    height = len(rows) * (HIGH + DOWN) - DOWN + 4
    place = {}
    for row, members in enumerate(rows):
        start = 2 + (width - 4 - len(members) * (WIDE + ACROSS) + ACROSS) / 2
        for index, node in enumerate(members):
            place[node.key] = (start + index * (WIDE + ACROSS), 2.0 + row * (HIGH + DOWN))
    edges, boxes = [], []
    for node in nodes:
        x, y = place[node.key]
        for source in node.inputs:
            start, above = place[source][0] + WIDE / 2, place[source][1] + HIGH
            bend = max(DOWN * 0.7, (y - above) / 3)
            edges.append(
                f"M{start:.0f} {above:.0f} C{start:.0f} {above + bend:.0f} "
                f"{x + WIDE / 2:.0f} {y - bend:.0f} {x + WIDE / 2:.0f} {y:.0f}"
            )
        owner, _, name = node.key.rpartition("/")
        owner = f"{owner} · {node.version}"
        boxes.append(
            element(
                "g",
                title(f"{node.key} @ {node.version} ({node.stage})"),
                element("rect", x=x, y=y, width=WIDE, height=HIGH, rx=9),
                element("text", text(_short(name)), x=x + 11, y=y + 16),
                element("text", text(owner), class_="version", x=x + 11, y=y + 29),
                class_=f"node {node.stage}" + (" final" if node.column == 0 else ""),
            )
        )
    paths = [element("path", class_="edge", d=path) for path in edges]
    return drawing(width, height, "graph", *paths, *boxes)


def _rows(nodes: Sequence[Node]) -> list[list[Node]]:
    """Nodes by distance to the final one, sources first, at most `ABREAST` in a row.

    A row is ordered by where the readers of its nodes stand, so that lines cross less.
    """
    readers: dict[str, list[str]] = {}
    for node in nodes:
        for source in node.inputs:
            readers.setdefault(source, []).append(node.key)
    place: dict[str, float] = {}

    def wish(node: Node) -> tuple[float, str]:
        heights = [place[key] for key in readers.get(node.key, [])]
        return (sum(heights) / len(heights) if heights else 0.0), node.key

    rows: list[list[Node]] = []
    for column in sorted({node.column for node in nodes}):
        members = sorted((node for node in nodes if node.column == column), key=wish)
        middle = (len(members) - 1) / 2
        place.update({node.key: index - middle for index, node in enumerate(members)})
        count = -(-len(members) // ABREAST)
        bounds = [len(members) * part // count for part in range(count + 1)]
        rows += [members[a:b] for a, b in pairwise(bounds)]
    return rows[::-1]


def _short(key: str, limit: int = 20) -> str:
    return key if len(key) <= limit else key[: limit - 1] + "…"
