"""`heirloom verify`: verdicts on a file of answers, without a recipe and without a home.

Reads JSON Lines, a JSON array or Parquet, and writes the same rows with `verdict` and `evidence`.
Every verifier comes from the registry that verdict assets use.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from jobs.errors import CommandError, UsageError

if TYPE_CHECKING:
    from resources.verifiers.verdict import Verdict

BATCH = 1024
FIELDS = ("response", "answer", "expected_answer", "tests", "question", "metadata")
_BOXED = ("math", "science")  # whose bare `answer` is put into the box that a response has

Row = dict[str, Any]


def main(arguments: argparse.Namespace) -> int:
    """Judge every row, write the rows, and say on stderr how many came to what."""
    from resources.sources.account import SourceError
    from resources.sources.shards import format_of
    from resources.verifiers.dispatch import VERIFIERS

    if arguments.verifier not in VERIFIERS:
        raise UsageError(f"--verifier {arguments.verifier}: must be one of {', '.join(VERIFIERS)}")
    path, output = Path(arguments.file), Path(arguments.output) if arguments.output else None
    try:
        columnar = format_of(path.name) == "parquet"
        if output is not None and (output.suffix == ".parquet") != columnar:
            raise UsageError(f"--output {output}: rows of {path.name} keep their format")
        judge = _Judge(arguments.verifier, _fields(arguments.field))
        if columnar and output is not None:
            _columns(path, output, judge)
        else:
            _lines(path, output, judge)
    except SourceError as error:
        raise CommandError(str(error)) from None
    print(judge.account(), file=sys.stderr)
    return 0


def _fields(given: Sequence[str]) -> dict[str, str]:
    """Our field -> theirs."""
    found = {name: name for name in FIELDS}
    for each in given:
        ours, sign, theirs = each.partition("=")
        if not sign or ours not in FIELDS or not theirs:
            raise UsageError(
                f"--field {each}: must be OURS=THEIRS, such as expected_answer=gold; "
                f"ours are {', '.join(FIELDS)}"
            )
        found[ours] = theirs
    return found


class _Judge:
    """Verdicts on batches of rows, counted; rows that are none are named as they come."""

    def __init__(self, verifier: str, fields: Mapping[str, str]) -> None:
        self.verifier, self.fields = verifier, fields
        self.counts: Counter[str] = Counter()

    def verdicts(self, rows: Sequence[Row]) -> list[Verdict]:
        """One verdict a row; unknown, with the field, where a row has not what it takes."""
        from resources.verifiers.verdict import Verdict

        asked = [self._problem(row) for row in rows]
        judged = iter(self._judged([each for each in asked if not isinstance(each, str)]))
        found = [
            Verdict("unknown", each) if isinstance(each, str) else next(judged) for each in asked
        ]
        self.counts.update(verdict.verdict for verdict in found)
        return found

    def _judged(self, asked: Sequence[tuple[Row, str]]) -> list[Verdict]:
        """Verdicts on rows that have all they need; one whose truth is malformed costs no other."""
        from resources.verifiers.dispatch import verify_many
        from resources.verifiers.verdict import Verdict

        problems, responses = [each[0] for each in asked], [each[1] for each in asked]
        try:
            return verify_many(problems, responses, ["on"] * len(asked))
        except ValueError as error:
            if len(asked) == 1:
                return [Verdict("unknown", f"the truth is malformed: {error}")]
        return [verdict for each in asked for verdict in self._judged([each])]

    def _problem(self, row: Row) -> tuple[Row, str] | str:
        """The problem and the response of a row, or what it lacks."""
        values = {name: row.get(theirs) for name, theirs in self.fields.items()}
        response = values.pop("response")
        answer = values.pop("answer")
        if response is None and answer is not None:
            text = _text(answer)
            boxed = self.verifier in _BOXED and text is not None
            response = f"\\boxed{{{text}}}" if boxed else answer
        if not isinstance(response, str):
            fields = f"{self.fields['response']!r} or {self.fields['answer']!r}"
            return f"no text in {fields}"
        expected = _text(values["expected_answer"])
        if expected is None and self.verifier == "tools" and values["expected_answer"] is not None:
            expected = json.dumps(values["expected_answer"])
        if expected is None and values["expected_answer"] is not None:
            return f"{self.fields['expected_answer']!r} is neither text nor a number"
        tests = values["tests"]
        return {
            **values,
            "domain": self.verifier,
            "expected_answer": expected or "",
            "question": _text(values["question"]) or "",
            "tests": "\n".join(tests) if isinstance(tests, list) else tests or "",
        }, response

    def account(self) -> str:
        """How many rows came to what."""
        rows = sum(count for name, count in self.counts.items() if name != "rejected")
        said = [f"{self.counts[name]} {name}" for name in ("correct", "incorrect", "unknown")]
        left = f"; {self.counts['rejected']} lines are no rows" if self.counts["rejected"] else ""
        return f"{rows} rows = {' + '.join(said)}{left}"


def _text(value: Any) -> str | None:
    """Text as it stands, a number as JSON writes it; None for all else."""
    if isinstance(value, str):
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return json.dumps(value) if number else None


def _lines(path: Path, output: Path | None, judge: _Judge) -> None:
    rows = _rows(path, judge)
    with _written(output) as file:
        while batch := list(islice(rows, BATCH)):
            for row, verdict in zip(batch, judge.verdicts(batch), strict=True):
                made = {**row, "verdict": verdict.verdict, "evidence": verdict.evidence}
                file.write(json.dumps(made, ensure_ascii=False, default=str) + "\n")


def _rows(path: Path, judge: _Judge) -> Iterator[Row]:
    """The rows of a file; lines that are none are said on stderr, with the reason."""
    from resources.sources.account import Reject
    from resources.sources.json_rows import json_array, json_lines
    from resources.sources.shards import begins_array, format_of

    if format_of(path.name) == "parquet":
        for batch in _batches(path):
            yield from batch.to_pylist()
        return
    read = json_array if begins_array(path) else json_lines
    for row in read(path, "utf-8"):
        if isinstance(row, Reject):
            judge.counts["rejected"] += 1
            print(f"heirloom: {path}:{row.line}: {row.reason}", file=sys.stderr)
        else:
            yield row[1]


def _batches(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        yield from pq.ParquetFile(path).iter_batches(BATCH)
    except FileNotFoundError:
        raise CommandError(f"{path}: no such file") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise CommandError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None


def _columns(path: Path, output: Path, judge: _Judge) -> None:
    """Parquet to Parquet: the same columns, and two more."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    aside = output.with_name(f".{output.name}.part")
    writer: Any = None
    try:
        for batch in _batches(path):
            found = judge.verdicts(batch.to_pylist())
            table = pa.Table.from_batches([batch])
            for name in ("verdict", "evidence"):
                values = pa.array([getattr(each, name) for each in found], pa.string())
                table = table.append_column(name, values)
            writer = writer or pq.ParquetWriter(aside, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise CommandError(f"{path}: no rows")
    os.replace(aside, output)


@contextmanager
def _written(output: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears when it is whole."""
    if output is None:
        yield sys.stdout
        return
    aside = output.with_name(f".{output.name}.part")
    try:
        with aside.open("w", encoding="utf-8") as file:
            yield file
        os.replace(aside, output)
    finally:
        aside.unlink(missing_ok=True)
