"""What a language model is to everything above it: layers that are run one after another.

The only surface between models and their users, so that no user names a module of a model. It does
not know families, weights or files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from resources.models.blocks import Context, HeterogeneousDecoderBlock
    from resources.models.config import HeterogeneousDecoderConfig


class Layer(Protocol):
    """A layer, or whatever stands in the place of some: states `[B, T, H]` from states."""

    def __call__(self, hidden: Tensor, context: Context, /) -> Tensor:
        """The states that leave it."""


class LayerSource(Protocol):
    """What a walk over the layers needs of a parent: a model in memory, or a folder."""

    @property
    def config(self) -> HeterogeneousDecoderConfig:
        """The parent's configuration; it has `config.num_hidden_layers` layers."""

    @property
    def device(self) -> torch.device:
        """Where layers and states are."""

    @property
    def dtype(self) -> torch.dtype:
        """Of layers and states."""

    def layer(self, index: int) -> HeterogeneousDecoderBlock:
        """Layer `index`; drop it when done. IndexError outside the layers."""

    def embed(self, input_ids: Tensor) -> Tensor:
        """The states `[B, T, H]` that enter layer 0, for token ids `[B, T]`."""

    def context(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        document_ids: Tensor | None = None,
    ) -> Context:
        """What `layer(hidden, context)` needs for this batch, ids `[B, T]` on `device`.

        Documents are attended to apart; positions count within them unless they are given.
        """

    def logits(self, state: Tensor) -> Tensor:
        """Logits `[B, T, V]` of the states `[B, T, H]` that leave the last layer."""


class Decoder(Protocol):
    """A model in memory. It is also a `LayerSource`, whose methods mean the same here."""

    config: HeterogeneousDecoderConfig

    @property
    def layers(self) -> Sequence[HeterogeneousDecoderBlock]:
        """All layers, in order; the model's own, not copies."""

    def layer(self, index: int) -> HeterogeneousDecoderBlock:
        """See `LayerSource.layer`."""

    def embed(self, input_ids: Tensor) -> Tensor:
        """See `LayerSource.embed`."""

    def context(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        document_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        cache: Any = None,
    ) -> Context:
        """See `LayerSource.context`; also for padded rows and for tokens after cached ones."""

    def run(self, state: Tensor, context: Context, layers: Iterable[Layer] | None = None) -> Tensor:
        """States `[B, T, H]` taken through the model's layers, or through the given ones."""

    def finish(self, state: Tensor) -> Tensor:
        """The final norm of the states that leave the last layer."""

    def head(self, normed: Tensor) -> Tensor:
        """Logits `[..., V]` of states `[..., H]` after the final norm."""

    def logits(self, state: Tensor) -> Tensor:
        """`head(finish(state))`."""


def in_range(config: HeterogeneousDecoderConfig, index: int) -> None:
    """Raise IndexError for a layer that a model of this configuration does not have."""
    if not 0 <= index < config.num_hidden_layers:
        raise IndexError(f"no layer {index}: the layers are 0 to {config.num_hidden_layers - 1}")
