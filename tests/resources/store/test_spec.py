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


def test_each_partition_has_the_recipe_and_what_it_adds() -> None:
    whole = Spec("a/b", "s", "m:f", recipe={"tokens": 1, "group": None})
    assert whole.slices() == {None: {"tokens": 1, "group": None}}
    parts = dataclasses.replace(whole, partitions={"g1": {"group": 0}, "g2": {"tokens": 2}})
    assert parts.slices() == {"g1": {"tokens": 1, "group": 0}, "g2": {"tokens": 2, "group": None}}
