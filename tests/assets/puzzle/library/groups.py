"""Groups of a tiny parent's library, built without a store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets.puzzle.library.build import build_library
from resources.execution import Execution
from resources.recipe.sections.execution import Activations
from warehouse.artifact import Artifact, Output

LAYERS = 4
STEPS = 6
RECIPE: dict[str, Any] = {
    "attention": ["full", "kv_1", "linear", "noop"],
    "ffn": ["full", "ratio_50", "noop"],
    "coupling": "decoupled",
    "groups": 1,
    "group": 0,
    "tokens": 64 * STEPS,
    "epochs": None,
    "batch_tokens": 64,
    "sequence_length": 32,
    "learning_rate": 1e-2,
    "schedule": "cosine",
    "warmup_ratio": 0.0,
    "min_learning_rate": 0.0,
    "weight_decay": 0.1,
    "betas": [0.9, 0.95],
    "gradient_clipping": 1.0,
    "data_seed": 7,
    "seed": 1,
    "asset_key": "super/block_library",
    "model": "super",
}
COUPLED = {"coupling": "coupled", "attention": ["full", "kv_1", "noop"]}
WHOLE = Execution()
STEP_BYTES = 2 * 64 * 16 * 4  # two boundaries of a step: 64 tokens, hidden size 16, float32
Files = dict[str, bytes]


class Made:
    """What a build reads of an artifact, without a store."""

    label = "made"
    manifest: Mapping[str, Any] = {"observations": {}, "tables": {}}

    def __init__(self, folder: Path | None = None, **tables: pa.Table) -> None:
        self._folder, self._tables = folder, tables

    def path(self) -> Path:
        assert self._folder is not None
        return self._folder

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        return self._tables[name].select(columns or self._tables[name].column_names)


def build(
    folder: Path,
    inputs: dict[str, Artifact],
    execution: Execution = WHOLE,
    **changes: Any,
) -> Output:
    folder.mkdir(parents=True, exist_ok=True)
    return build_library(folder, inputs, RECIPE | changes, execution)


def files(*outputs: Output) -> Files:
    """The trained blocks of some groups, by their names."""
    found: Files = {}
    for output in outputs:
        folder = output.files[""]
        for file in folder.rglob("*.safetensors"):
            assert str(file.relative_to(folder)) not in found
            found[str(file.relative_to(folder))] = file.read_bytes()
    return found


def sweep(steps: int, **more: Any) -> Execution:
    """Execution settings of a sweep in chunks of some steps."""
    activations = Activations(source="sweep", bytes=steps * STEP_BYTES)
    return Execution(activations=activations, **more)


def same_tables(one: Output, other: Output) -> bool:
    return all(one.tables[name].equals(other.tables[name]) for name in one.tables)
