"""A choice counts where two replies plainly name the same answer, whatever else they say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.tasks.editing import EDIT, FEEDBACK, SELECT
from resources.tasks.prompting import mark, marked
from resources.verifiers.replies.choosing import chosen

TEXT = st.text(max_size=60)
LINES = st.lists(st.sampled_from(["Choice: 1", "Choice: 2", "choice 2", "**Choice: 3**", "x", ""]))
REPLIES = st.one_of(TEXT, LINES.map("\n".join))
ENDS = st.sampled_from(["stop", "length", "failed"])


@given(REPLIES, REPLIES, ENDS, ENDS, st.integers(2, 3))
def test_what_is_not_plainly_said_twice_is_no_choice(
    first: str, turned: str, end: str, other: str, count: int
) -> None:
    place, evidence = chosen((first, end), (turned, other), count)
    assert evidence
    if place is None:
        return
    assert end == other == "stop" and 0 <= place < count
    for text, number in ((first, place + 1), (turned, count - place)):
        named = re.findall(r"(?im)^[\s*_#>`]*choice[\s*_#>`]*:[\s*_#>`]*([0-9]+)", text)
        assert named and set(named) == {str(number)}


@pytest.mark.parametrize("place", range(3))
def test_a_plain_choice_is_read_in_both_orders(place: int) -> None:
    said = f"It is.\n**Choice: {place + 1}**", "stop"
    assert chosen(said, (f"<think>no</think>Choice: {3 - place}.", "stop"), 3) == (place, "It is.")


def test_what_answers_none_is_no_choice() -> None:
    assert chosen(("Choice: 0", "stop"), ("Choice: 0", "stop"), 2)[0] is None
    assert chosen(("Choice: 9", "stop"), ("Choice: 9", "stop"), 2)[0] is None
    assert chosen(("Choice: 1", "length"), ("Choice: 2", "stop"), 2)[0] is None


@given(st.lists(TEXT, min_size=2, max_size=4), TEXT)
def test_no_answer_can_leave_the_marks_around_it(answers: list[str], question: str) -> None:
    row = {"question": f"Q: {question}", "answers": answers}
    text = SELECT.message(None, row)
    inside = text.split(f"\n{mark(row)}\n")[1::2]
    assert inside == answers
    shown = {"question": "q", "answer": answers[0], "feedback": answers[1]}
    assert marked(EDIT.message(None, shown)) == answers[:2]
    assert marked(FEEDBACK.message(None, {"question": "q", "answer": answers[0]})) == answers[:1]


def test_no_prompt_shows_a_known_answer() -> None:
    for prompts in (FEEDBACK, EDIT, SELECT):
        assert "reference" not in prompts.example and "expected" not in "".join(prompts.example)
