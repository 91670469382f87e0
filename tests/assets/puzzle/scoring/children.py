"""Replacements of a tiny parent, and what it costs to score them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from assets.puzzle.halves import ATTENTION, FFN, file_name
from assets.puzzle.scoring.build import variant_pairs
from assets.puzzle.scoring.data import Batch
from assets.puzzle.scoring.replacements import Replacement
from resources.models.modeling import HeterogeneousDecoderForCausalLM

VARIANTS = {ATTENTION: ["full", "kv_1", "noop"], FFN: ["full", "ratio_50", "noop"]}
PAIRS = variant_pairs(*VARIANTS.values())
METRICS = ["kl", "lm_loss", "hidden_cosine", "hidden_mse", "top_k"]


def changed(folder: Path, layer: int, kind: str, variant: str, edit: Callable[..., Any]) -> None:
    """Rewrites a half's file with edited weights."""
    file = folder / file_name(layer, kind, variant)
    weights = load_file(file)
    edit(weights)
    save_file(weights, file)


def everything(layers: int = 3) -> list[Replacement]:
    return [
        Replacement((layer,), *pair)
        for layer in range(layers)
        for pair in PAIRS
        if pair != ("full", "full")
    ]


@contextmanager
def layers_run(model: HeterogeneousDecoderForCausalLM) -> Iterator[list[int]]:
    """Counts how often layers of the parent run (entry by entry, so that len() is the count)."""
    calls: list[int] = []
    hooks = [
        layer.register_forward_pre_hook(lambda *_, index=index: calls.append(index))
        for index, layer in enumerate(model.model.layers)
    ]
    yield calls
    for hook in hooks:
        hook.remove()


def batches(data: Any, size: int) -> Iterator[Batch]:
    return (Batch(part) for part in data.batches(size))
