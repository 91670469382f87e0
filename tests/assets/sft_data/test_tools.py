"""Conversations with tools become samples and examples; those without are what they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assets.problems.texts import make_texts
from assets.sft import ready
from assets.sft.train import sft
from resources.chat.chat import Chat
from resources.chat.errors import ToolsLost
from resources.execution import Execution
from tests.assets.sft.test_ready import SFT, dataset, learned, split_of, turns
from tests.resources.chat import small, tooled
from tests.resources.training import tiny_family as tiny
from warehouse import catalog
from warehouse.store import Artifact, Store

PLAIN = [
    turns("a?", "b.", "c?", "d."),
    turns("e?", "f."),
    [{"role": "system", "content": "s"}, *turns("g?", "h.", "i?", "j.", untrained=(1,))],
    turns("a?", "b.", "c?", "d."),
]
SAYS_TEXT = {"kind": "conversations", "path": "c.jsonl", "license": "mit", "tools": "text"}


def sorted_rows(made: Artifact) -> list[dict[str, Any]]:
    return sorted(made.table("sft_samples").to_pylist(), key=lambda row: int(row["line"]))


def with_tools(store: Store, folder: Path, rows: list[Any], **recipe: Any) -> Artifact:
    """A source in which every row offers the tools."""
    return dataset(store, folder, rows, tools=tooled.TOOLS, holdout=0.0, **recipe)


def test_rows_without_tools_are_what_they_were(tmp_path: Path) -> None:
    """Version and ids as they were before conversations with tools were read."""
    made = dataset(Store(tmp_path / "home"), tmp_path, PLAIN)
    assert made.data_version == "10f6e6f7f0deeaf71372f3189f184ef74409e77f8b7876d0a43f3506535ecf1b"
    assert [row["row_id"].hex() for row in sorted_rows(made)] == [
        "f5547bff7a63aabd8657a9468ac3dfe5",
        "f19ccdfa7711b8b900d18233a2667b14",
        "37e0aa7efb30611e1a7f4327b8c2530a",
    ]
    as_text = dataset(Store(tmp_path / "other"), tmp_path, PLAIN, source=SAYS_TEXT)
    assert as_text.table("sft_samples").equals(made.table("sft_samples"))
    texts = corpus(tmp_path)
    assert texts.data_version == "74fe1b727c792a2d91dbc04a67fd6387e1194f659fd4d93f2009a3775ed0a6df"


def corpus(folder: Path, **source: str) -> Artifact:
    piece = {"name": "c.jsonl", "start": 0, "stop": None}
    given = {"kind": "conversations", "path": "c.jsonl", "license": "mit", **source}
    recipe = {"name": "support", "source": given, "shard": "c.jsonl", "pieces": [piece]}
    seen = Execution(observe=(str(folder / "c.jsonl"),))
    return tiny.build(Store(folder / "home"), "problems/text_support", make_texts, {}, recipe, seen)


def test_calls_and_tools_are_columns_that_sql_reads(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    made = with_tools(store, tmp_path, [tooled.conversation(), turns("e?", "f.")])
    called, other = sorted_rows(made)
    assert [turn["role"] for turn in called["input"]] == ["user", "assistant", "tool", "tool"]
    assert called["output"] == "In Bergen." and called["trained"] == [True, True]
    assert [(c["turn"], c["name"], c["result"]) for c in called["calls"]] == [
        (1, "rain", 2),
        (1, "rain", 3),
    ]
    assert other["calls"] is None and json.loads(other["tools"]) == tooled.TOOLS
    assert made.metrics["tools_in_template"] == 2 and "tools_as_text" not in made.metrics
    connection = catalog.connect(store)
    sql = (
        "SELECT c.name, json_extract_string(c.arguments, '$.town') FROM "
        "(SELECT unnest(calls) AS c FROM sft_samples) ORDER BY ALL"
    )
    assert catalog.query(connection, sql).fetchall() == [("rain", "Bergen"), ("rain", "Łódź")]


def test_conversations_that_differ_in_calls_alone_are_two(tmp_path: Path) -> None:
    def calls(town: str) -> list[dict[str, Any]]:
        made = [tooled.call("rain", {"town": town})]
        return [{"role": "user", "content": "Rain?"}, {"role": "assistant", "tool_calls": made}]

    rows = [calls("Oslo"), calls("Bergen"), calls("Oslo")]
    for number, source in enumerate(({}, {"source": SAYS_TEXT})):
        made = with_tools(Store(tmp_path / f"home-{number}"), tmp_path, rows, **source)
        assert [row["line"] for row in sorted_rows(made)] == [1, 2]
        (dropped,) = made.table("dropped").to_pylist()
        assert dropped["reason"] == "duplicate"


def test_filters_judge_words_and_no_calls(tmp_path: Path) -> None:
    asks = turns("Put it into \\boxed{}.")
    call = {"role": "assistant", "content": "", "tool_calls": [tooled.call("rain", {})]}
    told = [*asks, call, {"role": "tool", "content": "1"}, {"role": "assistant", "content": "1"}]
    boxed = [*told[:3], {"role": "assistant", "content": "\\boxed{1}"}]
    filters = {"unboxed": True}
    made = with_tools(Store(tmp_path / "home"), tmp_path, [told, boxed], filters=filters)
    assert [row["line"] for row in sorted_rows(made)] == [2]


def test_both_ways_lead_to_loss_on_what_the_assistant_says(tmp_path: Path) -> None:
    writes, drops = (Chat.of(small.tokenizer(each)) for each in (tooled.template(), small.CHATML))
    rows = [tooled.conversation()]
    (row,) = sorted_rows(with_tools(Store(tmp_path / "a"), tmp_path, rows))
    ((own,),) = ready.encode(writes, [row], 9999, "drop")
    assert learned(writes, own) == (
        '<call>rain {"town": "Łódź"}</call><call>rain {"town": "Bergen", "days": [1, null]}</call>'
        "<|im_end|>In Bergen.<|im_end|>"
    )
    with pytest.raises(ToolsLost, match=r'drops "rain" of its calls.*`tools: text` in the source'):
        ready.encode(drops, [row], 9999, "drop")
    made = with_tools(Store(tmp_path / "b"), tmp_path, rows, source=SAYS_TEXT)
    assert made.metrics["tools_as_text"] == 1
    assert "calls" not in made.table("sft_samples").schema.names
    ((text,),) = ready.encode(drops, sorted_rows(made), 9999, "drop")
    assert learned(drops, text).count("<tool_call>") == 2
    assert "<tool_response>" not in learned(drops, text) and "<tools>" not in learned(drops, text)


@pytest.mark.parametrize("source", [{}, {"source": SAYS_TEXT}], ids=["template", "text"])
def test_one_too_long_ends_with_the_call_that_fits(tmp_path: Path, source: dict[str, Any]) -> None:
    chat = Chat.of(small.tokenizer(tooled.template()))
    made = with_tools(Store(tmp_path / "home"), tmp_path, [tooled.conversation()], **source)
    (row,) = sorted_rows(made)
    ((ids, _),) = ready.encode(chat, [row], 9999, "drop")[0]
    ((cut, mask),) = ready.encode(chat, [row], len(ids) - 1, "cut")[0]
    assert len(cut) < len(ids) and learned(chat, (cut, mask)).endswith(
        "</call><|im_end|>" if not source else "</tool_call><|im_end|>"
    )


def test_a_stage_learns_them_as_text_with_a_template_that_has_no_tools(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    tiny.checkpoint_in(tmp_path / "model", seed=1)
    rows = [
        [{"role": "user", "content": f"Rain {i}?"}, *tooled.conversation()[1:]] for i in range(9)
    ]
    made = with_tools(store, tmp_path, rows, source=SAYS_TEXT)
    split, inputs = split_of(store, made, 9, tmp_path, length=2000)
    assert split.refused == split.too_long == 0
    recipe = {**SFT, "epochs": 1, "sequence_length": 2000, "batch_tokens": 4000}
    assert tiny.build(store, "nano/sft", sft, inputs, recipe).metrics["refused"] == 0
    own = with_tools(Store(tmp_path / "own"), tmp_path, rows)
    with pytest.raises(ToolsLost, match="`tools: text` in the source"):
        split_of(Store(tmp_path / "own"), own, 9, tmp_path, length=2000)


def test_a_corpus_has_a_place_for_turns_alone(tmp_path: Path) -> None:
    rows = [{"messages": tooled.conversation(), "tools": tooled.TOOLS}, {"messages": PLAIN[1]}]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = corpus(tmp_path)
    assert [row["line"] for row in made.table("texts").to_pylist()] == [2]
    (lost,) = made.table("rejected").to_pylist()
    assert (lost["line"], lost["field"]) == (1, "tools") and "say `tools: text`" in lost["reason"]
    (counts,) = made.table("sources").to_pylist()
    assert (counts["kept"], counts["dropped"]) == (1, 1)
    assert corpus(tmp_path, tools="text").table("texts").num_rows == 2
