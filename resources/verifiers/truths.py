"""Whether a loaded problem's truth can be read: told before any answer to it is paid for.

Knows what each domain's verifier compares with, not how it compares.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any


def unreadable(problem: Mapping[str, Any]) -> str | None:
    """Why no answer to a problem could be judged, or None; see `problems` for its columns.

    A problem without any truth is none of these: it may come from a vote.

    >>> unreadable({"domain": "math", "expected_answer": "1+\\\\cdots+n"})
    'an ellipsis: what goes on is not guessed'
    >>> unreadable({"domain": "code", "tests": '{"inputs": ["1"], "outputs": []}'})
    '1 inputs but 0 outputs; give one of each a test'
    """
    check = _CHECKS.get(problem["domain"])
    try:
        return check(problem) if check else None
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        return str(error) or type(error).__name__


def _math(problem: Mapping[str, Any]) -> str | None:
    from resources.verifiers import math

    expected = problem["expected_answer"]
    return math.why_unreadable(expected) if expected else None


def _science(problem: Mapping[str, Any]) -> str | None:
    from resources.verifiers import choice

    expected = problem["expected_answer"]
    return None if expected and choice.letter(expected) is not None else _math(problem)


def _code(problem: Mapping[str, Any]) -> str | None:
    from resources.verifiers import code
    from resources.verifiers.programs import code_tests

    if problem["tests"]:
        code_tests.read(problem["tests"])
    code.spelled(str(_metadata(problem).get("language") or "python"))
    return None


def _tools(problem: Mapping[str, Any]) -> str | None:
    from resources.verifiers import tools

    if problem["expected_answer"]:
        tools.truth(problem["expected_answer"], _metadata(problem).get("tools"))
    return None


def _instructions(problem: Mapping[str, Any]) -> str | None:
    from resources.verifiers import instructions

    metadata = _metadata(problem)
    names = metadata.get("instruction_id_list")
    if names:
        instructions.verify("An answer.", names, metadata["kwargs"], prompt=problem["question"])
    return None


def _metadata(problem: Mapping[str, Any]) -> dict[str, Any]:
    found = json.loads(problem.get("metadata") or "{}")
    if not isinstance(found, dict):
        raise ValueError(f"metadata is no object, found {json.dumps(found)[:200]}")
    return found


_CHECKS: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "math": _math,
    "science": _science,
    "code": _code,
    "tools": _tools,
    "instructions": _instructions,
}
