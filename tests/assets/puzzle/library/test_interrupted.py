"""Groups that are killed or meet a full disk go on, and make the same blocks."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from assets.puzzle.library.bypass import LayerTraining, Lesson
from resources.execution import Execution
from tests.assets.puzzle.library.groups import COUPLED, WHOLE, build, files, same_tables, sweep
from warehouse.artifact import Artifact, Output


def killed_after(monkeypatch: pytest.MonkeyPatch, learned: int) -> Callable[[], int]:
    """Training stops with a KeyboardInterrupt after so many updates of a layer, once."""
    calls = [0]
    learn = LayerTraining.learn

    def counted(self: LayerTraining, lesson: Lesson, **places: bool) -> None:
        if calls[0] == learned:
            calls[0] += 1
            raise KeyboardInterrupt
        calls[0] += 1
        learn(self, lesson, **places)

    monkeypatch.setattr(LayerTraining, "learn", counted)
    return lambda: calls[0]


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize(
    ("execution", "learned", "again"),
    [
        # After four steps of two layers and one layer's fifth: both go on after step four.
        (Execution(checkpoint_steps=2), 9, 4),
        (Execution(checkpoint_steps=100), 9, 12),
        # In chunks of two turns, the first two without a step: killed in the last layer's second
        # step, that layer's state of before and the other's of after are there.
        (sweep(2, checkpoint_steps=100), 3, 2 + 8),
        # The same with a state on disk after every step.
        (sweep(2, checkpoint_steps=1), 3, 1 + 8),
    ],
    ids=["resident", "from the start", "sweep", "sweep, within a chunk"],
)
def test_a_killed_group_goes_on_bit_for_bit(
    tmp_path: Path,
    inputs: dict[str, Artifact],
    monkeypatch: pytest.MonkeyPatch,
    execution: Execution,
    learned: int,
    again: int,
    coupled: bool,
) -> None:
    changes = (COUPLED if coupled else {}) | {"groups": 2, "group": 1}
    undisturbed = build(tmp_path / "undisturbed", inputs, **changes)
    calls = killed_after(monkeypatch, learned)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "killed", inputs, execution, **changes)
    made = build(tmp_path / "killed", inputs, execution, **changes)
    assert files(made) == files(undisturbed)
    assert same_tables(made, undisturbed)
    assert calls() - learned - 1 == again


def test_a_killed_group_may_go_on_from_another_source(
    tmp_path: Path, inputs: dict[str, Artifact], whole: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after(monkeypatch, 9)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, inputs, sweep(3))
    for execution, learned in ((Execution(checkpoint_steps=1), 7), (sweep(2), 3)):
        killed_after(monkeypatch, learned)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, inputs, execution)
    assert files(build(tmp_path, inputs, sweep(4))) == files(whole)


def test_a_finished_group_is_not_trained_again(
    tmp_path: Path, inputs: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build(tmp_path, inputs, groups=4, group=2)
    calls = killed_after(monkeypatch, 0)
    for execution in (WHOLE, sweep(1)):
        assert same_tables(build(tmp_path, inputs, execution, groups=4, group=2), made)
    assert calls() == 0


@pytest.mark.parametrize("execution", [Execution(checkpoint_steps=2), sweep(2)])
@pytest.mark.parametrize("written", [0, 1, 3, 5, 6])
def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path,
    inputs: dict[str, Artifact],
    monkeypatch: pytest.MonkeyPatch,
    execution: Execution,
    written: int,
) -> None:
    """States, blocks and reports: whichever write meets the full disk, the next run makes it."""
    changes = {"groups": 4, "group": 1}
    undisturbed = build(tmp_path / "undisturbed", inputs, **changes)
    left = [written]

    def full(tensors: Any, file: Path, **metadata: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            Path(file).write_bytes(b"half of a file")
            raise OSError(errno.ENOSPC, "No space left on device", str(file))
        save_file(tensors, file, **metadata)

    with monkeypatch.context() as patched:
        patched.setattr("safetensors.torch.save_file", full)
        with pytest.raises(OSError) as caught:
            build(tmp_path / "full", inputs, execution, **changes)
    assert caught.value.errno == errno.ENOSPC
    made = build(tmp_path / "full", inputs, execution, **changes)
    assert files(made) == files(undisturbed)
    assert same_tables(made, undisturbed)
    assert {path.name for path in made.files[""].rglob("*") if path.is_file()} == {
        "library.json",
        *(Path(name).name for name in files(made)),
    }


def test_a_full_disk_between_layers(
    tmp_path: Path, inputs: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A boundary cut short by a full disk is not read on the next run."""
    synced = [0]

    def full(descriptor: int) -> None:
        synced[0] += 1
        if synced[0] == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("assets.puzzle.library.activations.os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            build(tmp_path / "full", inputs, sweep(2))
    assert files(build(tmp_path / "full", inputs, sweep(2))) == files(
        build(tmp_path / "undisturbed", inputs)
    )
