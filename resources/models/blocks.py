"""One layer of the heterogeneous decoder: attention, FFN, their stand-ins, and what they are told.

It computes hidden states from hidden states; a part that is not there is None with its norm. It
does not know embeddings, the stack of layers, losses or checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn
from transformers.activations import ACT2FN
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from resources.models.config import HeterogeneousDecoderConfig
from resources.models.packing import Packing, find_documents, near


class KeyValueCache(Protocol):
    """What attention needs of a cache; `transformers`' caches have it too."""

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append `[B, kv_heads, T, D]` and return all keys and values so far."""

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens held."""


@dataclass(frozen=True)
class Context:
    """What every layer needs besides the hidden states; made once a forward pass.

    cos and sin are `[B or 1, T, 1, D]`, the first half of sin negated; mask is a boolean
    `[B or 1, 1, T, S]` (true: may attend) or None for plain causal attention.
    """

    cos: torch.Tensor
    sin: torch.Tensor
    mask: torch.Tensor | None = None
    packing: Packing | None = None
    cache: KeyValueCache | None = None
    _bands: dict[int, torch.Tensor] = field(default_factory=dict, compare=False, repr=False)

    def windowed(self, window: int | None, queries: int, keys: int) -> torch.Tensor | None:
        """The mask for attention to the last `window` positions only, made once a window.

        As `mask` where there is no window, or where it hides none of the `keys` positions.
        """
        if window is None or keys <= window:
            return self.mask
        if window not in self._bands:
            band = near(queries, keys, window, self.cos.device)
            # A padding token's own position is in the band as it is in the mask.
            self._bands[window] = band if self.mask is None else self.mask & band
        return self._bands[window]


class HeterogeneousDecoderRMSNorm(nn.Module):
    """x / rms(x) * weight, computed in at least float32 like Llama's."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.variance_epsilon = eps

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(hidden, self.weight.shape, self.weight, self.variance_epsilon)


class HeterogeneousDecoderAttention(nn.Module):
    """Grouped-query softmax attention, as an entry of `block_configs` describes it.

    `layer_idx` counts the layers that have a cache.
    """

    def __init__(
        self, config: HeterogeneousDecoderConfig, entry: Mapping[str, Any], layer_idx: int
    ) -> None:
        super().__init__()
        self.layer_idx = layer_idx
        self.window: int | None = entry.get("window")
        self.rope: bool = entry.get("rope", True)
        self.head_dim = config.head_dim or config.hidden_size // config.num_attention_heads
        self.heads = config.num_attention_heads
        self.kv_heads: int = entry["num_key_value_heads"]
        hidden, bias = config.hidden_size, config.attention_bias or config.qkv_bias
        self.q_proj = nn.Linear(hidden, self.heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(hidden, self.kv_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(hidden, self.kv_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(self.heads * self.head_dim, hidden, bias=config.attention_bias)
        self.q_norm: nn.Module | None = None
        self.k_norm: nn.Module | None = None
        if config.qk_norm:
            self.q_norm = HeterogeneousDecoderRMSNorm(self.head_dim, config.rms_norm_eps)
            self.k_norm = HeterogeneousDecoderRMSNorm(self.head_dim, config.rms_norm_eps)

    def forward(self, hidden: torch.Tensor, context: Context) -> torch.Tensor:
        split = (*hidden.shape[:-1], -1, self.head_dim)
        q, k, v = (part(hidden).view(split) for part in (self.q_proj, self.k_proj, self.v_proj))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if self.rope:
            q, k = _rotate(q, context), _rotate(k, context)
        if context.packing is not None:
            return self.o_proj(context.packing.attend(q, k, v, self.window).flatten(2))
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if context.cache is not None:
            k, v = context.cache.update(k, v, self.layer_idx)
            if q.shape[2] == 1 and q.device.type == "cpu":
                mask = context.mask
                if self.window is not None:
                    k, v = k[:, :, -self.window :], v[:, :, -self.window :]
                    mask = None if mask is None else mask[..., -self.window :]
                return self.o_proj(_attend_one(q, k, v, mask))
        mask = context.windowed(self.window, q.shape[2], k.shape[2])
        out = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=mask,
            is_causal=mask is None and q.shape[2] > 1,
            enable_gqa=self.heads != self.kv_heads,
        )
        return self.o_proj(out.transpose(1, 2).flatten(2))


class HeterogeneousDecoderMLP(nn.Module):
    """SwiGLU: down(act(gate(x)) * up(x))."""

    def __init__(self, config: HeterogeneousDecoderConfig, intermediate_size: int) -> None:
        super().__init__()
        hidden, bias = config.hidden_size, config.mlp_bias
        self.gate_proj = nn.Linear(hidden, intermediate_size, bias=bias)
        self.up_proj = nn.Linear(hidden, intermediate_size, bias=bias)
        self.down_proj = nn.Linear(intermediate_size, hidden, bias=bias)
        self.act_fn = ACT2FN[config.hidden_act]

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act_fn(self.gate_proj(hidden)) * self.up_proj(hidden))


class HeterogeneousDecoderLinearAttention(nn.Module):
    """One matrix in the place of attention (Puzzle's "linear"); tokens do not mix."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear_attn = nn.Linear(size, size, bias=False)

    def forward(self, hidden: torch.Tensor, context: Context) -> torch.Tensor:
        return self.linear_attn(hidden)


class HeterogeneousDecoderLinearMLP(nn.Module):
    """One matrix in the place of the FFN (Puzzle's "linear")."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear_mlp = nn.Linear(size, size, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.linear_mlp(hidden)


class HeterogeneousDecoderBlock(nn.Module):
    """One layer: x + attention(norm(x)), then x + ffn(norm(x)); a no-op part is None with its norm.

    `layer(hidden [B, T, H], context) -> hidden [B, T, H]`.
    """

    def __init__(
        self, config: HeterogeneousDecoderConfig, block: dict[str, dict[str, Any]], layer_idx: int
    ) -> None:
        super().__init__()
        attention, ffn, size = block["attention"], block["ffn"], config.hidden_size
        self.input_layernorm: nn.Module | None = None
        self.self_attn: nn.Module | None = None
        self.post_attention_layernorm: nn.Module | None = None
        self.mlp: nn.Module | None = None
        if attention["kind"] != "noop":
            self.input_layernorm = HeterogeneousDecoderRMSNorm(size, config.rms_norm_eps)
            self.self_attn = (
                HeterogeneousDecoderLinearAttention(size)
                if attention["kind"] == "linear"
                else HeterogeneousDecoderAttention(config, attention, layer_idx)
            )
        if ffn["kind"] != "noop":
            self.post_attention_layernorm = HeterogeneousDecoderRMSNorm(size, config.rms_norm_eps)
            self.mlp = (
                HeterogeneousDecoderLinearMLP(size)
                if ffn["kind"] == "linear"
                else HeterogeneousDecoderMLP(config, ffn["intermediate_size"])
            )

    def forward(self, hidden: torch.Tensor, context: Context) -> torch.Tensor:
        if self.self_attn is not None and self.input_layernorm is not None:
            hidden = hidden + self.self_attn(self.input_layernorm(hidden), context)
        if self.mlp is not None and self.post_attention_layernorm is not None:
            hidden = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return hidden


def layer_module(config: HeterogeneousDecoderConfig, layer: int) -> HeterogeneousDecoderBlock:
    """Layer `layer` of a model of this configuration, its weights not yet set."""
    blocks = config.block_configs or []
    # A cache's length is read from its first layer, which must therefore be one that has keys.
    cached = sum(block["attention"]["kind"] == "full" for block in blocks[:layer])
    return HeterogeneousDecoderBlock(config, blocks[layer], cached)


def rotary_embedding(
    config: HeterogeneousDecoderConfig, device: torch.device | str | None = None
) -> nn.Module:
    """The rotary tables of a model; of every rotary type that is supported."""
    rotary = LlamaRotaryEmbedding(config)
    return rotary if device is None else rotary.to(device)


def make_context(
    rotary: nn.Module,
    like: torch.Tensor,
    input_ids: torch.Tensor,
    position_ids: torch.Tensor | None = None,
    document_ids: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    cache: KeyValueCache | None = None,
) -> Context:
    """The context of a batch, with rotary tables of the device and dtype of `like`.

    `rotary` is what `rotary_embedding` gives; the other arguments are those of the causal model's
    `forward`. Raises ValueError for packed documents with a mask or a cache.
    """
    packing = None
    if document_ids is not None:
        if attention_mask is not None or cache is not None:
            raise ValueError("packed documents go without attention_mask and without a cache")
        packing = find_documents(document_ids)
    length = input_ids.shape[1]
    past = cache.get_seq_length() if cache is not None else 0
    if attention_mask is not None and bool(attention_mask.all()):
        attention_mask = None
    if position_ids is None:
        if packing is not None:
            position_ids = packing.positions
        elif attention_mask is not None:
            position_ids = (attention_mask.long().cumsum(1) - 1).clamp(min=0)[:, -length:]
        else:
            position_ids = torch.arange(past, past + length, device=input_ids.device)[None]
    cos, sin = rotary(like, position_ids)
    half = sin.shape[-1] // 2
    sin = torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)
    mask = _mask(length, past, attention_mask, input_ids.device)
    return Context(cos.unsqueeze(2), sin.unsqueeze(2), mask, packing, cache)


def _rotate(x: torch.Tensor, context: Context) -> torch.Tensor:
    """Rotary embedding of `[B, T, heads, D]`."""
    return x * context.cos + x.roll(x.shape[-1] // 2, -1) * context.sin


def _attend_one(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Attention of a single new token, q `[B, heads, 1, D]`, returned as `[B, 1, heads * D]`.

    The query heads of one key-value head are the rows of one matrix product: on CPUs half the
    time of the fused kernel, which is made for long queries.
    """
    batch, heads, _, size = q.shape
    scores = torch.matmul(q.reshape(batch, k.shape[1], -1, size) * size**-0.5, k.mT)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    weights = scores.float().softmax(-1).to(v.dtype)
    return torch.matmul(weights, v).reshape(batch, 1, heads * size)


def _mask(
    length: int, past: int, attention_mask: torch.Tensor | None, device: torch.device
) -> torch.Tensor | None:
    """True where a query may attend, `[B or 1, 1, T, S]`, or None for plain causal attention."""
    if attention_mask is None and (past == 0 or length == 1):
        return None
    total = past + length
    columns = torch.arange(total, device=device)
    rows = torch.arange(past, total, device=device)
    mask = (columns[None] <= rows[:, None])[None, None]
    if attention_mask is not None:
        if attention_mask.shape[1] != total:
            raise ValueError(
                f"attention_mask covers {attention_mask.shape[1]} tokens, but {past} cached and "
                f"{length} new ones make {total}"
            )
        mask = mask & attention_mask.bool()[:, None, None, :]
        # A padding token must attend to something, or its row becomes not-a-number.
        mask = mask | (columns[None] == rows[:, None])[None, None]
    return mask
