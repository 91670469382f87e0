"""The request store: a completion is paid for once, whoever asks.

A completion lies in the journal of the process that was answered, and with the next few hundred in
a shard. Processes of one machine share a store: what one was answered the others find at once, and
of two that were answered alike the first one's stays. A kill loses nothing that was answered.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from resources.engines.protocol import Completion
from resources.engines.store import former, journal
from resources.engines.store.index import Index, Place
from resources.engines.store.rows import Row, single
from resources.engines.store.shards import Shards
from warehouse.errors import explained
from warehouse.files import locks
from warehouse.files.filesystem import Files

FOLD_AT = 512  # rows of a journal that become a shard
SYNC_SECONDS = 1.0  # what a power loss may cost


class RequestStore:
    """Completions by request key below `root`, a local folder.

    `files` is where the shards and their index lie, by default below `root` too; it may be an
    object store. Keys have 32 bytes. Raises WarehouseError where `root` cannot be written or a
    shard is damaged.
    """

    def __init__(self, root: str | Path, files: Files | None = None) -> None:
        self.root = Path(root)
        with explained(f"write {self.root}"):
            self.root.mkdir(parents=True, exist_ok=True)
        self.shards = Shards(files or Files(self.root))
        self.index = Index(self.shards.files, self.shards)
        self._lock, self._epoch = self.root / "lock", self.root / "epoch"
        self._seen: str | None = None
        self._journals: dict[str, journal.Journal] = {}
        self._recent: dict[bytes, Row] = {}
        self._writer: journal.Writer | None = None
        self._synced = time.monotonic()
        if former.pending(self.root):
            with locks.held(self._lock):
                if former.pending(self.root):
                    former.take(self.root, self.shards.publish)
                    self._turn()
                    self._seen = None

    def get(self, keys: Sequence[bytes], *, logprobs: bool = False) -> dict[bytes, Completion]:
        """The stored completions among `keys`; with `logprobs` only those that have them."""
        with locks.shared(self._lock):
            self._refresh()
        return self._found(keys, logprobs=logprobs)

    def put(self, completions: Mapping[bytes, Completion], model: str) -> dict[bytes, Completion]:
        """Store completions; returns what is stored under each key, which the first one wins.

        A later one takes the place of the first only where it alone has log-probabilities.
        """
        scored = {key: each.logprobs is not None for key, each in completions.items()}
        with locks.held(self._lock):
            self._refresh()
            places = self._places(list(completions))
            now = time.time()
            rows = [
                Row(key, model, replace(answer, logprobs=single(answer.logprobs)), now)
                for key, answer in completions.items()
                if key not in places or (scored[key] and not places[key].scored)
            ]
            if rows:
                self._append(rows)
        return {
            key: answer
            for with_scores in (True, False)
            for key, answer in self._found(
                [key for key in completions if scored[key] == with_scores], logprobs=with_scores
            ).items()
        }

    def __len__(self) -> int:
        """How many requests have an answer."""
        with locks.shared(self._lock):
            self._refresh()
        filed = self.index.find(list(self._recent))
        return len(self.index) + len(self._recent) - len(filed)

    def close(self) -> None:
        """Make everything durable. On an object store the journal becomes a shard."""
        if self._writer is None:
            return
        with locks.held(self._lock):
            self._refresh()
            if self.shards.files.local is None:
                self._fold()
        if self._writer is not None:
            self._writer.sync()
            self._writer.close()
            self._writer = None

    def _found(self, keys: Sequence[bytes], *, logprobs: bool) -> dict[bytes, Completion]:
        found: dict[bytes, Completion] = {}
        wanted: dict[str, list[tuple[int, bytes]]] = {}
        for number, place in self.index.find(keys, scored=logprobs).items():
            wanted.setdefault(place.shard, []).append((place.row, keys[number]))
        for shard, rows in wanted.items():
            places, there = zip(*rows, strict=True)
            taken = self.shards.take(shard, places, there, logprobs=logprobs)
            found.update(zip(there, taken, strict=True))
        for key in keys:
            row = self._recent.get(key)
            if row is None or (logprobs and not row.scored) or (key in found and not row.scored):
                continue
            answer = row.completion
            found[key] = answer if logprobs else replace(answer, logprobs=None)
        return found

    def _places(self, keys: Sequence[bytes]) -> dict[bytes, Place]:
        places = {keys[number]: place for number, place in self.index.find(keys).items()}
        for key in keys:
            row = self._recent.get(key)
            if row is not None and (key not in places or row.scored):
                places[key] = Place("", 0, row.created, row.scored)
        return places

    def _refresh(self) -> None:
        """Take up what others stored. The lock is held: no journal becomes a shard meanwhile."""
        epoch = self._epoch.read_text() if self._epoch.exists() else ""
        if epoch != self._seen:
            self.index.refresh()
            self._seen = epoch
        present = sorted((self.root / "journals").glob(f"*{journal.SUFFIX}"))
        for name in set(self._journals) - {path.name for path in present}:
            gone = self._journals.pop(name)
            for row in gone.rows:
                self._recent.pop(row.key, None)
        for path in present:
            known = self._journals.setdefault(path.name, journal.Journal(path))
            if path.stat().st_size:
                self._remember(known.refresh())

    def _remember(self, rows: Sequence[Row]) -> None:
        for row in rows:
            there = self._recent.get(row.key)
            if there is None or (row.scored and not there.scored):
                self._recent[row.key] = row

    def _append(self, rows: list[Row]) -> None:
        """Write rows to our journal. The lock is held."""
        if self._writer is None:
            self._writer = self._taken_up()
        own = self._writer.path
        mine = self._journals.setdefault(own.name, journal.Journal(own))
        self._writer.append(rows)
        mine.wrote(rows)
        self._remember(rows)
        if len(mine.rows) >= FOLD_AT:
            self._fold()
        elif time.monotonic() - self._synced >= SYNC_SECONDS:
            self._writer.sync()
            self._synced = time.monotonic()

    def _taken_up(self) -> journal.Writer:
        """A journal that nobody writes any more, to go on with, or a new one."""
        for known in self._journals.values():
            try:
                return journal.Writer(known.path)
            except BlockingIOError:
                continue
        return journal.Writer(journal.fresh(self.root / "journals"))

    def _fold(self) -> None:
        """Make a shard of our journal. The lock is held."""
        assert self._writer is not None
        mine = self._journals.pop(self._writer.path.name)
        places = self.index.find([row.key for row in mine.rows])
        # A kill may have left the journal of rows that a shard holds already.
        new = {
            (row.key, row.scored): row
            for number, row in reversed(list(enumerate(mine.rows)))
            if number not in places or (row.scored and not places[number].scored)
        }
        if new:
            self.index.add([self.shards.publish(new.values())])
        self._turn()
        self._writer.remove()
        self._writer = None
        for row in mine.rows:
            self._recent.pop(row.key, None)

    def _turn(self) -> None:
        """Tell the others that there are new shards."""
        self._seen = uuid.uuid4().hex
        with explained(f"write {self._epoch}"):
            self._epoch.write_text(self._seen)
