"""What replies of the roles have in common: the columns that say who replied to what, and why a
reply is of no use."""

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


def fault(made: Completion, text: str, mark: str) -> str | None:
    """Why a reply, of which `text` follows the thinking, is of no use; None where it is.

    >>> from resources.engines.protocol import Completion
    >>> one = Completion("x", [], "stop", 1, 1, None, 0.0)
    >>> fault(one, "x", "[0123abcd]"), fault(one, " ", "[0123abcd]")
    (None, 'empty')
    >>> fault(one, "[0123abcd] x", "[0123abcd]")
    'repeats the marks around what it was shown'
    """
    from resources.engines.protocol import UNANSWERED

    if made.finish_reason in UNANSWERED:
        return UNANSWERED[made.finish_reason]
    if mark in text:
        return "repeats the marks around what it was shown"
    return None if text.strip() else "empty"
