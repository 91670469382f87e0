"""Ready conversations as training examples: loss on every assistant turn that says no otherwise.

The model's own template renders them as they are. Knows rows of `sft_samples` that come from a
source; which of them are trained on is decided in `blend.py` and `samples.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resources.chat.errors import ChatError
from resources.training.data.examples import Examples
from warehouse.store import Artifact

if TYPE_CHECKING:
    from resources.chat.chat import Chat

COLUMNS = ["input", "output", "trained"]
BATCH = 1024
Encoded = tuple[list[int], list[bool]]


def is_ready(dataset: Artifact) -> bool:
    """Whether the samples come from a source, which says of each turn whether it is learned."""
    columns = dataset.manifest["tables"]["sft_samples"]["columns"]
    return any(name == "trained" for name, _ in columns)


def turns(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The whole conversation of a row, the output as its last turn, with `train` on each."""
    made = [dict(turn) for turn in row["input"]]
    made.append({"role": "assistant", "content": row["output"]})
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
    conversation of more than `length` tokens ends after the last exchange that fits.
    """
    made = [turns(row) for row in rows]
    found = _encoded(chat, made)
    if over_long != "cut":
        return found
    for index, examples in enumerate(found):
        kept = made[index]
        while len(kept) > 3 and any(len(ids) > length for ids, _ in examples):
            kept = kept[:-2]
            if not any(turn.get("train") for turn in kept):
                break
            (examples,) = _encoded(chat, [kept])
            found[index] = examples
    return found


def _encoded(chat: Chat, conversations: Sequence[list[dict[str, Any]]]) -> list[list[Encoded]]:
    samples, counts = [], []
    for messages in conversations:
        try:
            made = chat.samples(messages)
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
    for batch in dataset.batches("sft_samples", [*COLUMNS, "split"], BATCH):
        yield from (row for row in batch.to_pylist() if row["split"] == "held_out")
