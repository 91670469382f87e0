"""Which samples of a data set say what another one says: of its own, or of one that comes before.

Knows conversations and row ids; how texts are compared is in `resources/cleaning`. What is said in
calls is compared too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.chat import calls, hermes
from resources.cleaning.clusters import clusters
from resources.cleaning.duplicates import Duplicate, Duplicates
from resources.cleaning.words import numbers
from resources.sources.apart import asked
from resources.tasks.held_out import text_key
from warehouse.store import Artifact

if TYPE_CHECKING:
    import pyarrow as pa

BEFORE = "before_"  # inputs named so hold data sets that keep what both have
BATCH = 1024
TOOLS = ("tools", "calls")  # columns of a source whose conversations have some
Turns = Sequence[Mapping[str, str]]


class Repeats:
    """A data set's samples in their order, behind those of the data sets `before` it.

    `near` is the share of shingles from which on two samples are alike; None: exact repeats alone.
    `workdir` holds what is compared.
    """

    def __init__(self, workdir: Path, near: float | None, inputs: Mapping[str, Artifact]) -> None:
        self._rows = Duplicates(workdir / "shingles.bin", near)
        self._ids = bytearray()
        self._near = near is not None
        self._before: list[tuple[int, str]] = []  # up to which place rows are of which asset
        for name, artifact in inputs.items():
            if name.startswith(BEFORE):
                there = {name for name, _ in artifact.manifest["tables"]["sft_samples"]["columns"]}
                columns = ["row_id", "input", "output", *(c for c in TOOLS if c in there)]
                for batch in artifact.batches("sft_samples", columns, BATCH):
                    self.add(*_conversations(batch))
                self._before.append((len(self._rows), artifact.key))
        self._start = len(self._rows)
        self.uncompared = 0

    def add(self, ids: Sequence[bytes], conversations: Sequence[Turns]) -> None:
        """More samples: row ids, and whole conversations."""
        self._ids += b"".join(ids)
        keys = [_key(turns) for turns in conversations]
        if not self._near:
            self._rows.add(keys)
            return
        texts = ["\n".join(turn["content"] for turn in turns) for turns in conversations]
        self._rows.add(keys, texts, [_apart(turns) for turns in conversations])

    def found(self) -> dict[int, Duplicate]:
        """The samples that are not kept, by their place among this data set's."""
        found = self._rows.found()
        self.uncompared = found.uncompared
        return {
            each.place - self._start: each for each in found.duplicates if each.place >= self._start
        }

    def evidence(self, one: Duplicate) -> str:
        """What the sample repeats, in words."""
        what = "the same conversation as"
        if one.method == "minhash":
            what = f"shares {one.similarity:.3f} of its shingles with"
        key = self._asset(one.kept)
        return f"{what} {self.id_of(one.kept).hex()}" + (f" of {key}" if key else "")

    def id_of(self, place: int) -> bytes:
        """The row id at a place among all rows."""
        return bytes(self._ids[16 * place : 16 * place + 16])

    def clusters(self, lost: Mapping[int, Duplicate], asset_key: str) -> Iterator[pa.RecordBatch]:
        """The table `duplicates` of what `found` told; `asset_key` has this data set's rows."""
        return clusters(lost.values(), self.id_of, lambda place: self._asset(place) or asset_key)

    def _asset(self, place: int) -> str | None:
        """The data set before this one that a row is of; None where it is of this one."""
        return next((key for end, key in self._before if place < end), None)


def _conversations(batch: pa.RecordBatch) -> tuple[list[bytes], list[Turns]]:
    """Samples as row ids and whole conversations."""
    return batch.column("row_id").to_pylist(), [whole(row) for row in batch.to_pylist()]


def whole(row: Mapping[str, Any]) -> Turns:
    """A sample as turns in which all stands that it says: calls and the tools offered, too."""
    turns = [*row["input"], {"role": "assistant", "content": row["output"]}]
    if row.get("tools") is None and row.get("calls") is None:
        return turns
    return hermes.spelled(calls.messages(turns, row["calls"]), calls.offered(row["tools"]))


def _apart(turns: Turns) -> str:
    """What near duplicates must have in common: the question's numbers, and whether it thinks."""
    return f"{turns[-1]['content'].lstrip().startswith('<think>')} {numbers(asked(turns))}"


def _key(turns: Turns) -> bytes:
    """A hash of a whole conversation, without case and spacing."""
    digest = blake2b(digest_size=16)
    for turn in turns:
        text = text_key(turn["content"]).encode()
        digest.update(f"{turn['role']} {len(text)} ".encode() + text)
    return digest.digest()
