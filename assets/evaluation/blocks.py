"""The report's small building blocks: cards, keys, tables and the way numbers are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from assets.evaluation.charts import percent
from assets.evaluation.svg import element, text


def card(heading: str, *content: str) -> str:
    """A framed block with a heading."""
    return element("div", element("h3", text(heading)), *content, class_="card flat")


def cards(*content: str) -> str:
    """Cards beside each other as far as the page is wide."""
    return element("div", *content, class_="cards")


def key(colour: str, meaning: str) -> str:
    """A colour and what it stands for."""
    swatch = f'<i style="background:var(--{colour})"></i>'
    return element("span", swatch, text(meaning), class_="key")


def scroll(content: str) -> str:
    """A block that scrolls sideways when it is wider than the page."""
    return element("div", content, class_="scroll")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of plain text cells; those that look like numbers stand at the right."""
    body = [list(row) for row in rows]
    titles = list(head)
    numeric = [all(_is_number(row[i]) for row in body) for i in range(len(titles))]

    def cells(tag: str, row: list[str]) -> str:
        return "".join(
            element(tag, text(cell), class_="n" if number else None)
            for cell, number in zip(row, numeric, strict=True)
        )

    lines = [element("tr", cells("th", titles)), *(element("tr", cells("td", r)) for r in body)]
    return scroll(element("table", *lines))


def _is_number(cell: str) -> bool:
    return bool(cell) and all(letter in "0123456789.,+-% " for letter in cell)


def interval(score: Mapping[str, Any]) -> str:
    """The 95 % interval of a score, in percent."""
    return f"{percent(score['ci_low'])} to {percent(score['ci_high'])}"


def millions(count: int) -> str:
    """A number of parameters.

    >>> millions(1_940_000), millions(70_600_000_000)
    ('1.94 M', '70.6 B')
    """
    return f"{count / 1e9:.1f} B" if count >= 1_000_000_000 else f"{count / 1e6:.2f} M"
