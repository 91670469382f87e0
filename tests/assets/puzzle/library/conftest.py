"""A tiny parent with its corpus and importance, and its library in one group."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch

from assets.puzzle.library.importance import channel_importance
from resources.execution import Execution
from resources.models.loading import save
from tests.assets.puzzle import tiny
from tests.assets.puzzle.library.groups import LAYERS, Made, build
from warehouse.artifact import Artifact, Output


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """A random parent in files, a corpus, and the importance of the parent's parts."""
    home = tmp_path_factory.mktemp("inputs")
    save(tiny.parent(LAYERS, dtype=torch.float32), home / "parent", tiny.TOKENIZER)
    found: dict[str, Any] = {
        "parent": Made(home / "parent"),
        "corpus": Made(corpus=tiny.corpus(200)),
    }
    recipe = {"tokens": 256, "sequence_length": 32, "seed": 3}
    made = channel_importance(home, found, recipe, Execution(micro_batch=4))
    return {**found, "channel_importance": cast(Artifact, Made(**made.tables))}


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, inputs: dict[str, Artifact]) -> Output:
    """All layers in one group, with a resident parent, undisturbed."""
    return build(tmp_path_factory.mktemp("whole"), inputs)
