"""The checkpoints of a family in the order they are made: what is benchmarked and reported.

Reads the recipe only; imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resources.recipe.schema import Recipe

TEACHER = ("teacher", "parents/teacher", "teacher")


def checkpoints(recipe: Recipe) -> list[tuple[str, str, str]]:
    """(model, artifact key, stage label) of every checkpoint, model by model, parent first.

    A parent that two models share stands in both lines.
    """
    return [
        (name, recipe.checkpoint_key(name, artifact), artifact)
        for name, model in recipe.models.items()
        for artifact in model.artifacts()
    ]


def benchmark_key(artifact_key: str) -> str:
    """Where the benchmarks of a checkpoint stand."""
    return f"{artifact_key}_benchmarks"
