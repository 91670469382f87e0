"""What stopped a diverged run and what was answered to it: two files in its work folder.

`divergence.json` is written when a run stops; `resume.json`, by a person or a sensor, answers
it, and the next run goes on from the last good checkpoint. Knows files; nothing of models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from warehouse.files.filesystem import replacing

STOPPED, ANSWER = "divergence.json", "resume.json"
REINITIALIZE = "reinitialize_optimizer"


def stop(workdir: Path, record: Mapping[str, Any], number: int) -> None:
    """Notes that the run stopped for the `number`-th time (from 1)."""
    _write(workdir / STOPPED, {**record, "number": number})


def stopped(workdir: Path) -> dict[str, Any] | None:
    """The record of an unanswered stop, None where the run may go on."""
    record = _read(workdir / STOPPED)
    given = _read(workdir / ANSWER)
    answered = record is not None and given is not None and given["number"] == record["number"]
    return None if answered else record


def waiting(work: Path, key: str) -> Path | None:
    """The work folder below `work` in which the last stopped run of the asset `key` waits."""
    found = [
        path for path in work.glob(f"*/{STOPPED}") if (stopped(path.parent) or {}).get("key") == key
    ]
    return max(found, key=lambda path: path.stat().st_mtime).parent if found else None


def read_stop(workdir: Path) -> dict[str, Any]:
    """The record of the last stop. Raises FileNotFoundError where there was none."""
    record = _read(workdir / STOPPED)
    if record is None:
        raise FileNotFoundError(f"{workdir / STOPPED} is gone: the run's stop is not known")
    return record


def answer(workdir: Path, *, by: str, reason: str) -> dict[str, Any]:
    """Lets a stopped run go on with fresh optimizer states; returns the record it answers.

    Raises FileNotFoundError where no stop waits for an answer.
    """
    record = stopped(workdir)
    if record is None:
        raise FileNotFoundError(f"{workdir}: no stopped run waits for an answer")
    _write(
        workdir / ANSWER,
        {"number": record["number"], "action": REINITIALIZE, "by": by, "reason": reason},
    )
    return record


def answered(workdir: Path, done: int) -> dict[str, Any] | None:
    """The answer to act on: the last one, unless the run already acted on `done` of them."""
    given = _read(workdir / ANSWER)
    return given if given is not None and given["number"] > done else None


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    value: dict[str, Any] = json.loads(path.read_text())
    return value


def _write(path: Path, value: Mapping[str, Any]) -> None:
    with replacing(path) as aside:
        aside.write_text(json.dumps(value, indent=1))
