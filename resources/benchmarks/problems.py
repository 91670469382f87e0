"""From the rows of a benchmark's files to problems: what is asked, what is right.

Every row is a problem or a rejected row with file, line, field and reason. Asks nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from resources.benchmarks import continuation, judgeable
from resources.benchmarks.continuation import Document
from resources.recipe.sections.base import needed
from resources.recipe.sections.data import HELD_TEXT
from resources.sources.account import Account, Reject, SourceError, rejected_batch, shown
from resources.sources.reading import read
from resources.sources.shards import Shard, shards
from resources.tasks.held_out import first_places, text_key
from resources.templating import TemplateError, text, value
from warehouse.rows import with_ids

if TYPE_CHECKING:
    from resources.recipe.sections.benchmark import Benchmark
    from resources.recipe.sections.data import Files

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# The first ten are the columns of every table of problems.
COLUMNS = pa.schema(
    [
        ("domain", pa.string()),
        ("kind", pa.string()),
        ("source", pa.string()),
        ("question", pa.string()),
        ("expected_answer", pa.string()),
        ("difficulty", pa.int64()),
        ("license", pa.string()),
        ("tests", pa.string()),
        ("split", pa.string()),
        ("metadata", pa.string()),
        ("prompt", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("gold", pa.int64()),
        ("file", pa.string()),
        ("line", pa.int64()),
    ]
)
HELD_COLUMNS = ["file", "line", "text", "split"]  # of the corpus: where documents are held out
EXAMPLES = pa.schema([("prompt", pa.string()), ("target", pa.string())])


def problems(
    name: str,
    benchmark: Benchmark,
    found: Sequence[Shard],
    documents: Iterable[Document] | None = None,
) -> tuple[pa.Table, Account]:
    """Every problem of a benchmark, in the files' order, and the account of its rows.

    `documents` stand in for the files where its path is what the corpus holds out. Raises
    SourceError where more rows than `max_drop` are none, or none is.
    """
    table, account = collected(name, benchmark, found, documents)
    account.judge(benchmark.max_drop)
    return table, account


def collected(
    name: str,
    benchmark: Benchmark,
    found: Sequence[Shard],
    documents: Iterable[Document] | None = None,
) -> tuple[pa.Table, Account]:
    """The same, however many rows are no problems."""
    account = Account(name, benchmark.path)
    rows: list[dict[str, Any]] = []
    for file, line, fields in _asked(name, benchmark, found, documents, account):
        try:
            made = _problem(name, benchmark, fields)
        except (TemplateError, ValueError) as error:
            account.reject(rejected_batch(file, [Reject(line, "", shown(fields), str(error))]))
        else:
            account.kept += 1
            rows.append({**made, "file": file, "line": line})
    table = pa.Table.from_pylist(rows, COLUMNS)
    content = ["prompt", "expected_answer", "file", "line"]
    return with_ids(table, key(name), content), account


def key(name: str) -> str:
    """The asset that holds a benchmark's problems."""
    return f"benchmarks/{name}"


def examples(
    name: str, benchmark: Benchmark, found: Sequence[Shard], asked: Sequence[str] = ()
) -> pa.Table:
    """The worked examples that stand before each question: `prompt` and `target`.

    Raises SourceError where there are fewer than wanted, or one is among the prompts `asked`: it
    would give the answer away.
    """
    source = benchmark.examples
    if source is None:
        return EXAMPLES.empty_table()
    account = Account(f"{name}.few_shot")
    known = first_places(asked)
    rows = []
    for file, line, fields in _records(source, found, account):
        try:
            answer = _answer(benchmark, fields)[0]
            shown_answer = text(benchmark.few_shot.target, {"answer": answer, **fields})
            prompt = text(benchmark.prompt, fields)
        except (TemplateError, ValueError) as error:
            raise SourceError(f"{account.source}: {file}:{line}: {error}") from None
        if text_key(prompt) in known:
            raise SourceError(
                f"{account.source}: {file}:{line} is among what is asked, {prompt[:80]!r}; give "
                "few_shot.path a file of the training split, without it"
            )
        rows.append({"prompt": prompt, "target": shown_answer})
    if len(rows) < benchmark.few_shot.examples:
        raise SourceError(
            f"{account.source}: {len(rows)} examples, {benchmark.few_shot.examples} are wanted"
        )
    return pa.Table.from_pylist(rows, EXAMPLES)


def where(benchmark: Benchmark, directory: Path, memory: Path) -> tuple[list[Shard], list[Shard]]:
    """The files of the problems and of the worked examples; SourceError where there are none.

    None are looked for where the problems are made of what the corpus holds out.
    """
    if benchmark.path == HELD_TEXT:
        return [], []
    shot = benchmark.examples
    asked = shards(benchmark.problems, directory, memory)
    shown = [] if shot is None else shards(shot, directory, memory)
    both = _local(asked) & _local(shown)
    if both:
        raise SourceError(f"few_shot: {min(both)} is asked too; give a file of the training split")
    return asked, shown


def _local(found: Iterable[Shard]) -> set[Path]:
    paths = (piece.path for shard in found for piece in shard.pieces)
    return {path.resolve() for path in paths if isinstance(path, Path)}


def _asked(
    name: str,
    benchmark: Benchmark,
    found: Iterable[Shard],
    documents: Iterable[Document] | None,
    account: Account,
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """File, line and fields of what may be a problem."""
    source = benchmark.problems
    if benchmark.continuations is None:
        yield from _records(source, found, account)
        return
    if documents is None:
        documents = (
            (row["file"], row["line"], row["text"])
            for batch in _batches(source, found, account)
            for row in batch.to_pylist()
        )
    limit = needed(benchmark.limit, "limit")
    yield from continuation.asked(name, documents, benchmark.continuations, limit, account.left)


def held_text(batches: Iterable[pa.RecordBatch]) -> Iterator[Document]:
    """The held-out documents among rows of the corpus: file, line and text.

    Conversations are no text of one author and are left out.
    """
    for batch in batches:
        for row in batch.to_pylist():
            if row["split"] == "held_out" and row["text"] is not None:
                yield row["file"], row["line"], row["text"]


def _records(
    source: Files, found: Iterable[Shard], account: Account
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    for batch in _batches(source, found, account):
        for row in batch.to_pylist():
            yield row["file"], row["line"], json.loads(row["record"])


def _batches(source: Files, found: Iterable[Shard], account: Account) -> Iterator[pa.RecordBatch]:
    for shard in found:
        for batch in read(source, shard):
            if batch.rejected.num_rows:
                account.reject(batch.rejected)
            yield batch.kept


def _problem(name: str, benchmark: Benchmark, fields: Mapping[str, Any]) -> dict[str, Any]:
    prompt = text(benchmark.prompt, fields)
    if not prompt.strip():
        raise ValueError("the prompt is empty")
    answer, choices, gold = _answer(benchmark, fields)
    metadata = {key: value(source, fields) for key, source in benchmark.metadata.items()}
    if benchmark.verifier == "code":
        metadata["program"] = text(benchmark.program, {**fields, "response": _RESPONSE})
    made = {
        "domain": benchmark.verifier or benchmark.method,
        "kind": benchmark.method,
        "source": name,
        "question": prompt if benchmark.question is None else text(benchmark.question, fields),
        "expected_answer": answer,
        "license": benchmark.license,
        "tests": None if benchmark.tests is None else text(benchmark.tests, fields),
        "split": "held_out",
        "metadata": json.dumps(metadata, ensure_ascii=False) if metadata else None,
        "prompt": prompt,
        "choices": choices,
        "gold": gold,
    }
    judgeable.refuse(benchmark.verifier, made)
    return made


_RESPONSE = "\0response\0"  # stands in a stored program for what a model will write


def program(template: str, response: str) -> str:
    """The program that a response makes of a problem's stored one."""
    return template.replace(_RESPONSE, response)


def _answer(
    benchmark: Benchmark, fields: Mapping[str, Any]
) -> tuple[str | None, list[str] | None, int | None]:
    """The expected answer as text (of choices, its letter), the choices, the right one's index."""
    if benchmark.method == "perplexity" or benchmark.verifier in ("code", "instructions"):
        return None, None, None
    expected = value(benchmark.expected, fields)
    if benchmark.choices is None:
        if isinstance(expected, dict | list) and benchmark.verifier == "tools":
            expected = json.dumps(expected, ensure_ascii=False)
        if isinstance(expected, bool) or not isinstance(expected, str | int | float):
            raise ValueError(f"answer must be text or a number, found {shown(expected)}")
        answer = str(expected).strip()
        if not answer:
            raise ValueError("the answer is empty")
        return answer, None, None
    choices = value(benchmark.choices, fields)
    fits = isinstance(choices, list | tuple) and all(
        isinstance(each, str) and each.strip() for each in choices
    )
    if not fits or len(choices) < 2 or len(choices) > len(LETTERS):
        hint = (
            f"; say choices: {benchmark.choices}.values() | list"
            if isinstance(choices, dict)
            else ""
        )
        raise ValueError(
            f"choices must be a list of 2 to 26 texts, none empty, found {shown(choices)}{hint}"
        )
    gold = index(expected, choices)
    return LETTERS[gold], list(choices), gold


def index(answer: Any, choices: Sequence[str]) -> int:
    """Which choice is meant by an index from 0, a letter, or a choice's own text.

    >>> index(1, ["x", "y"]), index("B", ["x", "y"]), index("y", ["x", "y"]), index("1", ["x", "y"])
    (1, 1, 1, 1)
    """
    if isinstance(answer, str):
        text = answer.strip()
        if choices.count(answer) == 1:
            return choices.index(answer)
        if len(text) == 1 and text.upper() in LETTERS[: len(choices)]:
            return LETTERS.index(text.upper())
        if text.isdigit():
            answer = int(text)
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(choices):
        return answer
    raise ValueError(
        f"answer must be an index from 0 to {len(choices) - 1}, a letter or one of the choices, "
        f"found {shown(answer)}"
    )
