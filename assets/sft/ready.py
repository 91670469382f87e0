"""Ready conversations as training examples: loss on every assistant turn that says no otherwise.

The model's own template renders them as they are, tools and calls included; results of calls carry
no loss. Knows rows of `sft_samples` that come from a
source; which of them are trained on is decided in `blend.py` and `samples.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resources.chat import calls
from resources.chat.errors import ChatError, ToolsLost
from resources.training.data.examples import Examples
from warehouse.store import Artifact

if TYPE_CHECKING:
    from resources.chat.chat import Chat

COLUMNS = ["input", "output", "trained"]
TOOLS = ("tools", "calls")  # further columns, where a source's conversations have some
BATCH = 1024
Encoded = tuple[list[int], list[bool]]


def is_ready(dataset: Artifact) -> bool:
    """Whether the samples come from a source, which says of each turn whether it is learned."""
    return "trained" in _there(dataset)


def columns(dataset: Artifact) -> list[str]:
    """The columns of a source's samples that its examples are made of."""
    there = _there(dataset)
    return [*COLUMNS, *(name for name in TOOLS if name in there)]


def _there(dataset: Artifact) -> set[str]:
    return {name for name, _ in dataset.manifest["tables"]["sft_samples"]["columns"]}


def turns(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The whole conversation of a row, the output as its last turn, with `train` on each."""
    made = calls.messages(
        [*row["input"], {"role": "assistant", "content": row["output"]}], row.get("calls")
    )
    learned = iter(row["trained"])
    for turn in made:
        if turn["role"] == "assistant":
            turn["train"] = next(learned)
    return made


def encode(
    chat: Chat, rows: Sequence[Mapping[str, Any]], length: int, over_long: str
) -> list[list[Encoded]]:
    """The examples of each row; none where the template refuses a conversation.

    Several where an earlier turn reads differently once others follow. With `over_long` "cut" a
    conversation of more than `length` tokens ends after the last exchange that fits. Raises
    ToolsLost where the template leaves out tools, calls or results.
    """
    made = [turns(row) for row in rows]
    tools = [calls.offered(row.get("tools")) for row in rows]
    found = _encoded(chat, made, tools)
    if over_long != "cut":
        return found
    for index, examples in enumerate(found):
        kept = made[index]
        while len(kept) > 3 and any(len(ids) > length for ids, _ in examples):
            kept = kept[:-2]
            while kept[-1]["role"] != "assistant":  # a result, or one of several
                kept = kept[:-1]
            if not any(turn.get("train") for turn in kept):
                break
            (examples,) = _encoded(chat, [kept], [tools[index]])
            found[index] = examples
    return found


def _encoded(
    chat: Chat,
    conversations: Sequence[list[dict[str, Any]]],
    tools: Sequence[list[dict[str, Any]] | None],
) -> list[list[Encoded]]:
    samples, counts = [], []
    for messages, given in zip(conversations, tools, strict=True):
        try:
            made = chat.samples(messages, tools=given)
        except ToolsLost as error:
            raise ToolsLost(f"{error} (`tools: text` in the source writes text)") from error
        except ChatError:
            made = []
        samples += made
        counts.append(len(made))
    encoded = iter(chat.encode(samples))
    return [[next(encoded) for _ in range(count)] for count in counts]


def held_out(chat: Chat, dataset: Artifact, length: int, most: int) -> Examples:
    """At most `most` examples of the questions that a source keeps from training, and that fit."""
    found: list[Encoded] = []
    for row in _held_out_rows(dataset):
        (examples,) = encode(chat, [row], length, dataset.manifest["recipe"]["over_long"])
        found += [each for each in examples if len(each[0]) <= length and any(each[1][1:])]
        if len(found) >= most:
            break
    return Examples.from_lists(found[:most])


def _held_out_rows(dataset: Artifact) -> Iterator[dict[str, Any]]:
    for batch in dataset.batches("sft_samples", [*columns(dataset), "split"], BATCH):
        yield from (row for row in batch.to_pylist() if row["split"] == "held_out")
