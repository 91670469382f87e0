"""Majority vote: what the answers to a problem say together, where no true answer is known.

Answers are one vote where the domain's verifier takes either for the other, however they are
written; where they do not agree enough, there is no answer. Knows texts, not rows or models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from resources.verifiers import boxed, choice, reasoning
from resources.verifiers.answers import final
from resources.verifiers.dispatch import verify
from resources.verifiers.truths import unreadable
from resources.verifiers.verdict import Verdict, shorten

BY_VOTE = " by vote"  # after the name of a verifier whose truth is a vote
Outcome = Literal["decided", "too few votes", "tied", "below share", "below margin"]
Equal = Callable[[str, str], bool]


@dataclass(frozen=True)
class Ballot:
    """What a response votes for; with `why` it does not count."""

    answer: str
    why: str = ""


def ballot(domain: str, response: str, finish_reason: str) -> Ballot:
    """The vote of one response: its final answer, as it was written.

    >>> ballot("math", r"<think>\\nhm\\n</think>\\n\\nIt is \\boxed{\\frac{1}{2}}.", "stop")
    Ballot(answer='\\\\frac{1}{2}', why='')
    >>> ballot("math", r"It is \\boxed{7}", "length").why
    'not finished (length)'
    >>> ballot("math", r"\\boxed{1+\\cdots+n}", "stop").why
    'not understood: an ellipsis: what goes on is not guessed'
    """
    if finish_reason != "stop":
        return Ballot("", f"not finished ({finish_reason})")
    answer = reasoning.split(response)[1]
    if boxed.last(answer) is None:
        return Ballot("", "no \\boxed answer")
    letter = choice.letter(answer) if domain == "science" else None
    if letter is not None:
        return Ballot(letter)
    found = final.stated(answer)
    if not found.text or not found.marked:
        return Ballot(found.text, "which of its answers is the last one is not clear")
    why = unreadable({"domain": domain, "expected_answer": found.text})
    return Ballot(found.text, f"not understood: {why}" if why else "")


def agrees(domain: str, answer: str, other: str) -> Verdict:
    """Whether two final answers say the same: the verifier takes one for the other, either way.

    >>> agrees("math", "0.5", r"\\frac{1}{2}").verdict, agrees("science", "A", "C").verdict
    ('correct', 'incorrect')
    """
    there = _against(domain, answer, other)
    if there.correct or answer == other:
        return there
    back = _against(domain, other, answer)
    return back if back.correct or there.verdict == "unknown" else there


def _against(domain: str, answer: str, expected: str) -> Verdict:
    return verify(domain, f"\\boxed{{{answer}}}", {"expected_answer": expected})


@dataclass(frozen=True)
class Rule:
    """When there is a majority: at least `minimum` votes, of which the leading answer has `share`
    or more, and leads the next one by `margin` of all votes."""

    minimum: int
    share: float
    margin: float


@dataclass(frozen=True)
class Count:
    """The votes of one problem, for each answer that others are the same as, most votes first.

    `counts_for` says by answer which of those it is one vote with; what says the same as two that
    differ (50% beside 50 and 0.5) counts for neither and is not in it.
    """

    votes: Mapping[str, int]
    counts_for: Mapping[str, str]


def count(answers: Mapping[str, int], equal: Equal) -> Count:
    """Count answers, each with how often it was given.

    The most frequent answer that says the same as none before it stands for a vote (of equally
    frequent ones the shorter, then the first in the alphabet), so that no order of the answers
    matters.

    >>> count({"1/2": 2, "0.5": 2, "3": 3}, lambda a, b: {a, b} == {"1/2", "0.5"}).votes
    {'0.5': 4, '3': 3}
    >>> same = [{"50", "50%"}, {"50%", "0.5"}]
    >>> count({"50": 2, "50%": 1, "0.5": 2}, lambda a, b: {a, b} in same).votes
    {'50': 2, '0.5': 2}
    """
    order = sorted(answers, key=lambda each: (-answers[each], len(each), each))
    heads: list[str] = []
    found: dict[str, list[str]] = {}
    for answer in order:
        found[answer] = [head for head in heads if equal(answer, head)]
        if not found[answer]:
            heads.append(answer)
    for answer in order:
        if answer not in heads:
            found[answer] = [head for head in heads if equal(answer, head)]
    counts_for = {head: head for head in heads}
    counts_for |= {a: same[0] for a, same in found.items() if len(same) == 1}
    votes = dict.fromkeys(heads, 0)
    for answer, head in counts_for.items():
        votes[head] += answers[answer]
    ranked = sorted(heads, key=lambda each: (-votes[each], len(each), each))
    return Count({head: votes[head] for head in ranked}, counts_for)


@dataclass(frozen=True)
class Majority:
    """What a vote came to. `leader` is the answer with most votes; it is the problem's `answer`
    only where `outcome` is `decided`."""

    outcome: Outcome
    leader: str | None
    votes: int
    leader_votes: int
    second_votes: int
    evidence: str

    @property
    def answer(self) -> str | None:
        """The answer that the vote gives the problem, if any."""
        return self.leader if self.outcome == "decided" else None


def decide(counted: Count, rule: Rule) -> Majority:
    """What counted votes come to under a rule.

    >>> decide(Count({"7": 3, "8": 1}, {}), Rule(3, 0.5, 0.2)).evidence
    '3 of 4 votes for 7, 1 for 8'
    >>> decide(Count({"7": 2, "8": 2}, {}), Rule(3, 0.5, 0.2)).evidence
    'no majority (tied): 2 of 4 votes for 7, 2 for 8'
    """
    numbers = [*counted.votes.values(), 0, 0]
    leading, second, votes = numbers[0], numbers[1], sum(numbers)
    outcome: Outcome = "decided"
    if votes < rule.minimum or not votes:
        outcome = "too few votes"
    elif leading == second:
        outcome = "tied"
    elif leading < _exact(rule.share) * votes:
        outcome = "below share"
    elif leading - second < _exact(rule.margin) * votes:
        outcome = "below margin"
    said = [f"{n} for {shorten(each, 60)}" for each, n in counted.votes.items()]
    if said:
        said[0] = said[0].replace(" for ", f" of {votes} votes for ", 1)
    evidence = ", ".join(said[:4]) + (f", and {len(said) - 4} others" if len(said) > 4 else "")
    if outcome != "decided":
        evidence = f"no majority ({outcome}): {evidence or 'no votes'}"
    leader = next(iter(counted.votes), None)
    return Majority(outcome, leader, votes, leading, second, evidence)


def _exact(share: float) -> Fraction:
    """A share as it was written: 0.1, not the nearest binary number."""
    return Fraction(str(share))


def judged(domain: str, response: str, answer: str | None, evidence: str) -> Verdict:
    """The verdict by vote on a response: against the `answer` of a vote with this `evidence`.

    Without an answer all is unknown. A response that did not vote is judged like the others.

    >>> judged("math", r"\\boxed{1/2}", "0.5", "3 of 4 votes for 0.5, 1 for 2").evidence
    'by vote (3 of 4 votes for 0.5, 1 for 2): 1/2 against 0.5: the same value'
    """
    if answer is None:
        return Verdict("unknown", evidence)
    said = reasoning.split(response)[1]
    found = verify(domain, said, {"expected_answer": answer})
    if not found.correct and boxed.last(said) is not None:
        theirs = ballot(domain, response, "stop")
        back = _against(domain, answer, theirs.answer) if not theirs.why else found
        found = back if back.correct else found
    return Verdict(found.verdict, f"by vote ({evidence}): {found.evidence}")
