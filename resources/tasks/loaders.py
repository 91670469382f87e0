"""Other people's problems by the same door: JSONL, Parquet, a hub id, a reasoning-gym generator.

Gives rows of the `problems` view. A mapping names, for each of our fields, the field of theirs; a
mapping never guesses. Knows nothing of recipes beyond the plain mapping it is given.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.tasks import options
from resources.tasks.generate import problem_table
from resources.tasks.held_out import is_held_out_row

if TYPE_CHECKING:
    import pyarrow as pa

FIELDS = (
    "question",
    "expected_answer",
    "tests",
    "choices",
    "subject",
    "subtopic",
    "difficulty",
    "metadata",
)
_GSM8K_ANSWER = re.compile(r"####\s*(\S.*)$", re.MULTILINE)


class LoadError(ValueError):
    """A source cannot be read as declared: which source, row and field, and what would be right."""


def load(
    source: Mapping[str, Any],
    domain: str,
    *,
    base: Path | None = None,
    file: Path | None = None,
) -> "pa.Table":
    """Rows of the `problems` view, without ids, read from one declared source.

    `source` has `format` (jsonl, parquet, hub or reasoning_gym), `path` (a file, a hub id or a
    generator's name), optional `config` (a generator's seed), `split`, `limit`, `license`, and
    `fields`: our field -> theirs. Of multiple-choice data `choices` names their list of options and
    `expected_answer` a letter, an index or an option's text. A `####` mark in an expected answer is
    cut as GSM8K writes it. `file` is where a local source lies now; rows bear its declared `path`
    all the same.

    Raises LoadError when the file is missing, a row is not as declared, or the hub cannot be had.
    """
    rows = _read(source, base, file)
    name = str(source["path"])
    fields: Mapping[str, str] = source.get("fields") or {"question": "question"}
    unknown = sorted(set(fields) - set(FIELDS))
    if unknown:
        raise LoadError(
            f"{name}: unknown field {unknown[0]!r} in `fields`; known: {', '.join(FIELDS)}"
        )
    if "question" not in fields:
        raise LoadError(f"{name}: `fields` must say which field is the question")
    limit = source.get("limit")
    made: list[dict[str, Any]] = []
    for number, row in enumerate(rows, 1):
        if limit is not None and len(made) >= int(limit):
            break
        made.append(
            to_problem(row, fields, domain, name, number, source.get("license") or "unknown")
        )
    for row in made:
        row["split"] = "held_out" if is_held_out_row(row) else "train"
    return problem_table(made)


def _read(source: Mapping[str, Any], base: Path | None, file: Path | None) -> list[dict[str, Any]]:
    form, name = source.get("format"), str(source["path"])
    if form == "hub":
        from datasets import load_dataset

        try:
            found = load_dataset(name, source.get("config"), split=source.get("split") or "train")
        except Exception as error:
            raise LoadError(
                f"hub data set {name}: cannot be had ({type(error).__name__}): check the id and "
                "the network, or download it and give its path with format jsonl or parquet"
            ) from error
        return [dict(row) for row in found]
    if form == "reasoning_gym":
        return _reasoning_gym(name, source)
    path = file or Path(name).expanduser()
    if base is not None and not path.is_absolute():
        path = base / path
    if not path.is_file():
        raise LoadError(f"{path}: no such file; check `path` in the recipe's extra_sources")
    if form == "parquet":
        import pyarrow.parquet as pq

        return list(pq.read_table(path).to_pylist())
    if form != "jsonl":
        raise LoadError(
            f"{name}: format {form!r} is unknown: use jsonl, parquet, hub or reasoning_gym"
        )
    return read_json_lines(path)


def _reasoning_gym(name: str, source: Mapping[str, Any]) -> list[dict[str, Any]]:
    import reasoning_gym

    try:
        made = reasoning_gym.create_dataset(
            name, size=int(source.get("limit") or 1000), seed=int(source.get("config") or 0)
        )
    except ValueError as error:
        raise LoadError(f"reasoning_gym has no generator {name!r}: {error}") from error
    return [dict(row) for row in made]


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; LoadError, with the line, where one is not an object."""
    rows = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise LoadError(f"{path}:{number}: not JSON: {error.msg}") from error
            if not isinstance(row, dict):
                raise LoadError(f"{path}:{number}: each line must be a JSON object")
            rows.append(row)
    return rows


def _field(row: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in row:
        raise LoadError(f"{where}: no field {key!r}; it has {', '.join(sorted(row))}")
    return row[key]


def to_problem(
    row: Mapping[str, Any],
    fields: Mapping[str, str],
    domain: str,
    name: str,
    number: int,
    license_name: str,
) -> dict[str, Any]:
    """One row of theirs as one of ours; LoadError names the row and field that do not fit."""
    where = f"{name}:{number}"
    values = {ours: _field(row, theirs, where) for ours, theirs in fields.items()}
    question = str(values["question"]).strip()
    if not question:
        raise LoadError(f"{where}: the question ({fields['question']!r}) is empty")
    expected = values.get("expected_answer", "")
    if "choices" in values:
        question, expected = _choices(question, values["choices"], expected, where)
    else:
        marked = _GSM8K_ANSWER.search(str(expected))
        expected = marked.group(1).replace(",", "").strip() if marked else str(expected)
    tests = values.get("tests", "")
    metadata = values.get("metadata", {})
    return {
        "domain": domain,
        "kind": "loaded",
        "source": name,
        "question": question,
        "expected_answer": expected,
        "difficulty": int(values["difficulty"]) if "difficulty" in values else None,
        "license": license_name,
        "tests": _tests(tests),
        "subject": str(values.get("subject", "")),
        "subtopic": str(values.get("subtopic", "")),
        "prompt_messages": None,
        "metadata": metadata if isinstance(metadata, str) else json.dumps(metadata, sort_keys=True),
        "composition": question,
    }


def _tests(given: Any) -> str:
    """Tests as text: lines of source, or the JSON of what is data."""
    if isinstance(given, str):
        return given
    if isinstance(given, list) and all(isinstance(line, str) for line in given):
        return "\n".join(given)
    return json.dumps(given)


def _choices(question: str, given: Any, answer: Any, where: str) -> tuple[str, str]:
    try:
        found = options.read(given)
        place = found.index(answer)
    except ValueError as error:
        raise LoadError(f"{where}: {error}") from None
    listed = " ".join(f"{n}={text}" for n, text in zip(found.letters, found.texts, strict=True))
    return f"{question} {listed}", found.letters[place]
