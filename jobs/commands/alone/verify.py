"""`heirloom verify`: verdicts on a file of answers, without a recipe and without a home.

Every verifier comes from the registry that verdict assets use.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.commands.alone.rows import Made, Row, annotate, fields
from jobs.errors import UsageError

if TYPE_CHECKING:
    from resources.verifiers.verdict import Verdict

FIELDS = ("response", "answer", "expected_answer", "tests", "question", "metadata")
_BOXED = ("math", "science")  # whose bare `answer` is put into the box that a response has


def main(arguments: argparse.Namespace) -> int:
    """Judge every row, write the rows, and say on stderr how many came to what."""
    import pyarrow as pa

    checked(arguments.verifier)
    judge = Judge(arguments.verifier, fields(arguments.field, FIELDS))
    columns = {"verdict": pa.string(), "evidence": pa.string()}
    output = Path(arguments.output) if arguments.output else None
    rejected = annotate(Path(arguments.file), output, columns, judge.columns)
    print(judge.account(rejected), file=sys.stderr)
    return 0


def checked(verifier: str) -> None:
    """UsageError where there is no such verifier."""
    from resources.verifiers.dispatch import VERIFIERS

    if verifier not in VERIFIERS:
        raise UsageError(f"--verifier {verifier}: must be one of {', '.join(VERIFIERS)}")


class Judge:
    """Verdicts on batches of rows, counted."""

    def __init__(self, verifier: str, fields: Mapping[str, str]) -> None:
        self.verifier, self.fields = verifier, fields
        self.counts: Counter[str] = Counter()

    def columns(self, rows: list[Row]) -> Made:
        """The columns `verdict` and `evidence` of some rows."""
        found = self.verdicts(rows)
        return {
            "verdict": [each.verdict for each in found],
            "evidence": [each.evidence for each in found],
        }

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

    def account(self, rejected: int) -> str:
        """How many rows came to what."""
        said = [f"{self.counts[name]} {name}" for name in ("correct", "incorrect", "unknown")]
        left = f"; {rejected} lines are no rows" if rejected else ""
        return f"{self.counts.total()} rows = {' + '.join(said)}{left}"


def _text(value: Any) -> str | None:
    """Text as it stands, a number as JSON writes it; None for all else."""
    if isinstance(value, str):
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return json.dumps(value) if number else None
