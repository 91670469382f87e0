"""Turns as templates of public models write them that do not write every turn where it stands."""

from __future__ import annotations

from typing import Any

import pytest

from resources.chat.chat import Chat
from resources.chat.errors import ChatError
from tests.resources.chat import small

SYSTEM = {"role": "system", "content": "Be brief."}
QUESTION = {"role": "user", "content": "Why?"}
ANSWER = {"role": "assistant", "content": "So."}
# Mistral-Nemo and Mistral-7B v0.3: the system text stands in the last question, and only until it
# is answered.
LAST_QUESTION = (
    "{% if messages[0].role == 'system' %}{% set told = messages[0].content %}"
    "{% set turns = messages[1:] %}{% else %}{% set turns = messages %}{% endif %}{{ bos_token }}"
    "{% for m in turns %}{% if m.role == 'user' %}{% if loop.last and told is defined %}"
    "{{ '[INST]' + told + '\n\n' + m.content + '[/INST]' }}{% else %}"
    "{{ '[INST]' + m.content + '[/INST]' }}{% endif %}"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)
# Qwen1.5's first one: a turn is ended where another follows or is asked for.
LEFT_OPEN = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}"
    "{% if (loop.last and add_generation_prompt) or not loop.last %}{{ '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Zephyr's Gemma and InternLM2: the text is ended behind the turn.
ENDED_TWICE = small.CHATML + "{% if messages[-1].role == 'assistant' %}{{ '<bos>' }}{% endif %}"
# SmolLM3: flags in the system turn are obeyed and taken out.
FLAGS = (
    "{% set told = '' %}{% set mode = '/think' %}{% set turns = messages %}"
    "{% if messages[0].role == 'system' %}{% set told = messages[0].content %}"
    "{% set turns = messages[1:] %}"
    "{% if '/no_think' in told %}{% set mode = '/no_think' %}{% endif %}"
    "{% set told = told.replace('/no_think', '').replace('/think', '').rstrip() %}{% endif %}"
    "{{ '<|im_start|>system\nMode: ' + mode + '\n' + (told or 'I am ' + mode[1:]) }}"
    "{{ '<|im_end|>\n' }}" + small.CHATML.replace("in messages", "in turns")
)


def learned(chat: Chat, messages: list[dict[str, Any]], thinking: str | None = None) -> list[str]:
    """Each sample's text, with what carries loss in brackets."""
    found = []
    for sample in chat.samples(messages, thinking):
        text = sample.text
        for start, end in reversed(sample.spans):
            text = f"{text[:start]}[{text[start:end]}]{text[end:]}"
        found.append(text)
    return found


def test_a_system_text_that_only_the_last_question_shows_is_not_dropped() -> None:
    chat = Chat.of(small.tokenizer(LAST_QUESTION))
    alone = "<bos>[INST]Be brief.\n\nWhy?[/INST][ So.<|im_end|>]"
    assert learned(chat, [SYSTEM, QUESTION, ANSWER]) == [alone]
    assert learned(chat, [SYSTEM, QUESTION, ANSWER, QUESTION, {**ANSWER, "content": "Why?"}]) == [
        alone,
        "<bos>[INST]Why?[/INST] So.<|im_end|>[INST]Be brief.\n\nWhy?[/INST][ Why?<|im_end|>]",
    ]
    assert learned(chat, [QUESTION, ANSWER], "on") == [
        alone.replace("Be brief.", "detailed thinking on")
    ]
    both = "<bos>[INST]Why?[/INST][ So.<|im_end|>]" + "[INST]Why?[/INST][ So.<|im_end|>]"
    assert learned(chat, [QUESTION, ANSWER, QUESTION, ANSWER]) == [both]
    read = chat.conversation([SYSTEM, QUESTION, ANSWER]).whole()
    assert str(read) == alone.replace("[ So.<|im_end|>]", " So.<|im_end|>")
    prompt = chat.conversation([SYSTEM, QUESTION]).prompt().text
    assert read.spans == ((len(prompt), len(read.text)),)


def test_a_last_turn_that_is_left_open_is_ended_as_where_others_follow() -> None:
    chat = Chat.of(small.tokenizer(LEFT_OPEN))
    asked = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    turn = asked + "[So.<|im_end|>]"
    assert learned(chat, [QUESTION, ANSWER]) == [turn]
    assert learned(chat, [QUESTION, ANSWER] * 2) == [turn + "\n" + turn]


def test_what_ends_the_text_behind_the_turn_carries_no_loss() -> None:
    chat = Chat.of(small.tokenizer(ENDED_TWICE))
    turn = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n[So.<|im_end|>]\n"
    assert learned(chat, [QUESTION, ANSWER] * 2) == [turn + turn + "<bos>"]


def test_flags_that_a_template_takes_out_are_no_dropped_turn() -> None:
    toggle = {"on": {"system": "/think"}, "off": {"system": "/no_think"}}
    chat = Chat.of(small.tokenizer(FLAGS), toggle)
    told = {mode: chat.conversation([QUESTION], mode).prompt().text for mode in ("on", "off")}
    for mode, flag in (("on", "think"), ("off", "no_think")):
        assert told[mode].startswith(f"<|im_start|>system\nMode: /{flag}\nI am {flag}<|im_end|>")
    own = chat.conversation([{**SYSTEM, "content": "Be brief. /no_think"}, QUESTION]).prompt().text
    assert own.startswith("<|im_start|>system\nMode: /no_think\nBe brief.<|im_end|>")
    joined = chat.conversation([SYSTEM, QUESTION], "off").prompt().text
    assert "Mode: /no_think\n" in joined and "Be brief.<|im_end|>" in joined


def test_a_system_text_that_no_question_shows_is_refused() -> None:
    chat = Chat.of(small.tokenizer(LAST_QUESTION.replace("told + '\n\n' + ", "")))
    with pytest.raises(ChatError, match="message 0: the chat template drops this system turn"):
        chat.samples([SYSTEM, QUESTION, ANSWER])
