"""Verdicts on generated answers: what of a response is the answer, and who judges it.

One entry a verifier; the verifiers themselves are in `resources/verifiers`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from resources.benchmarks.answers import Problem
from resources.benchmarks.problems import program
from resources.recipe.sections.benchmark import Benchmark
from resources.verifiers import boxed, choice, code, dispatch, math, reasoning
from resources.verifiers.dispatch import Job
from resources.verifiers.verdict import Verdict, shorten


def judge(
    protocol: Benchmark,
    problems: Sequence[Problem],
    responses: Sequence[str],
    tags: reasoning.Tags = reasoning.TAGS,
) -> list[Verdict]:
    """The verdict on each whole response; only what follows the thinking is judged.

    `tags` are those that the model thinks between.

    All programs share one sandbox. Raises SandboxUnavailable where there is none.
    """
    assert protocol.verifier is not None
    found: list[Verdict | Job] = []
    for problem, response in zip(problems, responses, strict=True):
        answer = spoken(protocol, response, tags)
        if protocol.extract is not None:
            matched = extracted(protocol.extract, answer)
            if matched is None:
                found.append(Verdict("incorrect", f"no answer in {shorten(answer[-160:])!r}"))
                continue
            answer = matched
        found.append(VERIFIERS[protocol.verifier](protocol, problem, answer))
    jobs = [each for each in found if not isinstance(each, Verdict)]
    run = iter(_run(jobs))
    return [each if isinstance(each, Verdict) else next(run) for each in found]


def spoken(protocol: Benchmark, response: str, tags: reasoning.Tags) -> str:
    """What of a response is said to the user: all but the thinking of a chat."""
    return reasoning.split(response, tags)[1] if protocol.style == "chat" else response


def _run(jobs: list[Job]) -> list[Verdict]:
    if code.programs() == code.UNJUDGED:
        return [code.NOT_JUDGED] * len(jobs)
    return dispatch.run(jobs)


def extracted(pattern: str, answer: str) -> str | None:
    r"""The last match of the pattern: its first group that took part, or all of it.

    >>> extracted(r"#### (-?[0-9.,]+)", "#### 1\n#### 72")
    '72'
    """
    matches = list(re.finditer(pattern, answer))
    if not matches:
        return None
    last = matches[-1]
    return next((group for group in last.groups() if group is not None), last[0]).strip()


def _math(protocol: Benchmark, problem: Problem, answer: str) -> Verdict:
    if protocol.extract is None and boxed.last(answer) is None:
        return Verdict("incorrect", "no \\boxed answer")
    return math.verify(answer.rstrip(".,") if protocol.extract else answer, _expected(problem))


def _choice(protocol: Benchmark, problem: Problem, answer: str) -> Verdict:
    return choice.verify(answer, _expected(problem))


def _exact(protocol: Benchmark, problem: Problem, answer: str) -> Verdict:
    got, want = answer.strip(), _expected(problem)
    evidence = f"{shorten(got)!r}, expected {shorten(want)!r}"
    return Verdict("correct" if got == want else "incorrect", evidence)


def _code(protocol: Benchmark, problem: Problem, answer: str) -> Verdict | Job:
    if not problem["tests"]:
        return Verdict("unknown", "the problem has no tests")
    metadata = json.loads(problem["metadata"])
    language = code.spelled(str(metadata.get("language") or "python"))
    written = answer if protocol.style == "plain" else code.program(answer, language)
    if written is None:
        return Verdict("incorrect", "not exactly one fenced Python program")
    return Job(program(metadata["program"], written), problem["tests"], language)


def _as_domain(protocol: Benchmark, problem: Problem, answer: str) -> Verdict:
    return dispatch.verify(problem["domain"], answer, problem)


def _expected(problem: Problem) -> str:
    return str(problem["expected_answer"])


VERIFIERS: dict[str, Callable[[Benchmark, Problem, str], Verdict | Job]] = {
    "math": _math,
    "choice": _choice,
    "exact": _exact,
    "code": _code,
    "instructions": _as_domain,
    "tools": _as_domain,
}
