"""Sequence parallelism (DeepSpeed Ulysses): the tokens of a micro-batch shared by several ranks.

Everything but attention works on a rank's own tokens. For attention, queries, keys and values are
exchanged so that each rank has all tokens of some heads, and the results are exchanged back
(arXiv 2309.14509). Losses are sums over tokens, so ranks add up to the same loss and gradient. It
knows packed batches and our model's context; nothing of optimizers.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resources.models.blocks import Context
from resources.models.modeling import decoders
from resources.models.packing import Packing, find_documents
from resources.training.data.packing import PADDING_DOCUMENT
from resources.training.objectives import IGNORE

if TYPE_CHECKING:
    from resources.models.config import HeterogeneousDecoderConfig

PADDING = {"labels": IGNORE, "document_ids": PADDING_DOCUMENT}  # 0 elsewhere


@dataclass(frozen=True)
class SharedPacking(Packing):
    """The packing of all tokens of a micro-batch, asked by a rank that has some of them."""

    group: Any = None

    def attend(self, q: Tensor, k: Tensor, v: Tensor, window: int | None = None) -> Tensor:
        """As `Packing.attend`, for this rank's tokens `[B, T / ranks, heads, D]`."""
        from deepspeed.sequence.layer import DistributedAttention

        exchanged = DistributedAttention(
            functools.partial(super().attend, window=window),
            self.group,
            scatter_idx=2,
            gather_idx=1,
        )
        found: Tensor = exchanged(q, k, v, 0)
        return found


class Team:
    """The ranks that share micro-batches with this one: `size` neighbours of all ranks.

    All ranks must make theirs. Raises ValueError where the ranks do not divide into teams.
    """

    def __init__(self, size: int) -> None:
        world, rank = torch.distributed.get_world_size(), torch.distributed.get_rank()
        if world % size:
            raise ValueError(f"sequence_parallel is {size}; it must divide the {world} ranks")
        self.size, self.number, self.place = size, rank // size, rank % size
        self.teams = world // size
        self.group: Any = None
        if size > 1:
            groups = [
                torch.distributed.new_group(list(range(first, first + size)))
                for first in range(0, world, size)
            ]
            self.group = groups[self.number]

    def join(self, model: nn.Module) -> None:
        """Let the model (a teacher as well) compute this rank's share of a shared micro-batch.

        Whole micro-batches are computed as before. Raises ValueError where heads cannot be shared.
        """
        if self.size == 1:
            return
        found = decoders(model)
        if not found:
            raise ValueError(
                f"sequence_parallel: {type(model).__name__} holds no decoder of ours, and other "
                "attention is not known"
            )
        for decoder in found:
            self._divides(decoder.config)
            decoder.__dict__["context"] = functools.partial(_context, decoder.context, self.group)

    def _divides(self, config: HeterogeneousDecoderConfig) -> None:
        heads = config.num_attention_heads
        for layer, block in enumerate(config.block_configs or []):
            keys = block["attention"]["num_key_value_heads"]
            if keys is not None and (keys % self.size or heads % self.size):
                raise ValueError(
                    f"sequence_parallel is {self.size}, but layer {layer}'s attention has {heads} "
                    f"query and {keys} key-value heads: each rank takes whole heads, so both must "
                    f"be multiples of {self.size}"
                )

    @staticmethod
    def leave(model: nn.Module) -> None:
        """Undo `join`; nothing happens where it was not called."""
        for decoder in decoders(model):
            decoder.__dict__.pop("context", None)

    def share(self, batch: dict[str, Any]) -> dict[str, Any]:
        """This rank's share of a packed micro-batch, padded so that all shares are equal.

        Everything of shape `[B, T, ...]` is cut along T, but `document_ids` stays whole: attention
        needs it, and a model that has not joined refuses the batch for it.
        """
        if self.size == 1:
            return batch
        if "document_ids" not in batch:
            raise ValueError(
                f"sequence_parallel needs packed micro-batches (document_ids); this one has "
                f"{sorted(batch)}"
            )
        shape = batch["input_ids"].shape
        share = -(-shape[1] // self.size)
        mine = slice(self.place * share, (self.place + 1) * share)
        found: dict[str, Any] = {}
        for name, value in batch.items():
            if not isinstance(value, Tensor) or value.dim() == 0:
                found[name] = value
                continue
            if value.shape[:2] != shape:
                raise ValueError(
                    f"sequence_parallel: {name!r} has shape {tuple(value.shape)}, the tokens "
                    f"{tuple(shape)}: only losses that are sums over tokens can be shared"
                )
            empty = (0, 0) * (value.dim() - 2)
            extra = share * self.size - shape[1]
            padded = F.pad(value, (*empty, 0, extra), value=PADDING.get(name, 0))
            found[name] = padded if name == "document_ids" else padded[:, mine].contiguous()
        return found


def _context(
    alone: Callable[..., Context],
    group: Any,
    input_ids: Tensor,
    position_ids: Tensor | None = None,
    document_ids: Tensor | None = None,
    attention_mask: Tensor | None = None,
    cache: Any = None,
) -> Context:
    """The model's own context, with attention over the tokens of the whole team."""
    if document_ids is None or document_ids.shape == input_ids.shape:
        return alone(input_ids, position_ids, document_ids, attention_mask, cache)
    context = alone(input_ids, position_ids)
    shared = SharedPacking(**vars(find_documents(document_ids)), group=group)
    return dataclasses.replace(context, packing=shared)
