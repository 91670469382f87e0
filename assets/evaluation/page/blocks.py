"""The report's small building blocks: cards, keys, tables and the way numbers are written."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from assets.evaluation.page.charts import percent
from assets.evaluation.page.svg import element, text


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


def image(about: str, png: bytes) -> str:
    """A picture within the page itself."""
    data = "data:image/png;base64," + base64.b64encode(png).decode()
    return element("div", element("img", src=data, alt=about), class_="picture")


def note(words: str) -> str:
    """A line in small letters."""
    return element("small", text(words))


def meanings(said: Mapping[str, str]) -> str:
    """Terms and what they mean."""
    parts = (f"<dt>{text(term)}</dt><dd>{text(meaning)}</dd>" for term, meaning in said.items())
    return element("dl", *parts, class_="meanings")


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


def decimal(value: float) -> str:
    """A number in three digits or more, without powers of ten.

    >>> decimal(0.06713), decimal(20.0), decimal(114240.2)
    ('0.0671', '20.0', '114,240')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def nats(value: float) -> str:
    """A divergence in nats a token.

    >>> nats(0.43849), nats(0.00214), nats(0.00034)
    ('0.438', '0.002', '0.0003')
    """
    return f"{value:.3f}" if abs(value) >= 0.0005 or not value else f"{value:.1g}"


def estimate(value: float, low: float, high: float, write: Callable[[float], str]) -> str:
    """A value and its 95 % interval, as `write` puts numbers; without one of a single sequence.

    >>> estimate(20.2, 18.0, 22.5, decimal), estimate(20.2, 20.2, 20.2, decimal)
    ('20.2 (18.0 to 22.5)', '20.2')
    """
    if math.isclose(low, high, rel_tol=1e-9, abs_tol=1e-12):
        return write(value)
    return f"{write(value)} ({write(low)} to {write(high)})"


def change(value: float, low: float, high: float) -> str:
    """A difference in nats and its interval; one that the interval does not tell from 0 says so.

    >>> change(0.016, -0.017, 0.053)
    '+0.016 (-0.017 to +0.053), within noise'
    """

    def signed(number: float) -> str:
        return ("+" if number > 0 else "") + nats(number)

    noise = ", within noise" if low <= 0 <= high and low < high else ""
    return estimate(value, low, high, signed) + noise


def interval(score: Mapping[str, Any]) -> str:
    """The 95 % interval of a score, in percent."""
    return f"{percent(score['ci_low'])} to {percent(score['ci_high'])}"


def stored(count: int) -> str:
    """A number of bytes on disk.

    >>> stored(226_119_168), stored(3_880_000), stored(141_200_000_000)
    ('226 MB', '3.88 MB', '141 GB')
    """
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def millions(count: int) -> str:
    """A number of parameters.

    >>> millions(1_940_000), millions(70_600_000_000)
    ('1.94 M', '70.6 B')
    """
    return f"{count / 1e9:.1f} B" if count >= 1_000_000_000 else f"{count / 1e6:.2f} M"
