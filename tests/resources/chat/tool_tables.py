"""Prints what is learned of a file of conversations with tools, by each way that a template allows.

HEIRLOOM_SMOLLM2=… HEIRLOOM_TOKENIZERS=… python -m tests.resources.chat.tool_tables SHAREGPT.json

The file is read as it is, and once more rewritten with `messages`; both must be the same.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from resources.chat import calls, surviving
from resources.chat.chat import Chat
from resources.recipe.sections.data import Source
from tests.resources.chat import tokenizers
from tests.resources.sources.reading import conversations

SHAREGPT = {"messages": "conversations", "role": "from", "content": "value"}


def main(path: Path) -> None:
    """For SmolLM2 and Qwen3: what survives, and the tokens with loss of the first short row."""
    with tempfile.TemporaryDirectory() as aside:
        chatml(path, Path(aside) / "chatml.jsonl")
        for name in ("smollm2", "qwen3"):
            try:
                chat = Chat.load(tokenizers.folder(name, Path(aside)))
            except pytest.skip.Exception as reason:
                print(f"{name}: {reason}")
                continue
            for way in ("template", "text"):
                given = {"kind": "conversations", "license": "x", "tools": way}
                shared = {**given, "path": str(path.absolute()), "fields": SHAREGPT}
                own = {**given, "path": f"{aside}/chatml.jsonl"}
                rows, same = (
                    conversations(Path(aside), Source.model_validate(each))
                    for each in (shared, own)
                )
                print(
                    f"\n{name}, tools: {way}: {len(rows)} rows, ChatML alike: {alike(rows, same)}"
                )
                show(chat, rows)


def chatml(path: Path, target: Path) -> None:
    """A file in ShareGPT's shape, with `messages`, `tool_calls` and `tools` instead."""
    roles = {"human": "user", "gpt": "assistant", "observation": "tool", "system": "system"}
    with target.open("w") as file:
        for row in json.loads(path.read_text()):
            messages: list[dict[str, Any]] = []
            for turn in row["conversations"]:
                if turn["from"] == "function_call":
                    made = [{"type": "function", "function": json.loads(turn["value"])}]
                    messages.append({"role": "assistant", "content": None, "tool_calls": made})
                else:
                    messages.append({"role": roles[turn["from"]], "content": turn["value"]})
            tools = json.loads(row["tools"])
            file.write(json.dumps({"messages": messages, "tools": tools}) + "\n")


def alike(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    """Whether two files say the same."""
    return [{**row, "file": "", "line": 0} for row in one] == [
        {**row, "file": "", "line": 0} for row in other
    ]


def show(chat: Chat, rows: list[dict[str, Any]]) -> None:
    """What survives, how many tokens carry loss, and those of one conversation with a call."""
    lost: Counter[str] = Counter()
    tokens = learned = 0
    shown: list[str] | None = None
    for row in rows:
        messages, tools = calls.messages(row["messages"], row["calls"]), calls.offered(row["tools"])
        missing = surviving.lost(chat, messages, tools)
        lost.update(missing)
        if missing:
            continue
        encoded = chat.encode(chat.samples(messages, tools=tools))
        tokens += sum(len(ids) for ids, _ in encoded)
        learned += sum(sum(mask) for _, mask in encoded)
        if shown is None and len(messages) in (4, 5) and (row["calls"] or row["tagged"]):
            shown = [piece for ids, mask in encoded for piece in pieces(chat, ids, mask)]
    print(f"  left out: {dict(lost) or 'nothing'}; {tokens:,} tokens, {learned:,} with loss")
    for piece in shown or []:
        print(f"  {piece}")


def pieces(chat: Chat, ids: list[int], mask: list[bool]) -> list[str]:
    """An example's tokens in stretches, with and without loss."""
    found: list[str] = []
    start = 0
    for end in range(1, len(ids) + 1):
        if end == len(ids) or mask[end] != mask[start]:
            mark = "loss" if mask[start] else "    "
            found.append(f"{mark} {end - start:>4} ids: {chat.decode(ids[start:end])!r}")
            start = end
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
