"""Which rows to train on hold what a benchmark asks: texts, and conversations turn by turn.

The one rule that the corpus and SFT share; how a text is compared is in `compared.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resources.benchmarks.compared import CONTAMINATED, Benchmarks, Match

if TYPE_CHECKING:
    import pyarrow as pa

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
            known = found.setdefault(pairs[index][0], match)
            if known.reason != CONTAMINATED and match.reason == CONTAMINATED:
                found[pairs[index][0]] = match
    return found


def hits(rows: Iterable[tuple[bytes, Match]]) -> pa.Table:
    """The table `contamination`: row id and match of every row that was left out."""
    import pyarrow as pa

    from warehouse.schemas import SCHEMAS

    found = [
        {
            "member": row_id,
            "item": match.row_id,
            "method": match.method,
            "score": match.score,
            "decision": match.reason,
            "evidence": match.evidence,
        }
        for row_id, match in rows
    ]
    return pa.Table.from_pylist(found, schema=SCHEMAS["contamination"])
