"""What the last line of a reply says. It fails closed: what is not plainly said is not read."""

from __future__ import annotations

import re
from functools import cache

from resources.verifiers.reasoning import TAGS, Tags, split
from resources.verifiers.verdict import shorten

_DRESS = r"[\s*_#>`]*"


def read(
    reply: str, word: str, values: str, who: str, finish_reason: str, tags: Tags = TAGS
) -> tuple[str | None, str]:
    """What a last line `word: value` says, in lower case, and what stands before it.

    None, and why, where the reply was cut off, ends otherwise, or has two different such lines.
    `values` is a pattern; `who` is named where the reply was cut off.

    >>> read("Both are 4.\\n**Choice:** 2", "choice", "[0-9]+", "the reply", "stop")
    ('2', 'Both are 4.')
    >>> read("Choice: 1\\nChoice: 2", "choice", "[0-9]+", "the reply", "stop")
    (None, 'two different lines with a choice: Choice: 1 Choice: 2')
    """
    if finish_reason != "stop":
        return None, f"{who} ended with {finish_reason}"
    said = split(reply, tags)[1]
    lines = [line for line in said.splitlines() if line.strip()]
    pattern = _pattern(word, values)
    found = [match[1].lower() for line in lines if (match := pattern.fullmatch(line))]
    if not found or not pattern.fullmatch(lines[-1]):
        return None, f"no last line with a {word}: {end(said)}"
    if len(set(found)) > 1:
        return None, f"two different lines with a {word}: {end(said)}"
    return found[0], end("\n".join(lines[:-1])) or "no reason given"


def end(text: str, limit: int = 300) -> str:
    """The end of a text, where models come to the point."""
    line = " ".join(text.split())
    return shorten(line, limit) if len(line) <= limit else f"...{line[3 - limit :]}"


@cache
def _pattern(word: str, values: str) -> re.Pattern[str]:
    line = rf"{_DRESS}{word}{_DRESS}:{_DRESS}({values}){_DRESS}\.?{_DRESS}"
    return re.compile(line, re.IGNORECASE)
