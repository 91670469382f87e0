"""Which rows to train on hold what a benchmark asks: texts, and conversations turn by turn.

The one rule that the corpus and SFT share; how a text is compared is in `overlap.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from resources.benchmarks.overlap import Benchmarks, Match

Turns = Sequence[Mapping[str, Any]]


def contaminated(rows: Sequence[str | Turns], benchmarks: Benchmarks) -> dict[int, Match]:
    """By place, the rows that hold a question: what a user says is compared as a question, all
    other text, a system's and an assistant's too, as a document."""
    asked: list[tuple[int, str]] = []
    said: list[tuple[int, str]] = []
    for place, row in enumerate(rows):
        if isinstance(row, str):
            said.append((place, row))
            continue
        for turn in row:
            (asked if turn["role"] == "user" else said).append((place, turn["content"]))
    found: dict[int, Match] = {}
    for pairs, compare in ((asked, benchmarks.questions), (said, benchmarks.documents)):
        for index, match in sorted(compare([text for _, text in pairs]).items()):
            found.setdefault(pairs[index][0], match)
    return found
