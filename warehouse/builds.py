"""The last build of every asset and partition: whether it failed, why, and where its log is.

A note beside the versions, for people; what is built or stale never depends on it.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from warehouse.errors import WarehouseError
from warehouse.manifest import label
from warehouse.versions import Versions

LOG = "HEIRLOOM_LOG"  # environment variable: the file that this process and its children write to
_OURS = ("assets", "resources", "warehouse")


@dataclass(frozen=True)
class Build:
    """How the last build of an asset or partition went.

    `outcome` is `running`, `built` or `failed`; of a killed process it stays `running`. `log` is
    the file that holds the bytes `start` to `end` of it (None: as far as it goes). `reason` is one
    line, `trace` the stack below it.
    """

    asset_key: str
    partition: str | None
    outcome: str
    began: str
    log: str | None = None
    start: int = 0
    end: int | None = None
    reason: str = ""
    trace: str = ""
    run_id: str | None = None

    @property
    def failed(self) -> bool:
        """It ended with an error."""
        return self.outcome == "failed"


def last(store: Versions, key: str, partition: str | None = None) -> Build | None:
    """The note of the last build, or None where there was none."""
    found = store.document(_path(key, partition))
    return None if found is None else Build(**found["build"])


def builds(store: Versions, key: str) -> list[Build]:
    """The notes of an asset and of each of its partitions, as far as there are any."""
    every = (store.document(entry.path) for entry in store.files.entries("builds", ".json"))
    found = [Build(**each["build"]) for each in every if each is not None]
    return [build for build in found if build.asset_key == key]


class Noted:
    """Tells of a build that it began; entering and leaving is `noted`'s."""

    def __init__(self, store: Versions, key: str, partition: str | None, run_id: str | None):
        self.store = store
        log = os.environ.get(LOG)
        self.build = Build(key, partition, "running", _now(), log, _size(log), run_id=run_id)
        self.begun = False

    def begin(self) -> None:
        """The build really starts: what is restored leaves the last build's note alone."""
        self.begun = True
        self._write(self.build)

    def end(self, outcome: str, reason: str = "", trace: str = "") -> None:
        """How it ended."""
        facts = asdict(self.build) | {"outcome": outcome, "reason": reason, "trace": trace}
        log = self.build.log
        self._write(Build(**facts | {"end": None if log is None else _size(log)}))

    def _write(self, build: Build) -> None:
        with suppress(OSError, WarehouseError):  # a note must not fail what it is about
            body = json.dumps({"format": 1, "build": asdict(build)}, indent=1).encode()
            self.store.files.write(_path(build.asset_key, build.partition), body)


@contextmanager
def noted(store: Versions, key: str, partition: str | None, run_id: str | None) -> Iterator[Noted]:
    """Note how the build in the body ends, if it begins or fails."""
    note = Noted(store, key, partition, run_id)
    try:
        yield note
    except Exception as error:
        note.end("failed", _line(error), _trace(error))
        raise
    if note.begun:
        note.end("built")


def excerpt(build: Build) -> str:
    """What the log says of the build, without the orchestrator's own lines; empty without one."""
    if build.log is None or not Path(build.log).is_file():
        return ""
    with Path(build.log).open("rb") as file:
        file.seek(build.start)
        data = file.read(None if build.end is None else max(0, build.end - build.start))
    text = data.decode(errors="replace")
    return "\n".join(line for line in text.splitlines() if " - dagster - " not in line)


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    name = type(error).__name__
    ours = type(error).__module__.partition(".")[0] in _OURS
    return (text if ours and text else f"{name}: {text}".rstrip(": ")) or name


def _trace(error: BaseException) -> str:
    """The stack from the first frame of a build function on."""
    return "".join(traceback.format_exception(error)).rstrip()


def _path(key: str, partition: str | None) -> str:
    return f"builds/{label(key, partition).replace('[', '@').removesuffix(']')}.json"


def _size(log: str | None) -> int:
    return Path(log).stat().st_size if log is not None and Path(log).is_file() else 0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
