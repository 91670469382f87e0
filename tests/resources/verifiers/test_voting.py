"""A vote merges what the verifier takes for the same, in any order, and abstains where it must."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.verifiers.voting import (
    Count,
    Majority,
    Rule,
    agrees,
    ballot,
    count,
    decide,
    judged,
)

RULE = Rule(minimum=3, share=0.5, margin=0.2)


@cache
def same(one: str, other: str) -> bool:
    return agrees("math", *sorted((one, other))).correct


def of(*answers: str) -> Count:
    return count({each: answers.count(each) for each in answers}, same)


def majority(votes: Mapping[str, int], rule: Rule = RULE) -> Majority:
    return decide(Count(votes, {}), rule)


def test_what_says_the_same_is_one_vote_however_it_is_written() -> None:
    # By text 1/4 leads with 3 of 8; by what they say one half does, with 5.
    counted = of("1/2", "1/2", "0.5", r"\frac{1}{2}", r"50\%", "1/4", "1/4", "1/4")
    assert dict(counted.votes) == {"1/2": 5, "1/4": 3}
    assert counted.counts_for[r"\frac{1}{2}"] == "1/2"
    found = decide(counted, RULE)
    assert (found.answer, found.votes, found.leader_votes, found.second_votes) == ("1/2", 8, 5, 3)
    assert found.evidence == "5 of 8 votes for 1/2, 3 for 1/4"
    assert dict(of("2,1", "1,2", "{1, 2}", "12").votes)["1,2"] == 3


def test_what_says_the_same_as_two_that_differ_counts_for_neither() -> None:
    # The verifier takes 50% for 50 and for 0.5, which differ: to chain them would be to make two
    # camps one.
    assert same("50%", "50") and same("50%", "0.5") and not same("50", "0.5")
    counted = of("50", "50", "0.5", "0.5", "50%")
    assert dict(counted.votes) == {"50": 2, "0.5": 2} and "50%" not in counted.counts_for
    assert decide(counted, RULE).outcome == "tied"
    units = of(r"\$12", "12", "12", "12", "12 m")
    assert dict(units.votes) == {"12": 5}, "each was compared with what it is a vote for"


@pytest.mark.parametrize(
    ("votes", "rule", "outcome"),
    [
        ({}, RULE, "too few votes"),
        ({"7": 2}, RULE, "too few votes"),
        ({"7": 2}, Rule(2, 0.5, 0.2), "decided"),
        ({"7": 2, "8": 2}, RULE, "tied"),
        ({"7": 4, "8": 3, "9": 3}, RULE, "below share"),
        ({"7": 5, "8": 4, "9": 1}, RULE, "below margin"),  # 1 of 10 is less than 0.2
        ({"7": 6, "8": 4}, RULE, "decided"),  # exactly the margin
        ({"7": 5, "8": 3, "9": 2}, RULE, "decided"),  # exactly the share and the margin
        ({"7": 1, "8": 1, "9": 1}, Rule(3, 0.1, 0.0), "tied"),
        ({"7": 11, "8": 10, "9": 9}, Rule(3, 0.3, 1 / 30), "decided"),
        ({"7": 3, "8": 0}, Rule(3, 1.0, 1.0), "decided"),
    ],
)
def test_there_is_an_answer_only_where_enough_agree(
    votes: Mapping[str, int], rule: Rule, outcome: str
) -> None:
    found = majority(votes, rule)
    assert found.outcome == outcome
    assert found.answer == (found.leader if outcome == "decided" else None)
    assert (outcome in found.evidence) == (outcome != "decided")


def test_shares_are_compared_as_they_are_written() -> None:
    # In binary 0.1 * 3 is more than 0.3, and 0.7 * 10 is less than 7.
    assert majority({"7": 3, "8": 0}, Rule(3, 1.0, 0.3)).outcome == "decided"
    assert majority({"7": 13, "8": 10, "9": 7}, Rule(3, 0.4, 0.1)).outcome == "decided"
    assert majority({"7": 7, "8": 3}, Rule(3, 0.7, 0.4)).outcome == "decided"


@pytest.mark.parametrize(
    ("response", "end", "why"),
    [
        (r"\boxed{7}", "length", "not finished (length)"),
        (r"\boxed{7}", "no_room", "not finished (no_room)"),
        ("<think>\n\\boxed{7}", "stop", "no \\boxed answer"),
        ("It is 7.", "stop", "no \\boxed answer"),
        (r"\boxed{7}. No: the final answer is $8$", "stop", "is not clear"),
        (r"\boxed{1+2+\cdots}", "stop", "not understood"),
        (r"\boxed{}", "stop", "is not clear"),
    ],
)
def test_what_is_cut_off_or_cannot_be_read_has_no_vote(response: str, end: str, why: str) -> None:
    assert why in ballot("math", response, end).why


def test_the_thinking_has_no_vote_and_letters_are_read_as_letters() -> None:
    assert ballot("math", "<think>\n\\boxed{6}\n</think>\n\n\\boxed{7}", "stop").answer == "7"
    assert ballot("science", r"So \boxed{\text{(b)}}", "stop").answer == "B"
    assert ballot("science", r"So \boxed{2.5 \text{ m}}", "stop").answer == r"2.5 \text{ m}"
    assert agrees("science", r"2.5 \text{ m}", "5/2").correct
    assert agrees("science", "B", "2.5").verdict != "correct"


def test_an_answer_is_judged_by_the_vote_and_says_so() -> None:
    decided, evidence = "0.5", "3 of 4 votes for 0.5, 1 for 2"
    right = judged("math", "<think>\nhm\n</think>\n\n\\boxed{1/2}", decided, evidence)
    assert right.correct and right.evidence.startswith(f"by vote ({evidence}): ")
    wrong = judged("math", r"\boxed{2}", decided, evidence)
    assert wrong.verdict == "incorrect" and evidence in wrong.evidence
    assert judged("math", "I do not know.", decided, evidence).verdict == "incorrect"
    assert judged("math", r"\boxed{1+\cdots}", decided, evidence).verdict == "unknown"
    open_ = judged("math", r"\boxed{1/2}", None, "no majority (tied): …")
    assert open_.verdict == "unknown" and open_.evidence == "no majority (tied): …"


POOL = ("1/2", "0.5", r"\frac{1}{2}", "50%", "50", "2", "2.0", "x=2", "12", r"\$12", "12 m", "1,2")
ballots = st.lists(st.sampled_from(POOL), min_size=1, max_size=12)


@settings(max_examples=100, deadline=None)
@given(ballots.flatmap(lambda given: st.tuples(st.just(given), st.permutations(given))))
def test_no_order_of_the_answers_matters(given: tuple[list[str], list[str]]) -> None:
    one, other = (of(*each) for each in given)
    assert list(one.votes.items()) == list(other.votes.items())
    assert one.counts_for == other.counts_for and decide(one, RULE) == decide(other, RULE)


@settings(max_examples=100, deadline=None)
@given(ballots)
def test_counted_again_a_count_is_the_same(given: list[str]) -> None:
    counted = of(*given)
    again = count(counted.votes, same)
    assert dict(again.votes) == dict(counted.votes)
    assert sum(counted.votes.values()) == sum(each in counted.counts_for for each in given)
    assert all(same(each, head) for each, head in counted.counts_for.items())
    heads = list(counted.votes)
    assert not any(same(a, b) for i, a in enumerate(heads) for b in heads[:i])


@settings(max_examples=50, deadline=None)
@given(ballots)
def test_one_more_vote_for_the_answer_keeps_it(given: list[str]) -> None:
    found = decide(of(*given), RULE)
    if found.answer is not None:
        more = decide(of(*given, found.answer), RULE)
        assert more.answer is not None and same(more.answer, found.answer)
