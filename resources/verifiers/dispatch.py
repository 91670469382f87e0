"""The verifier of a problem's domain, for one answer or for many at once.

Knows the columns of `problems` and how an answer of each domain has to look: math and science end
in `\\boxed{}`, code is one fenced Python program, tools are one `<TOOLCALL>` block, instructions
are the whole answer.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from resources.verifiers import boxed, choice, code, instructions, math, reasoning, tools
from resources.verifiers.verdict import Verdict

Problem = Mapping[str, Any]

_NO_ANSWER = Verdict("incorrect", "the response has no answer")
_NO_BOX = Verdict("incorrect", "no \\boxed answer")
_NO_PROGRAM = Verdict("incorrect", "not exactly one fenced Python program")


def verify(domain: str, answer: str, problem: Problem) -> Verdict:
    """The verdict on `answer` (a response without its thinking) to a row of `problems`.

    Raises ValueError for a domain without verifier and for a problem whose ground truth is
    malformed, SandboxUnavailable for code on a machine without isolation.
    """
    return _verify([(domain, answer, problem)])[0]


def verify_many(
    problems: Sequence[Problem],
    responses: Sequence[str],
    modes: Sequence[str],
    tags: reasoning.Tags = reasoning.TAGS,
) -> list[Verdict]:
    """The verdicts on whole responses, in order; all programs share one sandbox.

    Only what follows the thinking, which stands between `tags`, is judged. Whether the response
    obeyed its mode ("on" or "off") is another question: `reasoning.follows_toggle`.
    """
    if not len(problems) == len(responses) == len(modes):
        raise ValueError(
            f"{len(problems)} problems, {len(responses)} responses, {len(modes)} modes: must match"
        )
    unknown = set(modes) - set(reasoning.MODES)
    if unknown:
        raise ValueError(f"mode {unknown.pop()!r}; it must be 'on' or 'off'")
    return _verify(
        [
            (problem["domain"], reasoning.split(response, tags)[1], problem)
            for problem, response in zip(problems, responses, strict=True)
        ]
    )


def _verify(items: Sequence[tuple[str, str, Problem]]) -> list[Verdict]:
    found: list[Verdict | None] = []
    waiting: dict[tuple[str, str], list[int]] = {}
    for place, (domain, answer, problem) in enumerate(items):
        if domain not in VERIFIERS:
            known = ", ".join(VERIFIERS)
            raise ValueError(f"no verifier for domain {domain!r}; known: {known}")
        if domain == "code" and code.programs() == code.UNJUDGED:
            found.append(code.NOT_JUDGED)  # whole: to count what fails unrun alone would mislead
            continue
        outcome = VERIFIERS[domain](answer, problem) if answer.strip() else _NO_ANSWER
        found.append(outcome if isinstance(outcome, Verdict) else None)
        if not isinstance(outcome, Verdict):
            waiting.setdefault(outcome, []).append(place)
    for places, verdict in zip(waiting.values(), code.verify_many(list(waiting)), strict=True):
        for place in places:
            found[place] = verdict
    return [verdict for verdict in found if verdict is not None]


def _math(answer: str, problem: Problem) -> Verdict:
    if boxed.last(answer) is None:
        return _NO_BOX
    if not problem["expected_answer"]:
        return Verdict("unknown", "the problem has no expected answer")
    return math.verify(answer, problem["expected_answer"])


def _science(answer: str, problem: Problem) -> Verdict:
    if boxed.last(answer) is None:
        return _NO_BOX
    if choice.letter(problem["expected_answer"]) is None:
        return _math(answer, problem)
    return choice.verify(answer, problem["expected_answer"])


def _code(answer: str, problem: Problem) -> Verdict | tuple[str, str]:
    """The program and its tests, still to be run, unless there is no program."""
    program = code.program(answer)
    if program is None:
        return _NO_PROGRAM
    if not problem["tests"]:
        return Verdict("unknown", "the problem has no tests")
    return program, problem["tests"]


def _tools(answer: str, problem: Problem) -> Verdict:
    metadata = _metadata(problem)
    if not problem["expected_answer"]:
        return Verdict("unknown", "the problem has no expected calls")
    language = str(metadata.get("language") or "python")
    return tools.verify(answer, problem["expected_answer"], metadata.get("tools"), language)


def _instructions(answer: str, problem: Problem) -> Verdict:
    metadata = _metadata(problem)
    names = metadata.get("instruction_id_list")
    if not names:
        return Verdict("unknown", "the problem has no instruction_id_list in its metadata")
    foreign = [name for name in names if name not in instructions.INSTRUCTIONS]
    if foreign:
        return Verdict("unknown", f"no verifier of {', '.join(foreign)}")
    followed = instructions.verify(answer, names, metadata["kwargs"], prompt=problem["question"])
    broken = [name for name, kept in zip(names, followed, strict=True) if not kept]
    if broken:
        return Verdict("incorrect", f"not followed: {', '.join(broken)}")
    return Verdict("correct", f"followed: {', '.join(names)}")


def _metadata(problem: Problem) -> dict[str, Any]:
    given = problem.get("metadata") or "{}"
    metadata: dict[str, Any] = json.loads(given) if isinstance(given, str) else dict(given)
    return metadata


VERIFIERS: dict[str, Callable[[str, Problem], Verdict | tuple[str, str]]] = {
    "math": _math,
    "code": _code,
    "science": _science,
    "tools": _tools,
    "instructions": _instructions,
}
