"""The examples in docstrings: every one of them runs."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("assets", "jobs", "resources", "sensors", "warehouse")


def modules() -> list[str]:
    files = (file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py")))
    return [
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for file in files
        if ">>> " in file.read_text()
    ]


@pytest.mark.parametrize("name", modules())
def test_the_examples_of_a_module(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted and not result.failed
