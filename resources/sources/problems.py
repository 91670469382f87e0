"""Problems from rows in the shapes that people have: each field of its type, or a rejected row.

Knows what each of our fields may hold, not how an answer is judged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from resources.recipe.sections.data import FIELDS, INSIDE
from resources.sources.account import Batch, Reject, rejected_batch, shown
from resources.sources.fields import (
    Unfit,
    Written,
    at,
    json_text,
    kind,
    optional_text,
    plain_text,
    text_or_number,
    whole_number,
)
from resources.tasks import options

PROBLEM = pa.struct(
    [
        ("question", pa.string()),
        ("expected_answer", pa.string()),
        ("difficulty", pa.int32()),
        ("tests", pa.string()),
        ("subject", pa.string()),
        ("subtopic", pa.string()),
        ("metadata", pa.string()),
        ("id", pa.string()),
    ]
)
NAMES = FIELDS["problems"]
_GSM8K_ANSWER = re.compile(r"####\s*(\S.*)$", re.MULTILINE)


def problem(
    row: Mapping[str, Any], columns: Mapping[str, str], domain: str, voted: bool = False
) -> dict[str, Any]:
    """The problem in a row, as `PROBLEM`; `columns` maps our names to theirs.

    Without `columns` the row's fields bear our names. Of multiple choice the question is followed
    by the options, and the answer is the letter of the one that is meant. Where answers are `voted`
    on, none is an answer too: null, or no text. Raises Unfit for a field
    that is absent, null where something is due, or of another type: nothing is guessed.
    """
    columns = columns or {name: name for name in NAMES if name in row} | {"question": "question"}
    question = plain_text(row, columns["question"]).strip()
    answer = ""
    if "choices" in columns:
        known = "expected_answer" in columns and not (voted and _open(row, columns))
        question, answer = _choice(row, columns, question, known)
    elif "expected_answer" in columns and not (voted and _open(row, columns)):
        answer = _answer(row, columns["expected_answer"], domain)
    texts = {
        name: optional_text(row, columns[name]) or "" if name in columns else ""
        for name in ("subject", "subtopic")
    }
    return {
        "question": question,
        "expected_answer": answer,
        "difficulty": whole_number(row, columns["difficulty"]) if "difficulty" in columns else None,
        "tests": _tests(row, columns["tests"]) if "tests" in columns else "",
        **texts,
        "metadata": _metadata(row, columns),
        "id": text_or_number(row, columns["id"]) if "id" in columns else None,
    }


def _open(row: Mapping[str, Any], columns: Mapping[str, str]) -> bool:
    """Whether a row says that its answer is not known."""
    value = at(row, columns["expected_answer"])
    return value is None or (isinstance(value, str) and not value.strip())


def _answer(row: Mapping[str, Any], column: str, domain: str) -> str:
    """The expected answer as text: a text, a number as written, or of tools the calls as JSON.

    What follows the `####` of a worked solution is the answer, as GSM8K writes it.
    """
    value = at(row, column)
    if value is None:
        raise Unfit(column, None, "no answer: is null")
    if domain == "tools" and isinstance(value, list | dict):
        return json_text(column, value)
    if isinstance(value, list | tuple):
        raise Unfit(column, value, "must be text or a number, is a list; give one answer a row")
    text = text_or_number(row, column)
    marked = _GSM8K_ANSWER.search(text)
    return marked.group(1).replace(",", "").strip() if marked else text


def _choice(
    row: Mapping[str, Any], columns: Mapping[str, str], question: str, known: bool
) -> tuple[str, str]:
    """The question with its options, and the letter of the right one where it is `known`."""
    given = at(row, columns["choices"])
    json_text(columns["choices"], given)
    try:
        found = options.read(given)
    except ValueError as error:
        raise Unfit(columns["choices"], given, str(error)) from None
    for text in found.texts:
        plain_text({columns["choices"]: text}, columns["choices"])
    listed = " ".join(f"{n}={text}" for n, text in zip(found.letters, found.texts, strict=True))
    asked = f"{question} {listed}"
    if not known:
        return asked, ""
    column = columns["expected_answer"]
    answer = at(row, column)
    if answer is None:
        raise Unfit(column, None, "no answer: is null")
    if not isinstance(answer, bool):
        text_or_number(row, column)
    try:
        return asked, found.letters[found.index(answer)]
    except (ValueError, OverflowError) as error:
        raise Unfit(column, answer, str(error)) from None


def _tests(row: Mapping[str, Any], column: str) -> str:
    """Tests as text: a program or lines of one, or the JSON of what is data."""
    value = at(row, column)
    if isinstance(value, list) and value and all(isinstance(line, str) for line in value):
        value = "\n".join(value)
    if isinstance(value, list | dict):
        if not value:
            raise Unfit(column, value, "no tests")
        return json_text(column, value)
    return plain_text({column: value}, column)


def _metadata(row: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    """What a verifier needs beside, as JSON of an object: a column of its own, or entries of it."""
    found: Any = {}
    if "metadata" in columns:
        column = columns["metadata"]
        found = at(row, column)
        if isinstance(found, str) and found:
            text = plain_text(row, column)
            if not isinstance(_read(column, text), dict):
                raise Unfit(column, found, "must be a JSON object, or the text of one")
            found = _read(column, text)
        if found in (None, ""):
            found = {}
        if not isinstance(found, dict):
            raise Unfit(column, found, f"must be a JSON object, is {kind(found)}")
    for name in columns:
        if name.startswith(INSIDE):
            value = at(row, columns[name])
            if value is not None:
                found = {**found, name.removeprefix(INSIDE): value}
    return json_text(columns.get("metadata", "metadata"), found, sort_keys=True)


def _read(column: str, text: str) -> Any:
    try:
        return json.loads(text, parse_float=Written)
    except (ValueError, RecursionError) as error:
        raise Unfit(column, text, f"no JSON: {error}") from None


def without_repeated(batch: Batch, column: str, seen: dict[str, str]) -> Batch:
    """The batch without rows of an `id` that came before; `seen` grows by where each id stands."""
    kept, rejects = [], []
    rows = zip(
        *(batch.kept.column(n).to_pylist() for n in ("problem", "file", "line")), strict=True
    )
    for place, (found, file, line) in enumerate(rows):
        here, name = f"{file}:{line}", found["id"]
        first = here if name is None else seen.setdefault(name, here)
        if first == here:
            kept.append(place)
        else:
            rejects.append(Reject(line, column, shown(name), f"the same id as {first}"))
    if not rejects:
        return batch
    lost = rejected_batch(batch.kept.column("file")[0].as_py(), rejects)
    both = pa.Table.from_batches([batch.rejected, lost]).combine_chunks().to_batches()[0]
    return Batch(batch.kept.take(pa.array(kept, pa.int64())), both)
