"""Fenced blocks of a Markdown answer, in every spelling that models write.

Follows CommonMark's rule: a fence is three or more backticks or tildes, indented by at most three
spaces, and is closed by at least as many of the same mark. It does not know what is in a block.
"""

import re
from dataclasses import dataclass

_OPENING = re.compile(r"^ {0,3}(?P<mark>`{3,}(?=[^`\n]*$)|~{3,})[ \t]*(?P<info>.*?)[ \t]*$")
_ATTRIBUTE = re.compile(r"^\{?\s*\.?([\w+#-]*)")


@dataclass(frozen=True)
class Block:
    """A fenced block: `label` as written after the fence, in lower case; `closed` by a fence."""

    label: str
    text: str
    closed: bool


def blocks(answer: str) -> list[Block]:
    r"""The blocks in order. CRLF counts as a new line; fences inside a longer fence are its text.

    >>> blocks("~~~Python title=a.py\r\nx = 1\r\n~~~\n")
    [Block(label='python', text='x = 1\n', closed=True)]
    >>> blocks("````\n```\na\n```\n````\n```\nopen")
    [Block(label='', text='```\na\n```\n', closed=True), Block(label='', text='open', closed=False)]
    """
    found: list[Block] = []
    opened: re.Match[str] | None = None
    lines: list[str] = []
    for line in answer.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if opened is None:
            opened, lines = _OPENING.match(line), []
        elif _closes(line, opened["mark"]):
            found.append(_block(opened, lines, closed=True))
            opened = None
        else:
            lines.append(line)
    if opened is not None:
        found.append(_block(opened, lines, closed=False))
    return found


def _closes(line: str, mark: str) -> bool:
    text = line.strip(" \t")
    indent = len(line) - len(line.lstrip(" "))
    return indent < 4 and len(text) >= len(mark) and set(text) == {mark[0]}


def _block(opened: re.Match[str], lines: list[str], closed: bool) -> Block:
    label = _ATTRIBUTE.match(opened["info"])
    text = "\n".join(lines) + ("\n" if closed and lines else "")
    return Block(label[1].lower() if label else "", text, closed)
