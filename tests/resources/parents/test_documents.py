"""What models read: loss falls on answers and work, never on questions or prompts."""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from resources.chat.chat import Chat
from resources.chat.llama3 import END_OF_TURN
from resources.parents.documents import Document, encode, output_text, problems, worked_text
from resources.tasks.held_out import is_held_out

STYLES = ("direct", "worked", "thinking")
DEPTHS = {style: {1: 1.0, 2: 1.0} for style in STYLES}
DOMAINS = {"math": 1.0, "tools": 1.0}


def made(chat: Chat, style: str, *, thinks: bool, count: int = 8) -> list[Document]:
    drawn = problems({style: 1.0}, DOMAINS, DEPTHS, seed=3)
    return encode(chat, list(islice(drawn, count)), rng=Random(0), thinks=thinks)


def parts(chat: Chat, document: Document) -> tuple[str, str]:
    """The text without loss and the text with loss; the first ends where the second begins."""
    begin = document.mask.index(True)
    assert all(document.mask[begin:]) and len(document.mask) == len(document.ids)
    return chat.decode(document.ids[:begin]), chat.decode(document.ids[begin:])


@pytest.mark.parametrize(("style", "reasoning"), [("direct", "off"), ("thinking", "on")])
def test_of_a_turn_the_answer_carries_loss(tiny_chat: Chat, style: str, reasoning: str) -> None:
    for document in made(tiny_chat, style, thinks=True):
        prompt, answer = parts(tiny_chat, document)
        assert answer == output_text(document.problem, reasoning) + END_OF_TURN
        assert f"detailed thinking {reasoning}" in prompt and document.problem.question in prompt


def test_of_worked_text_the_work_carries_loss(tiny_chat: Chat) -> None:
    for document in made(tiny_chat, "worked", thinks=False):
        question, work = parts(tiny_chat, document)
        head, tail = worked_text(document.problem)
        assert (question, work) == (f"<|begin_of_text|>{head}", tail + END_OF_TURN)


def test_without_the_toggle_no_prompt_asks_to_think(
    tiny_chat: Chat,
) -> None:
    prompts = [
        parts(tiny_chat, document)[0]
        for document in made(tiny_chat, "direct", thinks=False, count=40)
    ]
    assert not any("detailed thinking" in prompt for prompt in prompts)
    assert len({prompt.count("system") for prompt in prompts}) > 1


def test_drawing_is_seeded_and_keeps_to_its_side_of_the_split() -> None:
    def draw(seed: int, held_out: bool) -> list[tuple[str, str]]:
        styles = dict.fromkeys(STYLES, 1.0)
        drawn = list(islice(problems(styles, DOMAINS, DEPTHS, seed=seed, held_out=held_out), 30))
        assert all(is_held_out(problem) == held_out for _, problem in drawn)
        return [(style, problem.question) for style, problem in drawn]

    assert draw(1, False) == draw(1, False) != draw(2, False)
    assert not {q for _, q in draw(1, False)} & {q for _, q in draw(1, True)}
