"""The corpus as token ids with a loss mask, as the models of one chat read it."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.files.filesystem import replacing
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.chat.chat import Chat
    from resources.chat.pieces import Piece
    from resources.execution import Execution

BATCH = 1024  # rows encoded at once, at most,
BYTES = 1 << 20  # and about so much text: memory does not follow the length of documents
HELD_OUT = "held_out"
READ = ("row_id", "text", "context", "messages", "source", "kind", "domain", "split", "bytes")
LOST = b"lost"  # where an encoded batch says which rows the chat could not read


def make_tokens(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """The tables `corpus` and, of a mixture, `held_out` and `dropped`.

    `inputs["corpus"]` holds texts and conversations, `inputs["model"]` the chat. `recipe` has
    `max_tokens` (a document is cut there), or `weights` and `tokens`: each source gives the
    documents that stand first until its share of the tokens is reached. Of a conversation that
    needs several examples the further ones have ids made of its own. What the chat cannot read is
    a row of `dropped`.
    """
    from resources.chat.chat import Chat

    chat = Chat.load(inputs["model"].path())
    made = _Made(chat, recipe, workdir)
    tables: dict[str, Any] = {"corpus": made.rows(inputs["corpus"], held_out=False)}
    if "weights" in recipe:
        tables[HELD_OUT] = made.rows(inputs["corpus"], held_out=True)
        tables["dropped"] = made.lost()
    return Output(tables=tables, metrics=made.metrics, observations={"chat": chat.digest})


@dataclass
class _Made:
    """Batches of examples, and what was counted while they were made.

    Encoded batches lie in the work folder until the asset is published, so that a killed build
    goes on behind the last one.
    """

    chat: Chat
    recipe: Mapping[str, Any]
    workdir: Path
    metrics: dict[str, float] = field(default_factory=dict)
    dropped: list[tuple[bytes, str]] = field(default_factory=list)

    def rows(self, corpus: Artifact, held_out: bool) -> Iterator[pa.RecordBatch]:
        """Rows of the table `corpus`, the held-out ones or the others."""
        budget = {} if held_out else _budget(self.recipe)
        taken: Counter[str] = Counter()
        name = HELD_OUT if held_out else "corpus"
        for made in self._ahead(_texts(corpus, held_out), name):
            lost = json.loads((made.schema.metadata or {}).get(LOST, b"[]"))
            self.dropped += [(bytes.fromhex(row_id), why) for row_id, why in lost]
            yield _within(made.drop_columns(["source"]), made.column("source"), budget, taken)
            if budget and all(taken[source] >= most for source, most in budget.items()):
                break
        name = "held_out_tokens" if held_out else "tokens"
        self.metrics[name] = float(sum(taken.values()))

    def _ahead(self, batches: Iterator[pa.RecordBatch], name: str) -> Iterator[pa.RecordBatch]:
        """The encoded batches; the next is under way while one is used."""
        with ThreadPoolExecutor(1) as pool:
            coming: deque[Future[pa.RecordBatch]] = deque()
            for index, batch in enumerate(batches):
                path = self.workdir / f"{name}_{index:06d}.arrow"
                coming.append(pool.submit(self._kept, path, batch))
                if len(coming) > 1:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()

    def _kept(self, path: Path, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch encoded, as an earlier try left it or anew."""
        import pyarrow as pa

        if not path.is_file():
            made = self._encoded(batch)
            with (
                replacing(path) as aside,
                pa.OSFile(str(aside), "wb") as sink,
                pa.ipc.new_file(sink, made.schema) as writer,
            ):
                writer.write_batch(made)
            return made
        with pa.OSFile(str(path), "rb") as source:
            return pa.ipc.open_file(source).get_batch(0)

    def _encoded(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Every row as rows of `corpus`, with its `source`; what was lost is in the metadata."""
        from resources.chat.pieces import encode

        rows = batch.to_pylist()
        limit = self.recipe.get("max_tokens")
        found: dict[str, list[Any]] = {
            name: [] for name in ("row_id", "text_ids", "loss_mask", "kind", "domain", "source")
        }
        lost: list[tuple[str, str]] = []
        encoded = encode(self.chat, [_piece(row) for row in rows])
        for row, examples in zip(rows, encoded, strict=True):
            if isinstance(examples, Exception):
                lost.append((row["row_id"].hex(), str(examples)))
                continue
            for number, (ids, mask) in enumerate(examples):
                found["row_id"].append(_id(row["row_id"], number))
                found["text_ids"].append(ids[:limit])
                found["loss_mask"].append(mask[:limit])
                found["kind"].append(row.get("kind") or _kind(row))
                found["domain"].append(row.get("domain") or row["source"])
                found["source"].append(row["source"])
        return _batch(found, lost)

    def lost(self) -> Iterator[pa.RecordBatch]:
        """Rows of `dropped`; asked for when all others are written."""
        import pyarrow as pa

        from warehouse.schemas import SCHEMAS

        schema = SCHEMAS["dropped"]
        columns = {
            "row_id": [row_id for row_id, _ in self.dropped],
            "reason": ["chat"] * len(self.dropped),
            "evidence": [why for _, why in self.dropped],
        }
        empty = {name: [None] * len(self.dropped) for name in schema.names if name not in columns}
        self.metrics["dropped"] = float(len(self.dropped))
        yield pa.RecordBatch.from_pydict({**columns, **empty}, schema=schema)


def _texts(corpus: Artifact, held_out: bool) -> Iterator[pa.RecordBatch]:
    """The corpus in batches, the held-out rows or the others."""
    import pyarrow.compute as pc

    there = [name for name, _ in corpus.manifest["tables"]["texts"]["columns"]]
    for batch in corpus.batches("texts", [name for name in READ if name in there], BATCH):
        if "split" in there:
            apart = pc.fill_null(pc.equal(batch.column("split"), HELD_OUT), False)
            batch = batch.filter(apart if held_out else pc.invert(apart))
        sizes = batch.column("bytes").to_numpy()
        cuts = np.flatnonzero(np.diff((np.cumsum(sizes) - sizes) // BYTES)) + 1
        for start, stop in itertools.pairwise([0, *cuts.tolist(), batch.num_rows]):
            yield batch.slice(start, stop - start)


def _batch(found: Mapping[str, list[Any]], lost: list[tuple[str, str]]) -> pa.RecordBatch:
    """Lists of columns as a batch of `corpus` and `source`."""
    import pyarrow as pa

    from warehouse.schemas import SCHEMAS

    schema = SCHEMAS["corpus"].append(pa.field("source", pa.string()))
    lengths = np.fromiter(map(len, found["text_ids"]), np.int64, len(found["text_ids"]))
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    flat = itertools.chain.from_iterable
    ids = np.fromiter(flat(found["text_ids"]), np.int32, int(lengths.sum()))
    mask = np.fromiter(flat(found["loss_mask"]), bool, int(lengths.sum()))
    columns = {
        "row_id": pa.array(found["row_id"], pa.binary(16)),
        "text_ids": pa.ListArray.from_arrays(ends, pa.array(ids)),
        "loss_mask": pa.ListArray.from_arrays(ends, pa.array(mask)),
        "parents": pa.array([[]] * len(lengths), schema.field("parents").type),
        **{name: pa.array(found[name], pa.string()) for name in ("kind", "domain", "source")},
    }
    made = pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)
    return made.replace_schema_metadata({LOST: json.dumps(lost).encode()})


def _within(
    batch: pa.RecordBatch, sources: pa.Array, budget: Mapping[str, float], taken: Counter[str]
) -> pa.RecordBatch:
    """The rows that stand first in their source until its budget is used; `taken` grows."""
    import pyarrow as pa

    lengths = batch.column("text_ids").value_lengths().to_numpy()
    names = np.array(sources.to_pylist(), dtype=object)
    fits = np.zeros(len(names), bool)
    for name in dict.fromkeys(names):
        own = np.flatnonzero(names == name)
        before = taken[name] + np.cumsum(lengths[own]) - lengths[own]
        kept = own[before < budget.get(name, math.inf)]
        fits[kept] = True
        taken[name] += int(lengths[kept].sum())
    return batch.filter(pa.array(fits)).replace_schema_metadata(None)


def _budget(recipe: Mapping[str, Any]) -> dict[str, float]:
    """Tokens that each source of a mixture gives."""
    weights: Mapping[str, float] = recipe.get("weights", {})
    return {
        name: recipe["tokens"] * weight / sum(weights.values()) for name, weight in weights.items()
    }


def _piece(row: Mapping[str, Any]) -> Piece:
    from resources.chat.pieces import Piece

    if row["messages"] is None:
        return Piece(text=row["text"], context=row.get("context") or "")
    # Columns that a message has not are null in the table.
    return Piece([{k: v for k, v in turn.items() if v is not None} for turn in row["messages"]])


def _kind(row: Mapping[str, Any]) -> str:
    return "text" if row["messages"] is None else "conversation"


def _id(row_id: bytes, number: int) -> bytes:
    """A text's own id for its first example, and one made of it for each further one."""
    if not number:
        return row_id
    return blake2b(row_id + number.to_bytes(4, "little"), digest_size=16).digest()
