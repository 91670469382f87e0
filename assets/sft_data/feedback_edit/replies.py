"""What the rows of all roles have in common: the columns that say who replied to what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.engines.protocol import Completion
    from resources.tasks.prompting import Prompting


def about(rows: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array]:
    """The columns that say which draft a row is about; of a draft it is its own id."""
    import pyarrow as pa

    return {
        "generation_id": pa.array([row["row_id"] for row in rows], pa.binary(16)),
        "problem_id": pa.array([row["problem_id"] for row in rows], pa.binary(16)),
        "domain": pa.array([row["domain"] for row in rows], pa.string()),
    }


def asked_of(
    recipe: Mapping[str, Any], role: str, prompting: Prompting, version: str, rows: int
) -> dict[str, pa.Array]:
    """The columns that say who was asked, and by which prompt."""
    import pyarrow as pa

    return {
        "prompt": pa.repeat(pa.scalar(prompting.version(recipe["prompt"])), rows),
        "model": pa.repeat(pa.scalar(str(recipe[role]["model"])), rows),
        "model_version": pa.repeat(pa.scalar(version), rows),
    }


def took(made: Sequence[Completion]) -> dict[str, pa.Array]:
    """The columns that say what the replies took, and how they ended."""
    import pyarrow as pa

    return {
        "reply": pa.array([each.text for each in made], pa.string()),
        "prompt_tokens": pa.array([each.prompt_tokens for each in made], pa.int64()),
        "completion_tokens": pa.array([each.completion_tokens for each in made], pa.int64()),
        "finish_reason": pa.array([each.finish_reason for each in made], pa.string()),
    }
