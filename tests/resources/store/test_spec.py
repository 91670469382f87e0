"""Specs are plain data: defaults, and no import of what they name."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from resources.store.spec import Spec


def test_a_spec_imports_nothing_and_cannot_be_changed() -> None:
    spec = Spec("super/distilled", "recovery", "no.such.module:build", {"teacher": "super/parent"})
    assert "no" not in sys.modules
    assert spec.recipe == {} and spec.version is None and spec.reproducibility == "exact"
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.seed = 1  # type: ignore[misc]
