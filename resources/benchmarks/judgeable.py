"""Whether a problem can be judged, told before any model is asked: one odd row fails alone.

Knows what each verifier wants of a problem besides its expected answer, not how it judges.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from resources.verifiers import instructions, math, tools
from resources.verifiers.programs import code_tests


def refuse(verifier: str | None, problem: Mapping[str, Any]) -> None:
    """ValueError where no answer to the problem could be judged; see `problems.COLUMNS`.

    An instruction that nobody here knows is none: answers to it are `unknown`.
    """
    if verifier == "code":
        code_tests.read(problem["tests"] or "")
    if verifier == "math":
        expected = problem["expected_answer"]
        why = math.why_unreadable(expected)
        if why is not None:
            raise ValueError(
                f"the answer is nothing to compare with: {why}; found {expected[:200]!r}"
            )
    metadata = json.loads(problem["metadata"] or "{}")
    if verifier == "instructions":
        _instructions(problem["question"], metadata)
    if verifier == "tools":
        tools.truth(problem["expected_answer"], metadata.get("tools"))


def _instructions(question: str, metadata: Mapping[str, Any]) -> None:
    names, given = metadata["instruction_id_list"], metadata["kwargs"]
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise ValueError(f"instruction_id_list must be a list of ids, found {json.dumps(names)}")
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise ValueError(f"kwargs must be a list of objects, found {json.dumps(given)}")
    if not set(names) <= set(instructions.INSTRUCTIONS):
        return
    try:
        instructions.verify("An answer.", names, given, prompt=question)
    except AttributeError as error:  # an argument of another type than the instruction's
        raise ValueError(f"instructions {', '.join(names)} with {given}: {error}") from None
