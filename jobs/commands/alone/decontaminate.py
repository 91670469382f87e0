"""`heirloom decontaminate`: which rows of a file hold what the rows of others ask.

By the same text, runs of 13 and 8 words, containment and neighbours, as training data is compared
with the benchmarks of a recipe (`resources/benchmarks/compared.py`).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.commands.alone.rows import Made, Row, annotate, fields, read
from jobs.errors import CommandError

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.benchmarks.compared import Benchmarks

FIELDS = ("messages", "question", "text")  # the first that a row has is compared
CLEAN, UNREADABLE = "clean", "nothing to compare"
COLUMNS = ("verdict", "method", "score", "matched", "evidence")


def main(arguments: argparse.Namespace) -> int:
    """Compare every row, write the rows, and say on stderr how many came to what."""
    import pyarrow as pa

    from resources.benchmarks.compared import Benchmarks
    from resources.recipe.sections.cleaning import Decontaminate

    against = [Path(each) for each in arguments.against]
    table, places = _items(against, arguments.against_field)
    limits = Decontaminate().model_dump()
    comparison = _Comparison(Benchmarks(table, limits), places, fields(arguments.field, FIELDS))
    kinds = {name: pa.float64() if name == "score" else pa.string() for name in COLUMNS}
    output = Path(arguments.output) if arguments.output else None
    rejected = annotate(Path(arguments.file), output, kinds, comparison.columns)
    print(comparison.account(rejected), file=sys.stderr)
    return 0


def _items(files: Sequence[Path], field: str) -> tuple[pa.Table, list[str]]:
    """The questions that nothing may hold, and where each stands."""
    import pyarrow as pa

    from resources.sources.account import SourceError

    texts: list[str] = []
    places: list[str] = []
    for path in files:
        before = len(texts)
        try:
            for number, row in enumerate(read(path, _refused), start=1):
                if not isinstance(row.get(field), str):
                    raise CommandError(
                        f"{path}: row {number} has no text in {field!r}; it has "
                        f"{', '.join(row) or 'nothing'} (--against-field)"
                    )
                texts.append(row[field])
                places.append(f"{path.name}, row {number}")
        except SourceError as error:
            raise CommandError(str(error)) from None
        if len(texts) == before:
            raise CommandError(f"{path}: no rows to compare with")
    ids = pa.array([place.to_bytes(16, "big") for place in range(len(texts))], pa.binary(16))
    sources = pa.repeat(pa.scalar("file"), len(texts))
    return pa.table({"row_id": ids, "question": texts, "source": sources}), places


def _refused(line: str) -> None:
    """A benchmark of which a part is missed would call rows clean that are not."""
    raise CommandError(line)


class _Comparison:
    """What is found in batches of rows, counted."""

    def __init__(
        self, benchmarks: Benchmarks, places: Sequence[str], names: Mapping[str, str]
    ) -> None:
        self._benchmarks, self._places, self._names = benchmarks, places, names
        self._counts: Counter[str] = Counter()

    def columns(self, rows: list[Row]) -> Made:
        """`COLUMNS` of some rows."""
        from resources.benchmarks.contamination import contaminated

        shown = [self._text(row) for row in rows]
        at = [place for place, each in enumerate(shown) if each is not None]
        hits = contaminated([each for each in shown if each is not None], self._benchmarks)
        found = {at[place]: match for place, match in hits.items()}
        made: dict[str, list[Any]] = {name: [None] * len(rows) for name in COLUMNS}
        for place, each in enumerate(shown):
            match = found.get(place)
            verdict = match.reason if match else UNREADABLE if each is None else CLEAN
            made["verdict"][place] = verdict
            self._counts[verdict] += 1
            if match is not None:
                values = (match.method, match.score, self._place(match.row_id), match.evidence)
                for name, value in zip(COLUMNS[1:], values, strict=True):
                    made[name][place] = value
        return made

    def _place(self, row_id: bytes) -> str:
        return self._places[int.from_bytes(row_id, "big")]

    def _text(self, row: Row) -> str | list[dict[str, str]] | None:
        """A conversation, a question as one of a turn, a document; None where a row has none."""
        turns = row.get(self._names["messages"])
        if isinstance(turns, list) and turns and all(map(_is_turn, turns)):
            return list(_turns(turns))
        question = row.get(self._names["question"])
        if isinstance(question, str):
            return [{"role": "user", "content": question}]
        text = row.get(self._names["text"])
        return text if isinstance(text, str) else None

    def account(self, rejected: int) -> str:
        """How many rows came to what."""
        said = [f"{rows} {what}" for what, rows in sorted(self._counts.items())]
        left = f"; {rejected} lines are no rows" if rejected else ""
        return f"{self._counts.total()} rows = {' + '.join(said)}{left}"


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, dict) and isinstance(turn.get("role", turn.get("from")), str)


def _turns(turns: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """Turns of either spelling; what a person says is a question, all else a document."""
    for turn in turns:
        role = turn.get("role", turn.get("from"))
        said = turn.get("content", turn.get("value"))
        if isinstance(said, str):
            yield {"role": "user" if role in ("user", "human") else "assistant", "content": said}
