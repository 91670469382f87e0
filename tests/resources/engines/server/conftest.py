"""Waits of tests are short."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of tests are short."""
    monkeypatch.setattr("resources.engines.server.pacing.FIRST_WAIT", 0.02)
    monkeypatch.setattr("resources.engines.server.pacing.LONGEST_WAIT", 0.1)
