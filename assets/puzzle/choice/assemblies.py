"""What whole assemblies do to the parent's predictions, without writing any of them down.

The parent stays resident, blocks come from the library, and assemblies that begin alike share the
states of their common layers. Knows models, sub-blocks and sequences; knows nothing of the search.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from assets.puzzle.calibration import Sequences
from assets.puzzle.choice.candidate_costs import PARENT
from assets.puzzle.halves import Library
from assets.puzzle.scoring.build import log_probabilities
from warehouse.files.filesystem import replacing

Piece = tuple[tuple[int, ...], str]  # the layers a row covers, and its variant
Assembly = Sequence[Piece]
CHUNK = 64  # assemblies a file of the work folder holds


def assembly_kl(
    library: Library, assemblies: Sequence[Assembly], data: Sequences, **how: Any
) -> np.ndarray:
    """Mean KL(parent ‖ assembly) of each sequence, `[assemblies, N]`, nats a token; `how` as of
    `assembly_measures`."""
    return assembly_measures(library, assemblies, data, **how)[..., 0]


def assembly_measures(
    library: Library,
    assemblies: Sequence[Assembly],
    data: Sequences,
    *,
    batch: int = 32,
    folder: Path | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> np.ndarray:
    """KL(parent ‖ assembly) and cross-entropy of the next token, both nats a token and means over
    each sequence, `[assemblies, N, 2]`.

    Args:
        assemblies: the pieces of each, in layer order, every layer once.
        batch: sequences that go up together.
        folder: where finished chunks are kept, and taken from when they are there.
    """
    order = sorted(range(len(assemblies)), key=lambda place: tuple(assemblies[place]))
    chunks = [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]
    uses = Counter(piece for assembly in assemblies for piece in set(assembly))
    blocks = _Blocks(library, {piece for piece, count in uses.items() if count > 1})
    values = np.zeros((len(assemblies), len(data), 2))
    batches = list(data.batches(batch))
    for number, part in enumerate(batches):
        walk: _Walk | None = None
        begin = number * batch
        for place, chunk in enumerate(chunks):
            file = folder and folder / f"assemblies_{batch}_{number:05d}_{place:05d}.npy"
            if file is not None and file.is_file():
                found = np.load(file, allow_pickle=False)
            else:
                walk = walk or _Walk(library, blocks, part)
                found = np.stack([walk.measures(assemblies[each]) for each in chunk])
                if file is not None:
                    with replacing(file) as aside:
                        np.save(aside, found)
            values[chunk, begin : begin + len(part)] = found
            if progress is not None:
                done = (number * len(chunks) + place + 1) / (len(batches) * len(chunks))
                progress(f"{done:.0%} of {len(assemblies)} assemblies", done)
    return values


class _Blocks:
    """The block of a piece; those that several assemblies use are kept."""

    def __init__(self, library: Library, kept: set[Piece]) -> None:
        self.library, self.kept = library, kept
        self.held: dict[Piece, Callable[..., torch.Tensor]] = {}

    def __getitem__(self, piece: Piece) -> Callable[..., torch.Tensor]:
        if piece not in self.held:
            block = block_of(self.library, piece)
            if piece not in self.kept:
                return block
            self.held[piece] = block
        return self.held[piece]


class _Walk:
    """One batch going up through assemblies in turn; states of a common beginning are kept.

    The first goes on from the parent's own states, as far as it is the parent.
    """

    def __init__(self, library: Library, blocks: _Blocks, part: Sequences) -> None:
        self.parent, self.blocks = library.parent, blocks
        with torch.inference_mode():
            hidden, self.context = part.context(self.parent)
            self.states: list[tuple[Piece | None, torch.Tensor]] = [(None, hidden)]
            for layer in range(self.parent.config.num_hidden_layers):
                hidden = self.parent.layer(layer)(hidden, self.context)
                self.states.append((((layer,), PARENT), hidden))
            self.reference = log_probabilities(self.parent, hidden)
            self.probabilities = self.reference.exp()
        ids, documents = part.input_ids, part.document_ids
        self.following = torch.from_numpy(ids[:, 1:, None]).to(self.reference.device)
        self.counted = documents[:, 1:] == documents[:, :-1]  # a document's first token has no past

    def measures(self, assembly: Assembly) -> np.ndarray:
        """KL to the parent and cross-entropy of each sequence, `[N, 2]`."""
        with torch.inference_mode():
            common = 0
            for piece, (known, _) in zip(assembly, self.states[1:], strict=False):
                if piece != known:
                    break
                common += 1
            del self.states[common + 1 :]
            for piece in assembly[common:]:
                hidden = self.blocks[piece](self.states[-1][1], self.context)
                self.states.append((piece, hidden))
            logs = log_probabilities(self.parent, self.states[-1][1])
            surprise = -logs[:, :-1].gather(-1, self.following)[..., 0].double().cpu().numpy()
            # KL as `divergence` has it, in the array that is there: a vocabulary of logits is wide.
            apart = torch.sub(self.reference, logs, out=logs).mul_(self.probabilities)
            kl = apart.sum(dim=-1).mean(dim=-1).cpu().numpy()
            loss = (surprise * self.counted).sum(axis=1) / np.maximum(self.counted.sum(axis=1), 1)
            return np.stack([kl, loss], axis=-1)


def block_of(library: Library, piece: Piece) -> Callable[[torch.Tensor, Any], torch.Tensor]:
    """The function of a piece, f(hidden, context): a layer's block, or a fused run.

    A fused run is the parallel form of its FFNs: x + Σ_k FFN_k(norm_k(x)).
    """
    layers, variant = piece
    attention, ffn = variant.split("/")
    if attention != "fused":
        return library.block(layers[0], attention, ffn)
    return _Parallel([library.block(layer, "noop", ffn) for layer in layers])


class _Parallel(nn.Module):
    """x + Σ_k (block_k(x) - x): what a fused run computes."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, hidden: torch.Tensor, context: Any) -> torch.Tensor:
        return hidden + sum(block(hidden, context) - hidden for block in self.blocks)
