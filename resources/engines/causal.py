"""A model that only answers: of our families as ours, any other as transformers has it.

It gives other families' models the surface that the decode loop knows; it does not know requests.
Code that comes with a checkpoint is never run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from transformers import AutoModelForCausalLM, DynamicCache

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Causal(Protocol):
    """What the decode loop needs of a model; ours have it as they are."""

    @property
    def config(self) -> Any:
        """Its configuration, `max_position_embeddings` among it."""

    @property
    def training(self) -> bool:
        """Whether dropout is on."""

    @property
    def device(self) -> torch.device:
        """Where its weights are."""

    def eval(self) -> Any:
        """Switch dropout off."""

    def train(self, mode: bool = True) -> Any:
        """Switch dropout as in training."""

    def __call__(self, ids: torch.Tensor, **given: Any) -> Any:
        """`logits` `[B, kept, V]` for token ids `[B, T]`, appending to `past_key_values`."""


class ForeignCache(DynamicCache):
    """transformers' own cache with the two words of the decode loop's."""

    def advance(self, tokens: int) -> None:
        """Nothing: a forward pass counts its tokens itself."""

    def select(self, rows: torch.Tensor) -> None:
        """Keep the given rows of the batch, in that order; rows may repeat."""
        self.batch_select_indices(rows)


class ForeignModel:
    """A causal model of another family."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.config = model.config.get_text_config()

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.model.device

    @property
    def training(self) -> bool:
        """Whether dropout is on."""
        return self.model.training

    def eval(self) -> ForeignModel:
        """Switch dropout off."""
        self.model.eval()
        return self

    def train(self, mode: bool = True) -> ForeignModel:
        """Switch dropout as in training."""
        self.model.train(mode)
        return self

    def new_cache(self) -> ForeignCache:
        """An empty cache, with windows where the model has them."""
        return ForeignCache(config=self.config)

    def __call__(self, ids: torch.Tensor, **given: Any) -> Any:
        """`logits` `[B, kept, V]` for token ids `[B, T]`, appending to `past_key_values`."""
        return self.model(ids, use_cache=True, **given)


def load_causal(folder: str | Path, *, device: str = "cpu", dtype: str = "float32") -> Causal:
    """The model in a checkpoint folder, in evaluation mode.

    A configuration that is none of ours is left to transformers. Raises CheckpointError where it
    does not know the family either.
    """
    from resources.models.loading import load
    from resources.pretrained.checking import family_config

    if family_config(Path(folder), "teacher") is not None:
        return load(folder, device=device, dtype=dtype)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), trust_remote_code=False, local_files_only=True
    )
    torch.nn.Module.to(model, device=torch.device(device))
    return ForeignModel(model).eval()
