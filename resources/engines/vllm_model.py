"""The heterogeneous decoder in vLLM's own layers: what the plugin serves.

Computes what `resources.models.modeling` does, from the same configuration and tensor names, with
vLLM's attention and cache. vLLM alone imports it.
"""

# No postponed annotations: vLLM's compilation reads those of `forward` as types.
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from vllm.compilation.decorators import support_torch_compile
from vllm.config import CacheConfig, VllmConfig
from vllm.distributed import get_tensor_model_parallel_world_size
from vllm.model_executor.layers.attention import Attention
from vllm.model_executor.layers.layernorm import RMSNorm
from vllm.model_executor.layers.linear import (
    QKVParallelLinear,
    ReplicatedLinear,
    RowParallelLinear,
)
from vllm.model_executor.layers.logits_processor import LogitsProcessor
from vllm.model_executor.layers.rotary_embedding import get_rope
from vllm.model_executor.layers.vocab_parallel_embedding import (
    ParallelLMHead,
    VocabParallelEmbedding,
)
from vllm.model_executor.models.llama import LlamaMLP
from vllm.model_executor.models.utils import AutoWeightsLoader, WeightsMapper, maybe_prefix
from vllm.sequence import IntermediateTensors

from resources.models.config import HeterogeneousDecoderConfig


class _Attention(nn.Module):
    """Softmax attention as an entry of `block_configs` describes it."""

    def __init__(
        self,
        config: HeterogeneousDecoderConfig,
        entry: Mapping[str, Any],
        cache_config: CacheConfig | None,
        prefix: str,
    ) -> None:
        super().__init__()
        ranks = get_tensor_model_parallel_world_size()
        heads, keys = config.num_attention_heads, entry["num_key_value_heads"]
        self.head_dim: int = config.head_dim or config.hidden_size // heads
        self.sizes = [
            heads // ranks * self.head_dim,
            *[max(1, keys // ranks) * self.head_dim] * 2,
        ]
        self.qkv_proj = QKVParallelLinear(
            config.hidden_size,
            self.head_dim,
            heads,
            keys,
            bias=config.attention_bias or config.qkv_bias,
            prefix=f"{prefix}.qkv_proj",
        )
        self.o_proj = RowParallelLinear(
            heads * self.head_dim,
            config.hidden_size,
            bias=config.attention_bias,
            prefix=f"{prefix}.o_proj",
        )
        self.q_norm: nn.Module | None = None
        self.k_norm: nn.Module | None = None
        if config.qk_norm:
            self.q_norm = RMSNorm(self.head_dim, eps=config.rms_norm_eps)
            self.k_norm = RMSNorm(self.head_dim, eps=config.rms_norm_eps)
        self.rotary_emb: nn.Module | None = None
        if entry.get("rope", True):
            self.rotary_emb = get_rope(
                self.head_dim,
                max_position=config.max_position_embeddings,
                rope_parameters=config.rope_parameters,
            )
        self.attn = Attention(
            heads // ranks,
            self.head_dim,
            self.head_dim**-0.5,
            num_kv_heads=max(1, keys // ranks),
            cache_config=cache_config,
            per_layer_sliding_window=entry.get("window"),
            prefix=f"{prefix}.attn",
        )

    def forward(self, positions: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        projected, _ = self.qkv_proj(hidden)
        q, k, v = projected.split(self.sizes, dim=-1)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self._normed(self.q_norm, q), self._normed(self.k_norm, k)
        if self.rotary_emb is not None:
            q, k = self.rotary_emb(positions, q, k)
        out: torch.Tensor = self.o_proj(self.attn(q, k, v))[0]
        return out

    def _normed(self, norm: nn.Module, x: torch.Tensor) -> torch.Tensor:
        by_head: torch.Tensor = norm(x.unflatten(-1, (-1, self.head_dim)).contiguous())
        return by_head.flatten(-2)


class _LinearAttention(nn.Module):
    """One matrix in the place of attention."""

    def __init__(self, size: int, prefix: str) -> None:
        super().__init__()
        self.linear_attn = ReplicatedLinear(size, size, bias=False, prefix=f"{prefix}.linear_attn")

    def forward(self, positions: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.linear_attn(hidden)[0]
        return out


class _LinearMLP(nn.Module):
    """One matrix in the place of the FFN."""

    def __init__(self, size: int, prefix: str) -> None:
        super().__init__()
        self.linear_mlp = ReplicatedLinear(size, size, bias=False, prefix=f"{prefix}.linear_mlp")

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.linear_mlp(hidden)[0]
        return out


class _Layer(nn.Module):
    """x + attention(norm(x)), then x + ffn(norm(x)); a part that is not there has no norm."""

    def __init__(
        self,
        config: HeterogeneousDecoderConfig,
        block: Mapping[str, Mapping[str, Any]],
        cache_config: CacheConfig | None,
        prefix: str,
    ) -> None:
        super().__init__()
        attention, ffn, size = block["attention"], block["ffn"], config.hidden_size
        self.self_attn: nn.Module | None = None
        self.mlp: nn.Module | None = None
        if attention["kind"] != "noop":
            name = f"{prefix}.self_attn"
            self.input_layernorm = RMSNorm(size, eps=config.rms_norm_eps)
            self.self_attn = (
                _LinearAttention(size, name)
                if attention["kind"] == "linear"
                else _Attention(config, attention, cache_config, name)
            )
        if ffn["kind"] != "noop":
            name = f"{prefix}.mlp"
            self.post_attention_layernorm = RMSNorm(size, eps=config.rms_norm_eps)
            self.mlp = (
                _LinearMLP(size, name)
                if ffn["kind"] == "linear"
                else LlamaMLP(
                    size,
                    ffn["intermediate_size"],
                    config.hidden_act,
                    bias=config.mlp_bias,
                    prefix=name,
                )
            )

    def forward(self, positions: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        if self.self_attn is not None:
            hidden = hidden + self.self_attn(positions, self.input_layernorm(hidden))
        if self.mlp is not None:
            hidden = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return hidden


@support_torch_compile
class _Body(nn.Module):
    """Embedding, layers and final norm."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        config: HeterogeneousDecoderConfig = vllm_config.model_config.hf_config
        self.embed_tokens = VocabParallelEmbedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            _Layer(config, block, vllm_config.cache_config, f"{prefix}.layers.{index}")
            for index, block in enumerate(config.block_configs or [])
        )
        self.norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(
        self,
        input_ids: torch.Tensor | None,
        positions: torch.Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        hidden = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        for layer in self.layers:
            hidden = layer(positions, hidden)
        normed: torch.Tensor = self.norm(hidden)
        return normed


class HeterogeneousDecoderForVLLM(nn.Module):
    """The model that vLLM makes of a folder of ours."""

    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_stacked={
            ".q_proj": (".qkv_proj", "q"),
            ".k_proj": (".qkv_proj", "k"),
            ".v_proj": (".qkv_proj", "v"),
            ".gate_proj": (".gate_up_proj", 0),
            ".up_proj": (".gate_up_proj", 1),
        }
    )

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        config: HeterogeneousDecoderConfig = vllm_config.model_config.hf_config
        self.config = config
        self.model = _Body(vllm_config=vllm_config, prefix=maybe_prefix(prefix, "model"))
        self.lm_head = ParallelLMHead(
            config.vocab_size, config.hidden_size, prefix=maybe_prefix(prefix, "lm_head")
        )
        if config.tie_word_embeddings:
            self.lm_head = self.lm_head.tie_weights(self.model.embed_tokens)
        self.logits_processor = LogitsProcessor(config.vocab_size)

    def embed_input_ids(self, input_ids: torch.Tensor) -> torch.Tensor:
        """States `[T, H]` that enter the first layer."""
        return self.model.embed_tokens(input_ids)

    def forward(
        self,
        input_ids: torch.Tensor | None,
        positions: torch.Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """States `[T, H]` after the final norm."""
        return self.model(input_ids, positions, intermediate_tensors, inputs_embeds)

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor | None:
        """Logits `[T, V]`."""
        return self.logits_processor(self.lm_head, hidden_states)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Fill the model from tensors under our names; the names of what was filled."""
        loader = AutoWeightsLoader(self)
        return loader.load_weights(weights, mapper=self.hf_to_vllm_mapper)
