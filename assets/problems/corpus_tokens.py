"""The corpus as token ids with a loss mask, as the models of one chat read it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.chat.chat import Chat
    from resources.chat.pieces import Piece

BATCH = 1024  # rows encoded at once
HELD_OUT = "held_out"


def make_tokens(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Mapping[str, Any],
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
    made = _Made(chat, recipe)
    tables: dict[str, Any] = {"corpus": made.rows(inputs["corpus"], held_out=False)}
    if "weights" in recipe:
        tables[HELD_OUT] = made.rows(inputs["corpus"], held_out=True)
        tables["dropped"] = made.lost()
    return Output(tables=tables, metrics=made.metrics, observations={"chat": chat.digest})


@dataclass
class _Made:
    """Batches of examples, and what was counted while they were made."""

    chat: Chat
    recipe: Mapping[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    dropped: list[tuple[bytes, str]] = field(default_factory=list)

    def rows(self, corpus: Artifact, held_out: bool) -> Iterator[pa.RecordBatch]:
        """Rows of the table `corpus`, the held-out ones or the others."""
        import pyarrow.compute as pc

        budget = _budget(self.recipe)
        taken: Counter[str] = Counter()
        for batch in corpus.batches("texts", None, BATCH):
            if "split" in batch.schema.names:
                apart = pc.fill_null(pc.equal(batch.column("split"), HELD_OUT), False)
                batch = batch.filter(apart if held_out else pc.invert(apart))
            yield self._encoded(batch, {} if held_out else budget, taken)
        name = "held_out_tokens" if held_out else "tokens"
        self.metrics[name] = float(sum(taken.values()))

    def _encoded(
        self, batch: pa.RecordBatch, budget: Mapping[str, float], taken: Counter[str]
    ) -> pa.RecordBatch:
        import pyarrow as pa

        from resources.chat.pieces import encode
        from warehouse.schemas import SCHEMAS

        def wanted(row: Mapping[str, Any]) -> bool:
            return taken[row["source"]] < budget.get(row["source"], math.inf)

        rows = [row for row in batch.to_pylist() if wanted(row)]
        encoded = encode(self.chat, [_piece(row) for row in rows])
        limit = self.recipe.get("max_tokens")
        found: dict[str, list[Any]] = {name: [] for name in SCHEMAS["corpus"].names}
        for row, examples in zip(rows, encoded, strict=True):
            if isinstance(examples, Exception):
                self.dropped.append((row["row_id"], str(examples)))
                continue
            if not wanted(row):
                continue
            for number, (ids, mask) in enumerate(examples):
                found["row_id"].append(_id(row["row_id"], number))
                found["text_ids"].append(ids[:limit])
                found["loss_mask"].append(mask[:limit])
                found["kind"].append(row.get("kind") or _kind(row))
                found["domain"].append(row.get("domain") or row["source"])
                found["parents"].append([])
                taken[row["source"]] += len(ids[:limit])
        return pa.RecordBatch.from_pydict(found, schema=SCHEMAS["corpus"])

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
