"""Teacher, student and corpus of the recovery tests, in a store of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.recovery.distill import distil
from tests.assets.recovery.section import PLAIN, losses
from tests.resources.training import tiny_family as tiny
from warehouse.store import Artifact, Output, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def inputs(store: Store, tmp_path: Path) -> dict[str, Artifact]:
    """The teacher is the student's parent: same weights, and the student lost its first FFN."""
    blocks = [{"ffn": {"kind": "noop"}}, {}]
    teacher = tiny.checkpoint_in(tmp_path / "teacher", seed=1)
    student = tiny.checkpoint_in(tmp_path / "student", seed=1, like=teacher, block_configs=blocks)
    corpus_output = Output(tables={"corpus": tiny.corpus_table()})
    return {
        "teacher": tiny.publish(store, "super/parent", Output(files={"": teacher})),
        "student": tiny.publish(store, "super/assembled", Output(files={"": student})),
        "corpus": tiny.publish(store, "problems/corpus", corpus_output),
    }


@pytest.fixture
def plain(store: Store, inputs: dict[str, Artifact]) -> Artifact:
    made = tiny.build(store, "super/distilled", distil, inputs, PLAIN)
    assert len(losses(made)) == 5
    return made
