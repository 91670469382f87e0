"""Whether a loaded problem's truth can be read: told before any answer to it is paid for.

Knows which domains are judged by comparing math answers, not how they are compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COMPARED = ("math", "science")  # domains whose expected answer is a math answer, or a letter


def unreadable(problem: Mapping[str, Any]) -> str | None:
    """Why no answer to a problem could be judged, or None; see `problems` for its columns.

    A problem without any expected answer is none of these: its truth may come from a vote.

    >>> unreadable({"domain": "math", "expected_answer": "1+\\\\cdots+n"})
    'an ellipsis: what goes on is not guessed'
    """
    from resources.verifiers import choice, math

    expected = problem["expected_answer"]
    if problem["domain"] not in COMPARED or not expected:
        return None
    if problem["domain"] == "science" and choice.letter(expected) is not None:
        return None
    return math.why_unreadable(expected)
