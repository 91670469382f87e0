"""The parent's activations: a resident prefix and a sweep show a layer the same, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from assets.puzzle.library.activations import Batches, Visit, resident, sweep
from assets.puzzle.library.store import opened, write_tensors
from resources.models.decoder import LayerSource
from tests.assets.puzzle import tiny

TURNS, ROWS, LENGTH, LAYERS = 5, 3, 16, 3
SLOT = ROWS * LENGTH * 16 * 8  # hidden size 16, float64
Place = tuple[int, int, int]  # layer, turn, micro-batch


class Recorder:
    """A visitor that keeps what it sees, layer by layer, and may be killed at a place."""

    def __init__(self, kill: Place | None = None, folder: Path | None = None) -> None:
        self.kill, self.folder = kill, folder
        self.seen: dict[Place, torch.Tensor] = {}
        self.order: list[Place] = []
        self.left: list[int] = []
        self.largest = 0

    def visit(self, visit: Visit) -> torch.Tensor:
        place = (visit.layer, visit.turn, 0 if visit.first else 1)
        if place == self.kill:
            raise KeyboardInterrupt
        assert place not in self.seen
        assert visit.last == (not visit.first)
        self.seen[place] = visit.output().clone()
        self.order.append(place)
        if self.folder is not None:
            on_disk = sum(file.stat().st_size for file in self.folder.glob("boundary_*"))
            self.largest = max(self.largest, on_disk)
        return self.seen[place]

    def leave(self, layer: int) -> None:
        self.left.append(layer)


def batches(turns: int = TURNS) -> Batches:
    """Turns of three sequences, in micro-batches of two and one."""
    data = tiny.data(tokens=TURNS * ROWS * LENGTH, length=LENGTH)
    return Batches(
        lambda turn: data.select(slice(turn * ROWS, (turn + 1) * ROWS)), turns, ROWS, LENGTH, 2
    )


def expected(dtype: torch.dtype = torch.float64) -> tuple[LayerSource, dict[Place, torch.Tensor]]:
    """A parent, and what a resident prefix shows of it."""
    source, recorder = tiny.parent(LAYERS, dtype=dtype), Recorder()
    resident(source, LAYERS, batches(), recorder)
    return source, recorder.seen


def same(one: dict[Place, torch.Tensor], other: dict[Place, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_a_resident_prefix_is_the_parent() -> None:
    source, seen = expected()
    assert len(seen) == LAYERS * TURNS * 2
    with torch.no_grad():
        hidden, context = batches().parts(3)[1].context(source)
        for layer in range(LAYERS):
            hidden = source.layer(layer)(hidden, context)
            assert torch.equal(seen[layer, 3, 1], hidden)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("slots", [1, 2, 5, 100])
def test_a_sweep_shows_the_same_within_its_bound(
    tmp_path: Path, slots: int, dtype: torch.dtype
) -> None:
    source, seen = expected(dtype)
    room = 2 * slots * SLOT * dtype.itemsize // 8
    recorder = Recorder(folder=tmp_path)
    sweep(source, LAYERS, batches(), recorder, tmp_path, room)
    assert same(recorder.seen, seen)
    assert 0 < recorder.largest <= room
    chunks = -(-TURNS // slots)
    assert recorder.left == list(range(LAYERS)) * chunks
    assert not list(tmp_path.iterdir())


def test_a_sweep_takes_a_layer_at_a_time(tmp_path: Path) -> None:
    recorder = Recorder()
    sweep(expected()[0], 2, batches(turns=3), recorder, tmp_path, 2 * 2 * SLOT)
    turns = [(layer, turn) for layer, turn, micro in recorder.order if micro == 0]
    assert turns == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (1, 2)]


def test_too_little_room_names_the_least_that_works(tmp_path: Path) -> None:
    source, seen = expected()
    with pytest.raises(ValueError, match=f"3 x 16 tokens .* take {2 * SLOT}; give") as caught:
        sweep(source, LAYERS, batches(), Recorder(), tmp_path, 2 * SLOT - 1)
    assert str(2 * SLOT - 1) in str(caught.value)
    recorder = Recorder()
    sweep(source, LAYERS, batches(), recorder, tmp_path, 2 * SLOT)
    assert same(recorder.seen, seen)


@pytest.mark.parametrize("kill", [(0, 2, 1), (1, 2, 0), (2, 3, 1)])
def test_a_killed_sweep_goes_on_at_its_layer(tmp_path: Path, kill: Place) -> None:
    source, seen = expected()
    room = 2 * 2 * SLOT  # chunks of two turns: 0-1, 2-3, 4
    first = Recorder(kill)
    with pytest.raises(KeyboardInterrupt):
        sweep(source, LAYERS, batches(), first, tmp_path, room)
    again = Recorder()
    sweep(source, LAYERS, batches(), again, tmp_path, room, start=2)
    assert again.order[0] == (kill[0], 2, 0)
    wanted = {
        place: value
        for place, value in seen.items()
        if place[1] == 4 or (place[0] >= kill[0] and place[1] >= 2)
    }
    assert same(again.seen, wanted)


def test_boundaries_of_another_chunk_are_not_trusted(tmp_path: Path) -> None:
    """After a kill with less room, from another turn, or while a chunk overwrote the last one's."""
    source, seen = expected()
    for room, start in ((2 * SLOT, 2), (4 * SLOT, 1), (4 * SLOT, 4)):
        with pytest.raises(KeyboardInterrupt):
            sweep(source, LAYERS, batches(), Recorder((1, 2, 0)), tmp_path, 4 * SLOT)
        assert json.loads((tmp_path / "sweep.json").read_text())["begin"] == 2
        again = Recorder()
        sweep(source, LAYERS, batches(), again, tmp_path, room, start)
        assert again.order[0] == (0, start, 0)
        assert same(again.seen, {place: seen[place] for place in seen if place[1] >= start})
    with pytest.raises(KeyboardInterrupt):
        sweep(source, LAYERS, batches(), Recorder((0, 3, 0)), tmp_path, 4 * SLOT)
    assert not (tmp_path / "sweep.json").exists()


def test_a_damaged_boundary_is_noticed(tmp_path: Path) -> None:
    source, _ = expected()
    with pytest.raises(KeyboardInterrupt):
        sweep(source, LAYERS, batches(), Recorder((1, 2, 0)), tmp_path, 4 * SLOT)
    (tmp_path / "boundary_1").write_bytes(b"short")
    with pytest.raises(OSError, match="boundary_1 ends too early"):
        sweep(source, LAYERS, batches(), Recorder(), tmp_path, 4 * SLOT, start=2)


def test_tensors_are_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "made" / "x.safetensors"
    write_tensors(path, {"a": torch.arange(3)}, {"step": 1})

    def full(tensors: object, file: Path, metadata: object) -> None:
        from safetensors import SafetensorError

        Path(file).write_bytes(b"half")
        # as safetensors says it on a full disk
        raise SafetensorError("Error while serializing: I/O error: No space left (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_tensors(path, {"a": torch.arange(4)}, {"step": 2})
    assert caught.value.errno == 28
    assert [file.name for file in path.parent.iterdir()] == ["x.safetensors"]
    with opened(path) as (facts, file):
        assert facts == {"step": 1}
        np.testing.assert_array_equal(file.get_tensor("a"), np.arange(3))
