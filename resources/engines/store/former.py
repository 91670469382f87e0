"""Takes up the request cache of old homes, `requests.sqlite`: once, and it is kept as it was.

Knows that file's one table. Its rows become shards, under the keys that they had.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from resources.engines.protocol import Completion
from resources.engines.store.rows import Row
from resources.engines.store.shards import MOST
from warehouse.files.filesystem import replacing

FILE = "requests.sqlite"
TAKEN = "requests.sqlite.taken.json"
_COLUMNS = (
    "key, model_version, text, token_ids, finish_reason, prompt_tokens, completion_tokens, "
    "logprobs, seconds, created"
)


def pending(root: Path) -> bool:
    """Whether there is a file that was not taken up as it is now."""
    try:
        size = (root / FILE).stat().st_size
    except FileNotFoundError:
        return False
    try:
        return bool(json.loads((root / TAKEN).read_text())["bytes"] != size)
    except (FileNotFoundError, ValueError, KeyError):
        return True


def take(root: Path, publish: Callable[[list[Row]], str]) -> list[str]:
    """Publish its rows as shards; returns their digests. A kill midway leaves nothing twice.

    Raises OSError where it is no such file.
    """
    path = root / FILE
    size = path.stat().st_size
    try:
        digests = [publish(rows) for rows in _chunks(path)]
    except sqlite3.Error as error:
        raise OSError(
            f"{path}: the request cache of an older home cannot be read ({error}): move the "
            "damaged file away to go on without what it held"
        ) from error
    with replacing(root / TAKEN) as aside:
        aside.write_text(json.dumps({"bytes": size, "shards": digests}, indent=1))
    return digests


def _chunks(path: Path) -> Iterator[list[Row]]:
    """The rows in the order of their keys, a shard's worth at a time."""
    left = path.with_name(f"{FILE}-wal")  # of a killed process; without one nothing is written
    unwritten = not left.exists() or left.stat().st_size == 0
    how = "mode=ro&immutable=1" if unwritten else "mode=ro"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)
    try:
        cursor = connection.execute(f"SELECT {_COLUMNS} FROM completions ORDER BY key")
        while found := cursor.fetchmany(MOST):
            yield [_row(*values) for values in found]
    finally:
        connection.close()


def _row(
    key: bytes,
    model: str,
    text: str,
    ids: bytes,
    reason: str,
    asked: int,
    made: int,
    scores: bytes | None,
    seconds: float,
    created: float,
) -> Row:
    tokens = np.frombuffer(ids, dtype="<i4").tolist()
    logprobs = None if scores is None else np.frombuffer(scores, dtype="<f4").tolist()
    answer = Completion(text, tokens, reason, asked, made, logprobs, seconds)
    return Row(bytes(key), model, answer, created)
