"""Method `generate`: an engine answers, a verifier judges; accuracy is the mean over problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from resources.benchmarks import asking, following
from resources.benchmarks.answers import Answer, Asked, Measure, Problem, Subject
from resources.benchmarks.intervals import correct_shares, wilson
from resources.benchmarks.verdicts import judge, spoken
from resources.verifiers.attempts import unanswered

if TYPE_CHECKING:
    from resources.recipe.sections.benchmark import Benchmark


def modes(protocol: Benchmark) -> list[str | None]:
    """The modes in which is asked; None leaves the toggle alone."""
    return list(protocol.thinking) or [None]


def answer(subject: Subject, asked: Asked, seed: int) -> list[Answer]:
    """`samples` answers a problem, in each mode of `thinking`, or as it comes.

    Where there is no answer, as to a prompt that the context has no room for, it is `unknown`.
    """
    from resources.engines.opening import open_engine
    from resources.engines.protocol import Request, Sampling

    protocol = asked.protocol
    engine = open_engine(
        subject.checkpoint, subject.version, subject.execution, protocol.dtype, role="evaluation"
    )
    sampling = Sampling(
        temperature=protocol.temperature,
        top_p=protocol.top_p,
        max_new_tokens=protocol.max_new_tokens,
        seed=seed,
        stop=tuple(protocol.stop),
    )
    put: list[tuple[Problem, Request]] = []
    for mode in modes(protocol):
        for problem in asked.problems:
            if protocol.style == "plain":
                made = Request((), text=asking.text(asked, problem))
            else:
                turns = asking.conversation(asked, problem)
                made = Request(tuple((t["role"], t["content"]) for t in turns), thinking=mode)
            put += [
                (problem, replace(made, sample_index=index)) for index in range(protocol.samples)
            ]
    completions = engine.generate([request for _, request in put], sampling)
    tags = engine.chat.toggle.tags
    judged = judge(protocol, [p for p, _ in put], [c.text for c in completions], tags)
    verdicts = [
        unanswered(completion.finish_reason) or verdict
        for completion, verdict in zip(completions, judged, strict=True)
    ]
    return [
        Answer(
            problem,
            completion.text,
            verdict.verdict,
            verdict.evidence,
            request.thinking,
            request.sample_index,
            completion.completion_tokens,
            completion.finish_reason == "length",
            following.followed(problem, spoken(protocol, completion.text, tags))
            if protocol.verifier == following.VERIFIER and completion.answered
            else {},
        )
        for (problem, request), completion, verdict in zip(put, completions, verdicts, strict=True)
    ]


def measure(answers: Sequence[Answer], asked: Asked) -> list[Measure]:
    """Accuracy in each mode, and where instructions are followed all four of them.

    A problem whose verdicts are all `unknown` is in none of it.
    """
    found = []
    for mode in modes(asked.protocol):
        there = [each for each in answers if each.reasoning == mode]
        found.append(accuracy(there, asked, mode))
        if asked.protocol.verifier == following.VERIFIER:
            found += following.measures(there, asked.protocol.samples, mode)
    return found


def accuracy(answers: Sequence[Answer], asked: Asked, mode: str | None = None) -> Measure:
    """Mean over problems of the share of judged answers that are correct.

    The interval takes the problem, not the sample, as the trial.
    """
    shares = correct_shares((each.problem["row_id"], str(each.verdict)) for each in answers)
    value = sum(shares.values()) / max(len(shares), 1)
    low, high = wilson(value, len(shares))
    samples, chance = asked.protocol.samples, guessed(asked.problems)
    return Measure("accuracy", value, low, high, len(shares), samples, mode, chance)


def guessed(problems: Sequence[Problem]) -> float | None:
    """What guessing gives: one of the choices at random, or always the commonest answer.

    None where answers are not compared with an expected one.

    >>> row = {"choices": None, "expected_answer": "0"}
    >>> guessed([row, row, {**row, "expected_answer": "6"}, {**row, "expected_answer": "8"}])
    0.5
    >>> guessed([{"choices": ["a", "b"], "expected_answer": "a"}])
    0.5
    """
    options = [len(each["choices"]) for each in problems if each["choices"]]
    if options:
        return sum(1 / count for count in options) / len(options)
    answers = Counter(each.get("expected_answer") for each in problems)
    if not all(answers) or not answers:
        return None
    return max(answers.values()) / answers.total()
