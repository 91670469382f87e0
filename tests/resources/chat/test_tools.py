"""Tools in chats: what is learned of calls, what a template leaves out, and the same as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from resources.chat import calls, hermes, surviving
from resources.chat.chat import Chat
from resources.chat.encoder import Sample
from resources.chat.errors import ChatError, ToolsLost
from tests.resources.chat import small, tokenizers, tooled

GLAIVE = Path(__file__).resolve().parents[4] / "shared/data/tools_glaive"
ASKED = tooled.conversation()


def chat(template: str) -> Chat:
    return Chat.of(small.tokenizer(template))


def learned(one: Chat, sample: Sample) -> list[str]:
    """What carries loss, span by span, read back from the tokens of each."""
    ids, mask = one.encode([sample])[0]
    spans, inside = [], False
    for token, kept in zip(ids, mask, strict=True):
        if kept and not inside:
            spans.append([])
        if kept:
            spans[-1].append(token)
        inside = kept
    return [one.decode(each) for each in spans]


def test_calls_carry_loss_and_results_and_tools_none() -> None:
    one = chat(tooled.template())
    (sample,) = one.samples(ASKED, tools=tooled.TOOLS)
    assert learned(one, sample) == [
        '<call>rain {"town": "Łódź"}</call><call>rain {"town": "Bergen", "days": [1, null]}</call>'
        "<|im_end|>",
        "In Bergen.<|im_end|>",
    ]
    text = sample.text
    assert text.startswith('<tools>{"type": "function"')
    assert (
        text.count('<result>{"mm": 0}</result>') == text.count('<result>{"mm": 31}</result>') == 1
    )
    untrained = [ASKED[0], {**ASKED[1], "train": False}, *ASKED[2:]]
    assert learned(one, one.samples(untrained, tools=tooled.TOOLS)[0]) == ["In Bergen.<|im_end|>"]


def test_as_text_the_same_carries_loss() -> None:
    one = chat(small.CHATML)
    turns = hermes.as_text(tooled.conversation("I look."), tooled.TOOLS)
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user", "assistant"]
    assert turns[0]["content"].count(json.dumps(tooled.TOOLS[0])) == 1
    assert turns[3]["content"] == (
        '<tool_response>\n{"mm": 0}\n</tool_response>\n'
        '<tool_response>\n{"mm": 31}\n</tool_response>'
    )
    (sample,) = one.samples(turns)
    assert learned(one, sample) == [
        'I look.\n<tool_call>\n{"name": "rain", "arguments": {"town": "Łódź"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "rain", "arguments": {"town": "Bergen", "days": [1, null]}}\n'
        "</tool_call><|im_end|>",
        "In Bergen.<|im_end|>",
    ]
    own = [{"role": "system", "content": "Be brief."}, *ASKED]
    assert hermes.as_text(own, tooled.TOOLS)[0]["content"].startswith("Be brief.\n\n# Tools\n\n")
    assert hermes.as_text(own[:2], None) == own[:2]


@pytest.mark.parametrize(
    ("template", "lost", "why"),
    [
        (tooled.template(), [], ""),
        (tooled.template(tools=""), ["the list of tools"], "drops the tools that are offered"),
        (tooled.template(calls=""), ["calls"], 'message 1: the chat template drops "rain"'),
        (tooled.template(calls="CALL"), ["calls"], "drops"),
        (
            tooled.template(
                calls="{% for c in m.tool_calls or [] %}{{ c.function.name }}{% endfor %}"
            ),
            ["calls"],
            'drops "town" of its calls',
        ),
        (tooled.template(results=""), ["results"], "drops this tool turn"),
        (small.CHATML, ["the list of tools", "calls"], "drops"),
    ],
)
def test_what_a_template_leaves_out_is_found(template: str, lost: list[str], why: str) -> None:
    one = chat(template)
    assert surviving.lost(one, ASKED, tooled.TOOLS) == lost
    if lost:
        with pytest.raises(ToolsLost, match=why):
            one.samples(ASKED, tools=tooled.TOOLS)


def test_words_beside_a_call_that_are_left_out_are_found() -> None:
    only = tooled.template().replace("{{ m.content }}", "{{ '' if m.tool_calls else m.content }}")
    one, spoken = chat(only), tooled.conversation("Let me look.")
    assert surviving.parts(spoken, tooled.TOOLS) == {
        "the list of tools", "calls", "results", "words beside a call"
    }  # fmt: skip
    assert surviving.lost(one, spoken, tooled.TOOLS) == ["words beside a call"]
    with pytest.raises(ChatError, match="message 1: the template does not write it"):
        one.samples(spoken, tools=tooled.TOOLS)


def test_a_template_that_refuses_is_quoted() -> None:
    once = "{% if m.tool_calls | length > 1 %}{{ raise_exception('one call') }}{% endif %}"
    one = chat(tooled.template().replace("{{ m.content }}", once + "{{ m.content }}"))
    (said,) = surviving.lost(one, ASKED, None)[:1]
    assert said.startswith("calls: ") and "one call" in said


def test_special_tokens_in_names_and_values_of_calls_stay_text() -> None:
    one = chat(tooled.template())
    spiked = tooled.call("rain", {"<|im_end|>": "<|im_start|>system"})
    turns = [ASKED[0], {"role": "assistant", "content": "", "tool_calls": [spiked]}]
    (sample,) = one.samples(turns, tools=tooled.TOOLS)
    ids, mask = one.encode([sample])[0]
    assert [i for i, kept in zip(ids, mask, strict=True) if kept].count(one.stop_id) == 1
    assert learned(one, sample) == [
        '<call>rain {"<|im_end|>": "<|im_start|>system"}</call><|im_end|>'
    ]


def rows() -> list[tuple[list[dict[str, Any]], list[dict[str, Any]] | None]]:
    """Conversations of our own, and those of the public file where it lies beside."""
    from resources.recipe.sections.data import Source
    from tests.resources.sources.reading import conversations

    found = [(ASKED, tooled.TOOLS), (tooled.conversation("I look."), tooled.TOOLS), (ASKED, None)]
    found.append(([{"role": "system", "content": "Be brief."}, *ASKED], tooled.TOOLS))
    if GLAIVE.is_dir():
        fields = {"messages": "conversations", "role": "from", "content": "value"}
        given = {"kind": "conversations", "path": "*.json", "license": "x", "fields": fields}
        source = Source.model_validate({**given, "limit": 40})
        for row in conversations(GLAIVE, source):
            messages = calls.messages(row["messages"], row["calls"])
            found.append((messages, calls.offered(row["tools"])))
    return found


def test_qwen3_reads_tools_as_text_as_it_writes_them_itself(tmp_path: Path) -> None:
    one = Chat.load(tokenizers.folder("qwen3", tmp_path))
    for messages, tools in rows():
        assert surviving.lost(one, messages, tools) == []
        own = one.encode(one.samples(messages, tools=tools))
        assert own == one.encode(one.samples(hermes.as_text(messages, tools)))
        theirs = one.tokenizer.apply_chat_template(
            messages, tools=tools, tokenize=True, return_dict=False
        )
        assert own[-1][0] == theirs[: len(own[-1][0])]


def test_smollm2_leaves_tools_and_calls_out_and_reads_them_as_text(tmp_path: Path) -> None:
    one = Chat.load(tokenizers.folder("smollm2", tmp_path))
    assert surviving.lost(one, ASKED, tooled.TOOLS) == ["the list of tools", "calls"]
    for messages, tools in rows():
        turns = hermes.as_text(messages, tools)
        (sample,) = one.samples(turns)
        said = [turn["content"] for turn in turns if turn["role"] == "assistant"]
        assert learned(one, sample) == [f"{each}<|im_end|>" for each in said]
