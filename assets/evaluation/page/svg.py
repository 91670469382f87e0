"""SVG and HTML elements as text, escaped. Knows no chart."""

from __future__ import annotations

from html import escape


def element(name: str, *children: str, **attributes: object) -> str:
    """An element with its attributes and (already made) children.

    A trailing underscore of an attribute's name is dropped and others become hyphens; numbers are
    written with at most two decimal places.

    >>> element("rect", class_="fill on", x=1.504, stroke_width=2)
    '<rect class="fill on" x="1.5" stroke-width="2"/>'
    >>> element("text", text("a < b"))
    '<text>a &lt; b</text>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_write(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(children)
    return f"<{name}{written}>{inside}</{name}>" if inside else f"<{name}{written}/>"


def text(value: str) -> str:
    """Text content."""
    return escape(value, quote=False)


def drawing(width: float, height: float, kind: str, *children: str) -> str:
    """An `svg` element of the given size with CSS class `kind`."""
    return element(
        "svg",
        *children,
        class_=kind,
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="img",
    )


def _write(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)
