"""A parent whose layers are read from its files one at a time.

What walks over a model layer by layer asks a `LayerSource` and cannot tell this from a model in
memory: the numbers are bit for bit the same. It does not know data, variants or what is done with
a layer.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from resources.models.blocks import (
    Context,
    HeterogeneousDecoderBlock,
    HeterogeneousDecoderRMSNorm,
    layer_module,
    make_context,
    rotary_embedding,
)
from resources.models.decoder import in_range
from resources.models.loading import check_weights, read_config
from resources.models.names import EMBEDDING, HEAD, NORM, layer_prefix
from resources.models.weights import Weights


class LayerReader:
    """A checkpoint folder as a layer source: nothing is in memory but what was asked for.

    A layer is read anew each time, the embedding by the rows asked for. The output head is needed
    whole and is read for each call of `logits` and dropped after it, unless `keep_head`: then it
    stays from the first call on. Making a reader compares all files' headers with the
    configuration; raises CheckpointError as `loading.load` does.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str | torch.device = "cpu",
        dtype: str = "float32",
        keep_head: bool = False,
    ) -> None:
        self.config = read_config(folder)
        self.device = torch.device(device)
        self.dtype: torch.dtype = getattr(torch, dtype)
        self._weights = Weights(folder)
        check_weights(self._weights, self.config.to_dict())
        self._rotary = rotary_embedding(self.config, self.device)
        self._like = torch.empty(0, device=self.device, dtype=self.dtype)
        self._keep_head = keep_head
        self._head: tuple[HeterogeneousDecoderRMSNorm, Tensor] | None = None

    def layer(self, index: int) -> HeterogeneousDecoderBlock:
        """A new block with the layer's weights; one copy of them, which goes with the block."""
        in_range(self.config, index)
        with torch.device("meta"):
            block = layer_module(self.config, index)
        prefix = layer_prefix(index)
        tensors = self._read(*(prefix + name for name in block.state_dict()))
        block.load_state_dict(
            {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}, assign=True
        )
        return block.eval().requires_grad_(False)

    def embed(self, input_ids: Tensor) -> Tensor:
        """See `LayerSource.embed`; raises IndexError for an id outside the vocabulary."""
        return self._weights.rows(EMBEDDING, input_ids, device=self.device, dtype=self.dtype)

    def context(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        document_ids: Tensor | None = None,
    ) -> Context:
        """See `LayerSource.context`."""
        return make_context(self._rotary, self._like, input_ids, position_ids, document_ids)

    def logits(self, hidden: Tensor) -> Tensor:
        """See `LayerSource.logits`."""
        norm, head = self._head or self._read_head()
        if self._keep_head:
            self._head = norm, head
        return F.linear(norm(hidden), head)

    def layer_digest(self, index: int) -> str:
        """SHA-256 over the layer's tensors as stored: names in the layer, dtypes, shapes, bytes.

        It does not depend on the files they are in, nor on this reader's dtype.
        """
        in_range(self.config, index)
        prefix = layer_prefix(index)
        names = sorted(name for name in self._weights.entries if name.startswith(prefix))
        return self._weights.digest({name.removeprefix(prefix): name for name in names})

    def _read_head(self) -> tuple[HeterogeneousDecoderRMSNorm, Tensor]:
        head = EMBEDDING if self.config.tie_word_embeddings else HEAD
        tensors = self._read(NORM, head)
        with torch.device("meta"):
            norm = HeterogeneousDecoderRMSNorm(self.config.hidden_size, self.config.rms_norm_eps)
        norm.load_state_dict({"weight": tensors[NORM]}, assign=True)
        return norm.requires_grad_(False), tensors[head]

    def _read(self, *names: str) -> dict[str, Tensor]:
        return self._weights.read(names, device=self.device, dtype=self.dtype)
