"""The parent's activations, brought to its layers: from a resident prefix, or by a sweep of layers.

Both show a visitor every batch at every layer, in the same order for each layer, so that what a
visitor computes does not depend on the source. `resident` keeps the layers in memory and takes the
batches one after another; `sweep` takes a layer at a time and keeps the states before and behind it
on disk, as many batches as a bound allows. Knows layers and states; knows nothing of what visitors
do with them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch

from assets.puzzle.calibration import Sequences
from warehouse.files.filesystem import replacing

if TYPE_CHECKING:
    from resources.models.blocks import Context, HeterogeneousDecoderBlock
    from resources.models.decoder import LayerSource


@dataclass(frozen=True)
class Visit:
    """One micro-batch at one layer.

    `hidden` `[n, T, H]` is what enters the layer; `first` and `last` say whether the micro-batch
    begins and ends its turn.
    """

    turn: int
    first: bool
    last: bool
    layer: int
    block: HeterogeneousDecoderBlock
    hidden: torch.Tensor
    context: Context

    def output(self) -> torch.Tensor:
        """What leaves the layer, `[n, T, H]`."""
        result: torch.Tensor = self.block(self.hidden, self.context)
        return result


class Visitor(Protocol):
    """What sees the activations. Gradients are off while it does."""

    def visit(self, visit: Visit) -> torch.Tensor:
        """Takes a micro-batch at a layer; returns the layer's output."""

    def leave(self, layer: int) -> None:
        """Called when a sweep leaves a layer: what must not be lost is to be on disk by then."""


@dataclass(frozen=True)
class Batches:
    """What goes through the layers: `of(turn)` for `turns` turns.

    Each is at most `rows` sequences of `length` tokens and goes in micro-batches of `micro`.
    """

    of: Callable[[int], Sequences]
    turns: int
    rows: int
    length: int
    micro: int

    def parts(self, turn: int) -> list[Sequences]:
        """The micro-batches of a turn."""
        return list(self.of(turn).batches(self.micro))


@torch.no_grad()
def resident(
    source: LayerSource, layers: int, batches: Batches, visitor: Visitor, start: int = 0
) -> None:
    """Takes each batch from turn `start` on through the first `layers` layers, all kept in memory.

    Disk is not needed; memory holds these layers and whatever the visitor keeps for each of them.
    """
    blocks = [source.layer(layer) for layer in range(layers)]
    for turn in range(start, batches.turns):
        parts = batches.parts(turn)
        for number, part in enumerate(parts):
            hidden, context = part.context(source)
            for layer, block in enumerate(blocks):
                ends = (number == 0, number == len(parts) - 1)
                hidden = visitor.visit(Visit(turn, *ends, layer, block, hidden, context))


@torch.no_grad()
def sweep(
    source: LayerSource,
    layers: int,
    batches: Batches,
    visitor: Visitor,
    folder: Path,
    room: int,
    start: int = 0,
) -> None:
    """Takes chunks of turns through the first `layers` layers, one layer at a time.

    Memory holds one layer and a micro-batch. The states before and behind the layer lie in two
    files in `folder`, together at most `room` bytes; `sweep.json` there says up to which layer they
    are whole, so that a killed sweep goes on at that layer. A chunk is as many whole turns as fit.

    Raises:
        ValueError: not even one turn fits into `room`.
        OSError: the disk is full.
    """
    hidden = source.config.hidden_size
    slot = batches.rows * batches.length * hidden * source.dtype.itemsize
    slots = room // (2 * slot)
    if slots < 1:
        raise ValueError(
            f"activations: {room} bytes do not hold one step: two layer boundaries of "
            f"{batches.rows} x {batches.length} tokens x {hidden} numbers of "
            f"{source.dtype.itemsize} bytes take {2 * slot}; give execution.activations.bytes at "
            "least that"
        )
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "sweep.json"
    chunk, first = _recorded(record, start, slots, slot)
    while chunk.start < batches.turns:
        chunk = range(chunk.start, min(chunk.stop, batches.turns))
        if first == 0:  # the boundaries of another chunk are about to be overwritten
            record.unlink(missing_ok=True)
        for layer in range(first, layers):
            _through(source, layer, layers, chunk, batches, visitor, folder, slot)
            visitor.leave(layer)
            _record(record, chunk, layer + 1, slot)
        chunk, first = range(chunk.stop, chunk.stop + slots), 0
    for file in (record, *(folder / f"boundary_{side}" for side in (0, 1))):
        file.unlink(missing_ok=True)


def _through(
    source: LayerSource,
    layer: int,
    layers: int,
    chunk: range,
    batches: Batches,
    visitor: Visitor,
    folder: Path,
    slot: int,
) -> None:
    """Takes a chunk of turns through one layer, from one boundary file to the other."""
    block = source.layer(layer)
    with ExitStack() as files:
        # Plain reads and writes: a full disk is an error then, where it kills who writes to a map.
        given = made = None
        if layer > 0:
            given = files.enter_context((folder / f"boundary_{layer % 2}").open("rb"))
        if layer + 1 < layers:
            made = files.enter_context((folder / f"boundary_{(layer + 1) % 2}").open("wb"))
        for turn in chunk:
            parts = batches.parts(turn)
            for file in (given, made):
                if file is not None:
                    file.seek((turn - chunk.start) * slot)
            for number, part in enumerate(parts):
                context = part.surroundings(source)
                hidden = part.embedded(source) if given is None else _read(given, part, source)
                ends = (number == 0, number == len(parts) - 1)
                output = visitor.visit(Visit(turn, *ends, layer, block, hidden, context))
                if made is not None:
                    made.write(_bytes(output.cpu().contiguous()))
        if made is not None:
            made.flush()
            os.fsync(made.fileno())


def _bytes(states: torch.Tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    return states.view(torch.uint8).numpy().reshape(-1).data


def _read(file: BufferedReader, part: Sequences, source: LayerSource) -> torch.Tensor:
    """The next states of a boundary file: one for each token of `part`."""
    states = torch.empty(*part.input_ids.shape, source.config.hidden_size, dtype=source.dtype)
    if file.readinto(_bytes(states)) != states.nbytes:
        raise OSError(f"{file.name} ends too early: delete it and run again")
    return states.to(source.device)


def _recorded(record: Path, start: int, slots: int, slot: int) -> tuple[range, int]:
    """The chunk to begin with and its first layer: a killed sweep's if it is of use, else anew."""
    fresh = range(start, start + slots)
    if not record.is_file():
        return fresh, 0
    found = json.loads(record.read_text())
    chunk = range(found["begin"], found["end"])
    if start not in chunk or len(chunk) > slots or found["slot"] != slot:
        return fresh, 0
    return chunk, found["layer"]


def _record(record: Path, chunk: range, layer: int, slot: int) -> None:
    """Notes that a chunk's states before `layer` are whole."""
    values = {"begin": chunk.start, "end": chunk.stop, "layer": layer, "slot": slot}
    with replacing(record) as aside:
        aside.write_text(json.dumps(values))
