"""A layer group in training: the children of its layers, turn by turn, with their state on disk.

A visitor of the parent's activations (`activations.py`). Each layer has its own state file, whole
or absent, from which a killed build goes on bit for bit, and in the end its library files and a
report. Knows turns and files; knows nothing of the corpus or where activations come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from assets.puzzle.halves import file_name, new_half
from assets.puzzle.library.activations import Visit
from assets.puzzle.library.bypass import Child, LayerTraining, Lesson, errors, normalised
from assets.puzzle.library.store import opened, write_tensors
from resources.models.precision import settle, torch_dtype
from resources.recipe.sections.base import Optimizer

if TYPE_CHECKING:
    from resources.models.blocks import HeterogeneousDecoderBlock
    from resources.models.decoder import LayerSource

Make = Callable[[int, "HeterogeneousDecoderBlock", Lesson], list[Child]]

# The turns of a layer: children are made on the first step's batch, judged on tokens not trained
# on, trained, and judged again.
MAKE, JUDGE, FIRST_STEP = 0, 1, 2


def turns_of(steps: int) -> int:
    """All turns of a layer that trains for `steps` steps."""
    return FIRST_STEP + steps + 1


class GroupTraining:
    """The layers of a group that are not finished yet, and the files of those that are.

    Args:
        make: a layer's children, from its index, its block and the first micro-batch.
        library: the folder of trained blocks, `layer_<i>/…` in it.
        work: the folder of states and reports.
        dtype: what trained blocks are rounded to before they are judged, and stored as.
        every: steps between two states of a layer on disk.
        progress: called with a message and the fraction done.
    """

    def __init__(
        self,
        source: LayerSource,
        layers: Sequence[int],
        make: Make,
        optimizer: Optimizer,
        steps: int,
        *,
        library: Path,
        work: Path,
        dtype: str,
        every: int,
        progress: Callable[[str, float], None] | None = None,
    ) -> None:
        self.source, self.layers, self.make = source, list(layers), make
        self.optimizer, self.steps, self.turns = optimizer, steps, turns_of(steps)
        self.library, self.work, self.every, self.progress = library, work, every, progress
        self.dtype = dtype
        self.done = {layer: self._done(layer) for layer in layers}
        self._training: dict[int, LayerTraining] = {}
        self._before: dict[int, np.ndarray] = {}
        self._judged: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {}

    @property
    def start(self) -> int:
        """The first turn that some layer still needs; `turns` when all are finished."""
        return min(self.done.values())

    @property
    def depth(self) -> int:
        """How many layers of the parent those that are not finished need."""
        return max((layer + 1 for layer, done in self.done.items() if done < self.turns), default=0)

    def visit(self, visit: Visit) -> torch.Tensor:
        """Teaches a layer's children a micro-batch; gives the parent's output."""
        if visit.turn < self.done.get(visit.layer, self.turns):
            return visit.output()
        layer, turn = visit.layer, visit.turn
        lesson = Lesson.of(self.source.config, visit.block, visit.hidden, visit.context)
        if turn == MAKE:
            if visit.first:
                self._training[layer] = LayerTraining(
                    self.make(layer, visit.block, lesson), self.optimizer, self.steps
                )
        else:
            training = self._of(layer)
            if FIRST_STEP <= turn < FIRST_STEP + self.steps:
                training.learn(lesson, first=visit.first, last=visit.last)
            else:
                if turn == self.turns - 1 and visit.first:
                    for child in training.children:
                        settle(child.module, self.dtype)
                earlier = [] if visit.first else self._judged[layer]
                self._judged[layer] = [*earlier, errors(training.children, lesson)]
        if visit.last:
            self._end(layer, turn)
        return lesson.target

    def leave(self, layer: int) -> None:
        """Writes a layer's state and lets go of it; another visit reads it back."""
        if layer in self._training:
            self._keep(layer)
            del self._training[layer]

    def report(self, layer: int) -> dict[str, Any]:
        """What became of a finished layer: `children` (rows) and `history` `[steps, children]`."""
        with opened(self._report(layer)) as (facts, file):
            return {"children": facts, "history": file.get_tensor("history").numpy()}

    def _end(self, layer: int, turn: int) -> None:
        """What follows a whole turn."""
        self.done[layer] = turn + 1
        if turn == JUDGE:
            self._before[layer] = normalised(self._judged.pop(layer))
        elif turn == self.turns - 1:
            self._finish(layer, normalised(self._judged.pop(layer)))
        elif turn >= FIRST_STEP and (turn - FIRST_STEP + 1) % self.every == 0:
            self._keep(layer)
        if self.progress is not None:
            fraction = sum(self.done.values()) / (self.turns * len(self.layers))
            step = min(max(turn - FIRST_STEP + 1, 0), self.steps)
            self.progress(f"layer {layer}, step {step} of {self.steps}", fraction)

    def _finish(self, layer: int, after: np.ndarray) -> None:
        training = self._training.pop(layer)
        rows = []
        for place, child in enumerate(training.children):
            kind = torch_dtype(self.dtype)
            state = child.module.state_dict()
            weights = {name: weight.to(kind) for name, weight in state.items()}
            file = file_name(layer, child.kind, child.variant)
            write_tensors(self.library / file, weights, None)
            rows.append(
                {
                    "layer": layer,
                    "kind": child.kind,
                    "variant": child.variant,
                    "initialised": child.initialised,
                    "parameters": sum(weight.numel() for weight in weights.values()),
                    "loss_before": float(self._before[layer][place]),
                    "loss_after": float(after[place]),
                    "file": file,
                }
            )
        history = {"history": torch.from_numpy(training.history)}
        write_tensors(self._report(layer), history, rows)
        self._state(layer).unlink(missing_ok=True)

    def _keep(self, layer: int) -> None:
        training = self._training[layer]
        tensors = {"history": torch.from_numpy(training.history)}
        if layer in self._before:
            tensors["before"] = torch.from_numpy(self._before[layer])
        for place, child in enumerate(training.children):
            weights = child.module.state_dict()
            tensors |= {f"weights/{place}/{name}": value for name, value in weights.items()}
        moments = training.optimizer_state()
        tensors |= {f"moments/{name}": value for name, value in moments.items()}
        facts = {
            "done": self.done[layer],
            "children": [[c.kind, c.variant, c.initialised] for c in training.children],
        }
        write_tensors(self._state(layer), tensors, facts)

    def _of(self, layer: int) -> LayerTraining:
        """A layer's training, read back from its state file if need be."""
        if layer not in self._training:
            with opened(self._state(layer)) as (facts, file):
                names = set(file.keys())
                children = []
                for place, (kind, variant, how) in enumerate(facts["children"]):
                    module = new_half(self.source, layer, kind, variant)
                    prefix = f"weights/{place}/"
                    module.load_state_dict(
                        {name: file.get_tensor(f"{prefix}{name}") for name in module.state_dict()}
                    )
                    children.append(Child(layer, kind, variant, module, how))
                training = LayerTraining(children, self.optimizer, self.steps)
                moments = {
                    name.removeprefix("moments/"): file.get_tensor(name)
                    for name in names
                    if name.startswith("moments/")
                }
                step = max(facts["done"] - FIRST_STEP, 0)
                training.restore(step, file.get_tensor("history").numpy(), moments)
                if "before" in names:
                    self._before[layer] = file.get_tensor("before").numpy()
            self._training[layer] = training
        return self._training[layer]

    def _done(self, layer: int) -> int:
        """How many turns a layer has behind it, by its files."""
        if self._report(layer).is_file():
            return self.turns
        if not self._state(layer).is_file():
            return 0
        with opened(self._state(layer)) as (facts, _):
            return int(facts["done"])

    def _state(self, layer: int) -> Path:
        return self.work / "states" / f"layer_{layer}.safetensors"

    def _report(self, layer: int) -> Path:
        return self.work / "reports" / f"layer_{layer}.safetensors"
