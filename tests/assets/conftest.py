"""A home as assets find it: a folder that a variable names."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, also `$HEIRLOOM_HOME` for the time of the test."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HEIRLOOM_HOME", str(folder))
    return folder
