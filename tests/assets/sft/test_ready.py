"""Ready conversations in SFT: which tokens are learned, what is held out, what is too long."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from assets.sft import ready, samples
from assets.sft.blend import make_blend
from assets.sft.train import sft
from assets.sft_data.conversations import load
from resources.chat.chat import Chat
from resources.execution import Execution
from tests.resources.training import tiny_family as tiny
from warehouse.store import Artifact, Output, Store

SFT = {**tiny.TRAINING, "tokens": None, "epochs": 2, "packed": True}


def turns(*texts: str, untrained: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [
        {"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)
    ]
    for index in untrained:
        made[index]["train"] = False
    return made


def dataset(
    store: Store, folder: Path, rows: list[Any], tools: Any = None, **recipe: Any
) -> Artifact:
    """A source's samples; `tools` are offered in every row."""
    file = folder / "c.jsonl"
    offered = {} if tools is None else {"tools": tools}
    file.write_text("".join(json.dumps({"messages": each, **offered}) + "\n" for each in rows))
    piece = {"name": "c.jsonl", "start": 0, "stop": None}
    given = {
        "name": "support",
        "source": {"kind": "conversations", "path": "c.jsonl", "license": "mit"},
        "shards": [{"shard": "c.jsonl", "pieces": [piece]}],
        "max_drop": 0.0,
        "holdout": 0.3,
        "over_long": "drop",
    }
    seen = Execution(observe=(str(file),))
    return tiny.build(store, "sft_data/support", load, {}, given | recipe, seen)


@pytest.fixture
def chat(tmp_path: Path) -> Chat:
    return Chat.load(tiny.checkpoint_in(tmp_path / "model", seed=1))


def learned(chat: Chat, example: tuple[Any, Any]) -> str:
    return chat.decode([int(i) for i, m in zip(*example, strict=True) if m])


def test_every_assistant_turn_is_learned_unless_it_says_no(tmp_path: Path, chat: Chat) -> None:
    store = Store(tmp_path / "home")
    made = dataset(
        store,
        tmp_path,
        [turns("a?", "b.", "c?", "d."), turns("e?", "f.", "g?", "h.", untrained=(1,))],
    )
    rows = sorted(made.table("sft_samples").to_pylist(), key=lambda row: row["line"])
    both, last = ready.encode(chat, rows, 500, "drop")
    assert learned(chat, both[0]) == "b.<|eot_id|>d.<|eot_id|>"
    assert learned(chat, last[0]) == "h.<|eot_id|>"
    plain = chat.encode(chat.samples(turns("a?", "b.", "c?", "d.")))
    assert both == plain


def test_an_over_long_conversation_is_dropped_or_ends_where_it_fits(
    tmp_path: Path, chat: Chat
) -> None:
    row = {"input": turns("a?", "b.", "c?"), "output": "d" * 60, "trained": [True, True]}
    ((ids, _),) = ready.encode(chat, [row], 100, "drop")[0]
    ((cut, mask),) = ready.encode(chat, [row], len(ids) - 1, "cut")[0]
    assert len(cut) < len(ids) and learned(chat, (cut, mask)) == "b.<|eot_id|>"
    assert ready.encode(chat, [row], len(ids), "cut")[0] == [
        (ids, ready.encode(chat, [row], 100, "drop")[0][0][1])
    ]


def split_of(
    store: Store, made: Artifact, count: int, folder: Path, length: int = 300
) -> tuple[samples.Split, dict[str, Artifact]]:
    """The examples of a blend of `count` samples of a source, and what they were made of."""
    model = tiny.publish(store, "nano/parent", Output(files={"": folder / "model"}))
    mixed = {"name": "sft", "domains": {"support": 1.0}, "reasoning": {"support": ["any"]}}
    recipe = mixed | {"samples": count}
    blend = tiny.build(store, "nano/sft_blend", make_blend, {"support": made}, recipe)
    given = {"sequence_length": length, "seed": 3}
    split = samples.read(model, blend, {"support": made}, given, folder, Execution())
    return split, {"model": model, "support": made, "blend": blend}


def test_where_a_source_holds_nothing_out_questions_of_it_are_drawn(
    tmp_path: Path, chat: Chat
) -> None:
    store = Store(tmp_path / "home")
    rows = [turns(f"{i}?", f"it is {i}.") for i in range(9)]
    made = dataset(store, tmp_path, rows, holdout=0.001)
    assert set(made.table("sft_samples")["split"].to_pylist()) == {"train"}
    split, _ = split_of(store, made, 9, tmp_path)
    told, unseen = (
        {learned(chat, each) for each in every} for every in (split.training, split.held_out)
    )
    assert not split.apart and unseen and len(told | unseen) == 9 and not told & unseen


def test_sft_measures_what_the_source_holds_out(tmp_path: Path, chat: Chat) -> None:
    store = Store(tmp_path / "home")
    made = dataset(store, tmp_path, [turns(f"number {i}?", f"it is {i}.") for i in range(40)])
    split, inputs = split_of(store, made, 30, tmp_path)
    told = {learned(chat, each) for each in split.training}
    unseen = {learned(chat, each) for each in split.apart["support"]}
    assert len(split.training) == 30 and unseen and not told & unseen
    assert len(split.held_out) == len(unseen)
    trained = tiny.build(
        store,
        "nano/sft",
        sft,
        inputs,
        {**SFT, "sequence_length": 200, "batch_tokens": 400},
    )
    loss = trained.metrics["held_out_support_cross_entropy"]
    assert loss == pytest.approx(trained.metrics["held_out_cross_entropy"])
    assert trained.metrics["held_out_support_perplexity"] == pytest.approx(math.exp(loss))
    assert trained.metrics["refused"] == 0
