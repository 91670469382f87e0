"""Running children: the parent with one block, or one run of layers, replaced.

The parent goes up once; then, layer by layer, the states that enter a layer feed every replacement
there, attention halves that pairs share are computed once, and children go through the layers above
together. Held are two states a token (the present layer's and the last), the parent's probabilities
of one batch and the logits of one sequence of one child. Knows models and sub-blocks; knows nothing
of tables or recipes.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn

from assets.puzzle.halves import ATTENTION, FFN, Library
from assets.puzzle.scoring.cache import ScoreCache
from assets.puzzle.scoring.data import Batch
from assets.puzzle.scoring.metrics import OF_STATES, compare, refer

TOGETHER = 512  # tokens at work at once on a CPU: the activations of more leave its cache


@dataclass(frozen=True)
class Replacement:
    """Other variants in the place of `layers`: of one layer, or of a run of them in parallel.

    A run has no attention: with x its input and f_k the FFN half of layer k, its output is
    x + Σ_k (f_k(x) - x), what FFN Fusion makes of those layers.
    """

    layers: tuple[int, ...]
    attention: str
    ffn: str

    @property
    def name(self) -> str:
        """How messages call it: `layer 3, variant 'kv_1/ratio_50'`."""
        where = f"layer {self.layers[0]}"
        if len(self.layers) > 1:
            where = f"layers {self.layers[0]} to {self.layers[-1]} in parallel"
        return f"{where}, variant '{self.attention}/{self.ffn}'"

    def digest(self, library: Library) -> str:
        """Hex SHA-256 of where it goes and of the weights it puts there."""
        total = hashlib.sha256(str(self.layers).encode())
        for layer in self.layers:
            total.update(library.digest(layer, self.attention, self.ffn).encode())
        return total.hexdigest()


@torch.inference_mode()
def score(
    library: Library,
    replacements: Sequence[Replacement],
    batches: Sequence[Batch],
    metrics: Sequence[str],
    *,
    k: int = 1,
    together: int = TOGETHER,
    cache: ScoreCache | None = None,
    progress: Callable[[str, float], Any] | None = None,
) -> np.ndarray:
    """Values `[replacements, metrics, sequences]` of metrics that share a set of tokens.

    Args:
        k: of the metric `top_k`.
        together: tokens at work at once, over the children that go up in one pass.
        cache: what it holds is not computed, what is computed is written to it batch by batch.

    Raises:
        FileNotFoundError: the library lacks a replacement; names layer and variant.
        ValueError: a replacement's weights are not whole or not finite; names layer and variant.
        FloatingPointError: a score is not finite, though the weights are.
    """
    ends = np.cumsum([len(batch) for batch in batches])
    columns = [slice(end - len(batch), end) for end, batch in zip(ends, batches, strict=True)]
    values = np.full((len(replacements), len(metrics), sum(map(len, batches))), math.nan)
    digests = [each.digest(library) if cache else "" for each in replacements]
    missing: dict[tuple[int, int], list[int]] = {}  # (layer, batch) -> places of replacements
    for place, number, known in _kept(replacements, digests, batches, cache):
        if known is None:
            missing.setdefault((replacements[place].layers[0], number), []).append(place)
        else:
            values[place, :, columns[number]] = known
    total, done = sum(map(len, missing.values())), 0
    sweeps: dict[int, _Sweep] = {}
    for layer, number in missing:
        if number not in sweeps:  # the layers come in order: this is its first
            sweeps[number] = _Sweep(library, batches[number], metrics, k, layer)
    for layer, of_layer in itertools.groupby(missing.items(), key=lambda item: item[0][0]):
        blocks = _Blocks(library, layer)
        for (_, number), places in of_layer:
            wanted = [replacements[place] for place in places]
            found = sweeps[number].children(blocks, wanted, together)
            for each, value in zip(wanted, found, strict=True):
                if not np.isfinite(value).all():
                    raise FloatingPointError(
                        f"{each.name}: a score is not finite, though the block's weights are; "
                        "train the variant again or leave it out"
                    )
            values[places, :, columns[number]] = found
            if cache:
                scored = dict(zip((digests[place] for place in places), found, strict=True))
                cache.write(layer, batches[number].digest, scored)
            done += len(places)
            if progress:
                progress(f"layer {layer}: {done} of {total} children and batches", done / total)
    return values


def _kept(
    replacements: Sequence[Replacement],
    digests: Sequence[str],
    batches: Sequence[Batch],
    cache: ScoreCache | None,
) -> Iterator[tuple[int, int, np.ndarray | None]]:
    """Place, batch and known values `[metrics, N]`, or None, of all, a layer after the other."""
    for layer in sorted({each.layers[0] for each in replacements}):
        places = [i for i, each in enumerate(replacements) if each.layers[0] == layer]
        for number, batch in enumerate(batches):
            known = cache.read(layer, batch.digest, len(batch)) if cache else {}
            for place in places:
                yield place, number, known.get(digests[place])


class _Sweep:
    """The parent on one batch: the state that enters a layer, which only rises, and the last."""

    def __init__(
        self, library: Library, batch: Batch, metrics: Sequence[str], k: int, layer: int
    ) -> None:
        self.model, self.batch, self.metrics, self.k = library.parent, batch, metrics, k
        hidden, self.context = batch.sequences.context(self.model)
        layers = self.model.layers
        self.layer, self.state = layer, self.model.run(hidden, self.context, layers[:layer])
        above = self.model.run(self.state, self.context, layers[layer:])
        self.last = self.model.finish(above)

    def children(
        self, blocks: _Blocks, replacements: Sequence[Replacement], together: int
    ) -> np.ndarray:
        """Values `[replacements, metrics, N]` of replacements that begin at `blocks.layer`."""
        layers, rows = self.model.layers, range(len(self.batch))
        between = layers[self.layer : blocks.layer]
        self.state = self.model.run(self.state, self.context, between)
        self.layer = blocks.layer
        references = [
            refer(
                self.metrics,
                self.batch.tokens(row, self.last.device),
                self.last[row, None],
                self._logits(self.last[row, None]),
                self.k,
            )
            for row in rows
        ]
        values = np.empty((len(replacements), len(self.metrics), len(rows)))
        outputs = enumerate(blocks.outputs(replacements, self.state, self.context))
        size = max(together // self.batch.sequences.tokens, 1)
        contexts = {1: self.context}  # by the number of children that go up together
        for (end, _), group in itertools.groupby(
            outputs, key=lambda item: (replacements[item[0]].layers[-1], item[0] // size)
        ):
            places, parts = zip(*group, strict=True)
            state = torch.cat(parts)
            if end + 1 < len(layers):
                if len(parts) not in contexts:
                    copies = self.batch.sequences.select(np.tile(np.arange(len(rows)), len(parts)))
                    contexts[len(parts)] = copies.surroundings(self.model)
                state = self.model.run(state, contexts[len(parts)], layers[end + 1 :])
            last = self.model.finish(state)
            compared = [
                compare(references[row % len(rows)], last[row, None], self._logits(last[row, None]))
                for row in range(len(last))
            ]
            found = torch.cat(compared, -1).cpu().numpy()  # [metrics, children x N]
            shape = (len(self.metrics), len(parts), len(rows))
            values[list(places)] = found.reshape(shape).swapaxes(0, 1)
        return values

    def _logits(self, last: torch.Tensor) -> torch.Tensor | None:
        if set(self.metrics) <= set(OF_STATES):
            return None
        return self.model.head(last)


class _Blocks:
    """What replaces a layer, loaded and looked through once for all batches."""

    def __init__(self, library: Library, layer: int) -> None:
        self.library, self.layer = library, layer
        self._loaded: dict[tuple[int, str, str], nn.Module] = {}

    def outputs(
        self, replacements: Sequence[Replacement], state: torch.Tensor, context: Any
    ) -> Iterator[torch.Tensor]:
        """The state `[N, T, H]` that each replacement makes of the one that enters the layer."""
        attended: dict[str, torch.Tensor] = {}
        for each in replacements:
            if len(each.layers) > 1:
                parts = [self._block(k, each.attention, each.ffn) for k in each.layers]
                yield state + sum(part(state, context) - state for part in parts)
            elif self.library.coupled:
                yield self._block(self.layer, each.attention, each.ffn)(state, context)
            else:
                if each.attention not in attended:
                    half = self._half(ATTENTION, each.attention)
                    attended = {each.attention: half(state, context)}
                yield self._half(FFN, each.ffn)(attended[each.attention], context)

    def _half(self, kind: str, variant: str) -> nn.Module:
        key, name = (self.layer, kind, variant), f"layer {self.layer}, {kind} variant '{variant}'"
        return self._checked(key, name, lambda: self.library.half(*key))

    def _block(self, layer: int, attention: str, ffn: str) -> nn.Module:
        key, name = (layer, attention, ffn), f"layer {layer}, variant '{attention}/{ffn}'"
        return self._checked(key, name, lambda: self.library.block(*key))

    def _checked(
        self, key: tuple[int, str, str], name: str, load: Callable[[], nn.Module]
    ) -> nn.Module:
        """What `load` gives, loaded once and known to be finite."""
        if key in self._loaded:
            return self._loaded[key]
        try:
            block = load()
        except (RuntimeError, SafetensorError) as error:
            raise ValueError(
                f"{name}: its file does not hold the weights it needs; build it again "
                f"({' '.join(str(error).split())})"
            ) from error
        for tensor, weight in block.state_dict().items():
            bad = int((~weight.isfinite()).sum())
            if bad:
                raise ValueError(
                    f"{name}: {bad} of {weight.numel()} values of {tensor} are not finite; "
                    "build the variant again or leave it out"
                )
        self._loaded[key] = block
        return block
