"""On real tokenizers and templates: ids as transformers gives them, spans, literals, toggle."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.chat.chat import Chat
from resources.chat.encoder import Sample
from resources.chat.errors import ChatError
from resources.models.template import encode
from tests.resources.chat import odd, tokenizers

CONVERSATIONS = 400


@pytest.fixture(scope="module", params=tokenizers.NAMES)
def chat(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Chat:
    return Chat.load(tokenizers.folder(request.param, tmp_path_factory.getbasetemp()))


def theirs(chat: Chat, messages: Any, generation_prompt: bool = False, **arguments: Any) -> Any:
    return chat.tokenizer.apply_chat_template(
        messages,
        add_generation_prompt=generation_prompt,
        tokenize=True,
        return_dict=False,
        **arguments,
    )


def without_literals(
    chat: Chat, rng: Random, ends: str | None = None, pieces: tuple[str, ...] = odd.PIECES
) -> list[Any]:
    """Odd conversations in which no special token's text stands, not even put together."""
    made: list[Any] = []
    while len(made) < CONVERSATIONS:
        one = odd.conversation(rng, pieces, ends)
        if not any(token in turn["content"] for token in chat.encoder.special for turn in one):
            made.append(one)
    return made


def literals(chat: Chat) -> tuple[str, ...]:
    return tuple(chat.encoder.special[:: max(len(chat.encoder.special) // 6, 1)])


def test_ids_equal_those_of_transformers_on_odd_conversations(chat: Chat) -> None:
    rng = Random("ids")
    for one in without_literals(chat, rng):
        whole = chat.conversation(one).rendered(generation_prompt=False).text
        assert chat.encoder.ids([Sample(whole)])[0] == theirs(chat, one)
    asked = without_literals(chat, rng, ends="user")
    assert chat.prompts(asked) == [theirs(chat, one, True) for one in asked]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(contents=st.lists(st.text(max_size=40), min_size=1, max_size=5))
def test_ids_equal_on_any_text(chat: Chat, contents: list[str]) -> None:
    roles = ("user", "assistant")
    turns = [{"role": roles[i % 2], "content": text} for i, text in enumerate(contents)]
    if any(special in text for text in contents for special in chat.encoder.special):
        return
    whole = chat.conversation(turns).rendered(generation_prompt=False).text
    assert chat.encoder.ids([Sample(whole)])[0] == theirs(chat, turns)


def test_the_road_of_escaped_conversations_gives_the_same_ids(chat: Chat) -> None:
    """The copy with aliases reads a conversation without literals as the tokenizer itself does."""
    rng = Random("roads")
    pieces = tuple(piece for piece in odd.PIECES if "\ufdd0" not in piece)
    for one in without_literals(chat, rng, pieces=pieces):
        whole = chat.conversation(one).rendered(generation_prompt=False).text
        assert chat.encoder.ids([Sample(whole, (), True)])[0] == theirs(chat, one)


def test_special_tokens_in_contents_stay_text(chat: Chat) -> None:
    """As many special ids as without the literals, and the text comes back whole."""
    rng = Random("literals")
    special = {chat.encoder.backend.token_to_id(token) for token in chat.encoder.special}
    pieces = (*(p for p in odd.PIECES if "\ufdd0" not in p), *literals(chat) * 4)
    for _ in range(100):
        one = odd.conversation(rng, pieces, ends="user")
        bare = [{**turn, "content": "x"} for turn in one]
        ids, reference = chat.prompts([one, bare])
        assert [i for i in ids if i in special] == [i for i in reference if i in special]
    token = literals(chat)[-1]
    (ids,) = chat.prompts([[{"role": "user", "content": f"What is {token} for?"}]])
    assert f"What is {token} for?" in chat.decode(ids)


def test_spans_are_answers_with_their_turn_end(chat: Chat) -> None:
    """From the end of the generation prompt for the turns before it, on every assistant turn."""
    rng = Random("spans")
    words = ("alpha", "beta gamma", "2+2=4.", "Ja, natürlich!", "x = 1\ny = 2", "日本語")
    for _ in range(CONVERSATIONS):
        one = odd.conversation(rng, words, ends="assistant")
        for turn in one:
            turn["content"] = turn["content"].strip() or "so"
        ids, mask = encode(chat.tokenizer, one)
        assert ids == theirs(chat, one) and set(mask) <= {0, 1}
        answers = [turn["content"] for turn in one if turn["role"] == "assistant"]
        got = runs(ids, mask)
        assert len(got) == len(answers)
        for content, span in zip(answers, got, strict=True):
            assert span[-1] == chat.stop_id and span.count(chat.stop_id) == 1
            assert chat.decode(span[:-1]).strip().removeprefix("<think>\n\n</think>\n\n") == content
        begin = theirs(chat, one[:-1], True)
        assert ids[: len(begin)] == begin and mask[len(begin) - 1 : len(begin) + 1] == [0, 1]


def runs(ids: list[int], mask: list[int]) -> list[list[int]]:
    """The stretches of ids where the mask is 1."""
    found: list[list[int]] = []
    for place, (token, inside) in enumerate(zip(ids, mask, strict=True)):
        if inside and not (place and mask[place - 1]):
            found.append([])
        if inside:
            found[-1].append(token)
    return found


def test_samples_read_as_at_inference(chat: Chat) -> None:
    """Each sample begins with a prompt exactly as the model gets it when it answers."""
    rng = Random("samples")
    words = ("alpha", "beta gamma", "<think>\nhm\n</think>\n\nyes", "Ja, natürlich!")
    for _ in range(100):
        one = odd.conversation(rng, words, ends="assistant")
        for turn in one:
            turn["content"] = turn["content"].strip() or "so"
        found = chat.samples(one)
        answers = [index for index, turn in enumerate(one) if turn["role"] == "assistant"]
        spans = [(sample, span) for sample in found for span in sample.spans]
        assert len(spans) == len(answers)
        for index, (sample, (start, end)) in zip(answers, spans, strict=True):
            prompt = chat.conversation(one[:index]).prompt().text
            assert sample.text[:start] == prompt
            answer = sample.text[start:end]
            assert answer.endswith(chat.habits.end)
            content = "".join(one[index]["content"].split())
            assert content in "".join(answer.split())


def test_the_toggle_stands_in_the_system_turn(chat: Chat) -> None:
    question = [{"role": "user", "content": "Why?"}]
    on, off, neither = (chat.decode(i) for i in chat.prompts([question] * 3, ["on", "off", None]))
    assert "detailed thinking on" in on and "detailed thinking off" in off
    assert "detailed thinking" not in neither
    own = [{"role": "system", "content": "Be brief."}, *question]
    (both,) = chat.prompts([own], ["on"])
    assert "detailed thinking on\n\nBe brief." in chat.decode(both)
    default = chat.habits.default_system
    assert f"detailed thinking on\n\n{default}" in on if default else True


def test_a_template_argument_is_a_toggle(tmp_path: Path) -> None:
    tokenizer = Chat.load(tokenizers.folder("qwen3", tmp_path)).tokenizer
    toggle = {"on": {"enable_thinking": True}, "off": {"enable_thinking": False}}
    chat = Chat.of(tokenizer, toggle)
    question = [{"role": "user", "content": "Why?"}]
    for mode, value in (("on", True), ("off", False)):
        expected = theirs(chat, question, True, enable_thinking=value)
        assert chat.prompts([question], [mode]) == [expected]
    answered = [*question, {"role": "assistant", "content": "So."}]
    ids, mask = encode(tokenizer, answered, "off", toggle=toggle)
    assert ids == theirs(chat, answered, enable_thinking=False)
    assert chat.decode(runs(ids, mask)[0]) == "So.<|im_end|>"
    thinking = [*question, {"role": "assistant", "content": "<think>\nhm\n</think>\n\nSo."}]
    with pytest.raises(ChatError, match="closed the thinking"):
        encode(tokenizer, thinking, "off", toggle=toggle)
    ids, mask = encode(tokenizer, thinking, "on", toggle=toggle)
    assert chat.decode(runs(ids, mask)[0]) == "<think>\nhm\n</think>\n\nSo.<|im_end|>"
