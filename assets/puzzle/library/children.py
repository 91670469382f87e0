"""A layer's children: which variants need training, made of the parent's shapes, initialised.

Every variant of attention and of FFN starts from the parent's weights (`initialise.py`); in the
coupled form every pair of variants starts from its two halves. Knows variants and one layer of the
parent; knows nothing of training or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import torch

from assets.puzzle.halves import ATTENTION, FFN, PAIR, half_of, new_half, pair_name, trained
from assets.puzzle.library import initialise
from assets.puzzle.library.bypass import Child, Lesson, errors
from assets.puzzle.library.importance import order

if TYPE_CHECKING:
    from resources.models.blocks import HeterogeneousDecoderBlock
    from resources.models.decoder import LayerSource

OWN = "the parent's weights"


def make_children(
    source: LayerSource,
    layer: int,
    block: HeterogeneousDecoderBlock,
    variants: Mapping[str, Sequence[str]],
    importance: Mapping[str, pa.Table],
    lesson: Lesson,
    coupled: bool = False,
) -> list[Child]:
    """The children of a layer that need training, initialised from the parent's block.

    Fewer key-value heads start from mean pooling or from the most important heads, whichever is
    nearer to the parent on the lesson, with the parent's FFN behind.

    Args:
        variants: the names of `attention` and `ffn` variants.
        importance: the tables `channel_importance` and `kv_head_importance`.
    """
    halves: dict[tuple[str, str], Child] = {}
    for variant in variants[ATTENTION]:
        if trained(variant):
            halves[ATTENTION, variant] = _attention(
                source, layer, block, variant, importance["kv_head_importance"], lesson
            )
    for variant in variants[FFN]:
        if trained(variant):
            halves[FFN, variant] = _ffn(
                source, layer, block, variant, importance["channel_importance"]
            )
    if not coupled:
        return list(halves.values())
    return [
        _pair(source, layer, block, halves, attention, ffn)
        for attention in variants[ATTENTION]
        for ffn in variants[FFN]
        if trained(attention, ffn)
    ]


def _attention(
    source: LayerSource,
    layer: int,
    block: HeterogeneousDecoderBlock,
    variant: str,
    importance: pa.Table,
    lesson: Lesson,
) -> Child:
    parent = half_of(source.config, block, ATTENTION)
    half = new_half(source, layer, ATTENTION, variant)
    initialise.pool_attention(half, parent)
    if variant == "linear":
        return Child(layer, ATTENTION, variant, half, "product of projections")
    pooled = Child(layer, ATTENTION, variant, half, "mean-pooled heads")
    other = new_half(source, layer, ATTENTION, variant)
    initialise.prune_attention(other, parent, order(importance, layer, "head"))
    pruned = Child(layer, ATTENTION, variant, other, "most important heads")
    (of_pooled, of_pruned), _ = errors([pooled, pruned], lesson)
    return pruned if of_pruned < of_pooled else pooled


def _ffn(
    source: LayerSource,
    layer: int,
    block: HeterogeneousDecoderBlock,
    variant: str,
    importance: pa.Table,
) -> Child:
    half = new_half(source, layer, FFN, variant)
    ranked = order(importance, layer, "channel")
    initialise.initialise_ffn(half, half_of(source.config, block, FFN), ranked)
    linear = variant == "linear"
    how = "product of projections" if linear else "most important channels"
    return Child(layer, FFN, variant, half, how)


def _pair(
    source: LayerSource,
    layer: int,
    block: HeterogeneousDecoderBlock,
    halves: Mapping[tuple[str, str], Child],
    attention: str,
    ffn: str,
) -> Child:
    """A whole block of its own: nothing of it is shared with the parent or another pair."""
    variant = pair_name(attention, ffn)
    module = new_half(source, layer, PAIR, variant)
    weights: dict[str, torch.Tensor] = {}
    how = []
    for kind, name in ((ATTENTION, attention), (FFN, ffn)):
        child = halves.get((kind, name))
        if child is not None:
            weights |= child.module.state_dict()
            how.append(child.initialised)
        elif name == "full":
            weights |= half_of(source.config, block, kind).state_dict()
            how.append(OWN)
    module.load_state_dict(weights)
    return Child(layer, PAIR, variant, module, ", ".join(how))
