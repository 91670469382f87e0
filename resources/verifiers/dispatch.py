"""The verifier of a problem's domain, for one answer or for many at once.

Knows the columns of `problems` and how an answer of each domain has to look: math and science end
in `\\boxed{}`, code in a fenced program, tools are calls, instructions are the whole answer.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from resources.verifiers import boxed, choice, code, instructions, math, reasoning, tools
from resources.verifiers.verdict import Verdict, shorten

Problem = Mapping[str, Any]


class Job(NamedTuple):
    """A program still to be run against its tests."""

    program: str
    tests: str
    language: str = "python"


_NO_ANSWER = Verdict("incorrect", "the response has no answer")
_NO_BOX = Verdict("incorrect", "no \\boxed answer")
_NO_PROGRAM = Verdict("incorrect", "not exactly one fenced Python program")


def verify(domain: str, answer: str, problem: Problem) -> Verdict:
    """The verdict on `answer` (a response without its thinking) to a row of `problems`.

    A problem that cannot be judged, such as one whose ground truth is malformed, is `unknown`.
    Raises ValueError for a domain without verifier, SandboxUnavailable for code on a machine
    without isolation.
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
    waiting: dict[Job, list[int]] = {}
    for place, (domain, answer, problem) in enumerate(items):
        if domain not in VERIFIERS:
            known = ", ".join(VERIFIERS)
            raise ValueError(f"no verifier for domain {domain!r}; known: {known}")
        if domain == "code" and code.programs() == code.UNJUDGED:
            found.append(code.NOT_JUDGED)  # whole: to count what fails unrun alone would mislead
            continue
        outcome = _one(domain, answer, problem) if answer.strip() else _NO_ANSWER
        found.append(outcome if isinstance(outcome, Verdict) else None)
        if not isinstance(outcome, Verdict):
            waiting.setdefault(outcome, []).append(place)
    for places, verdict in zip(waiting.values(), run(list(waiting)), strict=True):
        for place in places:
            found[place] = verdict
    return [verdict for verdict in found if verdict is not None]


def _one(domain: str, answer: str, problem: Problem) -> Verdict | Job:
    """A verifier's outcome; what it fails at is unknown, and no other row suffers for it."""
    try:
        return VERIFIERS[domain](answer, problem)
    except Exception as error:
        text = shorten(f"{type(error).__name__}: {error}")
        return Verdict("unknown", f"cannot be judged: {text}")


def run(jobs: Sequence[Job]) -> list[Verdict]:
    """The verdicts on programs, in order; all of a language share one call."""
    found: dict[int, Verdict] = {}
    for language in dict.fromkeys(job.language for job in jobs):
        places = [place for place, job in enumerate(jobs) if job.language == language]
        asked = [(jobs[place].program, jobs[place].tests) for place in places]
        found |= zip(places, code.verify_many(asked, language), strict=True)
    return [found[place] for place in range(len(jobs))]


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


def _code(answer: str, problem: Problem) -> Verdict | Job:
    """The program and its tests, still to be run, unless there is no program."""
    given = _metadata(problem).get("language") or "python"
    try:
        language = code.spelled(str(given))
    except ValueError as error:
        return Verdict("unknown", f"cannot be judged: {error}")
    program = code.program(answer, language)
    if program is None:
        return _NO_PROGRAM if language == "python" else Verdict("incorrect", "no C++ program")
    if not problem["tests"]:
        return Verdict("unknown", "the problem has no tests")
    return Job(program, problem["tests"], language)


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


VERIFIERS: dict[str, Callable[[str, Problem], Verdict | Job]] = {
    "math": _math,
    "code": _code,
    "science": _science,
    "tools": _tools,
    "instructions": _instructions,
}
