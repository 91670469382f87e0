"""A home and a folder of numbers for the toy family."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resources.store.home import Home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A prepared home; the environment is put back afterwards."""
    for name in ("HOME", "DAGSTER", "RECIPE", "OVERRIDES"):
        monkeypatch.setenv(f"HEIRLOOM_{name}", "")
    monkeypatch.setenv("DAGSTER_HOME", "")
    return Home(tmp_path / "home").prepare()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A watched folder that holds one file of numbers."""
    folder = tmp_path / "incoming"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps([1, 2, 3, 4]))
    return folder
