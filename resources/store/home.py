"""The home folder: where lake, work, logs and Dagster's own storage lie, and how it is chosen.

Knows paths and environment variables; knows neither artifacts nor recipes.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from resources.checkout import CHECKOUT
from warehouse.files.filesystem import replacing


class HomeError(RuntimeError):
    """The home cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Home:
    """Paths of one home. Nothing is created before `prepare`."""

    path: Path

    @property
    def dagster(self) -> Path:
        return self.path / "dagster"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def driver_lock(self) -> Path:
        """Held by `heirloom run` as long as it works."""
        return self.path / "locks" / "driver"

    @property
    def processes(self) -> Path:
        """A lock a living process that works on runs."""
        return self.path / "locks" / "processes"

    @property
    def requests(self) -> Path:
        """Root of the request cache of the engines."""
        return self.path / "requests"

    @property
    def approvals(self) -> Path:
        return self.path / "approvals"

    def prepare(self) -> Home:
        """Create the folders, point Dagster at them; HomeError where that is impossible."""
        try:
            for folder in (self.path, self.dagster, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK):
                raise PermissionError(13, "not writable", str(self.path))
            _install_dagster_yaml(self.dagster)
        except OSError as error:
            raise HomeError(
                f"the home {self.path} cannot be written ({error.strerror or error}); "
                "name a writable folder with --home or HEIRLOOM_HOME"
            ) from error
        os.environ["HEIRLOOM_HOME"] = str(self.path)
        os.environ["HEIRLOOM_DAGSTER"] = str(self.dagster)
        os.environ["DAGSTER_HOME"] = str(self.dagster)
        return self


def find(flag: str | Path | None = None) -> Home:
    """The home named by the flag, else by HEIRLOOM_HOME, else `.heirloom/` in the checkout."""
    chosen = flag or os.environ.get("HEIRLOOM_HOME") or CHECKOUT / ".heirloom"
    if "://" in str(chosen):
        raise HomeError(
            f"the home {chosen} is not a local folder, which Dagster's storage and unfinished work "
            "need; name one with --home or HEIRLOOM_HOME"
        )
    return Home(Path(chosen).expanduser().absolute())


def _install_dagster_yaml(folder: Path) -> None:
    source, target = CHECKOUT / "dagster.yaml", folder / "dagster.yaml"
    if not target.exists() or target.read_bytes() != source.read_bytes():
        with replacing(target) as aside:
            shutil.copyfile(source, aside)
