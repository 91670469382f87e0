"""The heterogeneous Llama: a decoder whose layers may differ in attention and FFN, or lack them.

It computes logits from token ids, in training, packed, and with a key-value cache; with every
layer full it equals `transformers`' Llama. It does not know losses, sampling or checkpoint paths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, GenerationMixin
from transformers.activations import ACT2FN
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from resources.models.config import HeterogeneousLlamaConfig
from resources.models.packing import Packing, find_documents


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


class HeterogeneousLlamaRMSNorm(nn.Module):
    """x / rms(x) * weight, computed in at least float32 like Llama's."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.variance_epsilon = eps

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(hidden, self.weight.shape, self.weight, self.variance_epsilon)


class HeterogeneousLlamaAttention(nn.Module):
    """Grouped-query softmax attention; `layer_idx` counts the layers that have a cache."""

    def __init__(self, config: HeterogeneousLlamaConfig, kv_heads: int, layer_idx: int) -> None:
        super().__init__()
        self.layer_idx = layer_idx
        self.head_dim = config.head_dim or config.hidden_size // config.num_attention_heads
        self.heads = config.num_attention_heads
        self.kv_heads = kv_heads
        hidden, bias = config.hidden_size, config.attention_bias
        self.q_proj = nn.Linear(hidden, self.heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(hidden, kv_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(hidden, kv_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(self.heads * self.head_dim, hidden, bias=bias)

    def forward(self, hidden: torch.Tensor, context: Context) -> torch.Tensor:
        split = (*hidden.shape[:-1], -1, self.head_dim)
        q = _rotate(self.q_proj(hidden).view(split), context)
        k = _rotate(self.k_proj(hidden).view(split), context)
        v = self.v_proj(hidden).view(split)
        if context.packing is not None:
            return self.o_proj(context.packing.attend(q, k, v).flatten(2))
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if context.cache is not None:
            k, v = context.cache.update(k, v, self.layer_idx)
            if q.shape[2] == 1 and q.device.type == "cpu":
                return self.o_proj(_attend_one(q, k, v, context.mask))
        out = F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=context.mask,
            is_causal=context.mask is None and q.shape[2] > 1,
            enable_gqa=self.heads != self.kv_heads,
        )
        return self.o_proj(out.transpose(1, 2).flatten(2))


class HeterogeneousLlamaMLP(nn.Module):
    """SwiGLU: down(act(gate(x)) * up(x))."""

    def __init__(self, config: HeterogeneousLlamaConfig, intermediate_size: int) -> None:
        super().__init__()
        hidden, bias = config.hidden_size, config.mlp_bias
        self.gate_proj = nn.Linear(hidden, intermediate_size, bias=bias)
        self.up_proj = nn.Linear(hidden, intermediate_size, bias=bias)
        self.down_proj = nn.Linear(intermediate_size, hidden, bias=bias)
        self.act_fn = ACT2FN[config.hidden_act]

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act_fn(self.gate_proj(hidden)) * self.up_proj(hidden))


class HeterogeneousLlamaLinearAttention(nn.Module):
    """One matrix in the place of attention (Puzzle's "linear"); tokens do not mix."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear_attn = nn.Linear(size, size, bias=False)

    def forward(self, hidden: torch.Tensor, context: Context) -> torch.Tensor:
        return self.linear_attn(hidden)


class HeterogeneousLlamaLinearMLP(nn.Module):
    """One matrix in the place of the FFN (Puzzle's "linear")."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.linear_mlp = nn.Linear(size, size, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.linear_mlp(hidden)


class HeterogeneousLlamaBlock(nn.Module):
    """One layer: x + attention(norm(x)), then x + ffn(norm(x)); a no-op part is None with its norm.

    `layer(hidden [B, T, H], context) -> hidden [B, T, H]`.
    """

    def __init__(
        self, config: HeterogeneousLlamaConfig, block: dict[str, dict[str, Any]], layer_idx: int
    ) -> None:
        super().__init__()
        attention, ffn, size = block["attention"], block["ffn"], config.hidden_size
        self.input_layernorm: nn.Module | None = None
        self.self_attn: nn.Module | None = None
        self.post_attention_layernorm: nn.Module | None = None
        self.mlp: nn.Module | None = None
        if attention["kind"] != "noop":
            self.input_layernorm = HeterogeneousLlamaRMSNorm(size, config.rms_norm_eps)
            self.self_attn = (
                HeterogeneousLlamaLinearAttention(size)
                if attention["kind"] == "linear"
                else HeterogeneousLlamaAttention(
                    config, attention["num_key_value_heads"], layer_idx
                )
            )
        if ffn["kind"] != "noop":
            self.post_attention_layernorm = HeterogeneousLlamaRMSNorm(size, config.rms_norm_eps)
            self.mlp = (
                HeterogeneousLlamaLinearMLP(size)
                if ffn["kind"] == "linear"
                else HeterogeneousLlamaMLP(config, ffn["intermediate_size"])
            )

    def forward(self, hidden: torch.Tensor, context: Context) -> torch.Tensor:
        if self.self_attn is not None and self.input_layernorm is not None:
            hidden = hidden + self.self_attn(self.input_layernorm(hidden), context)
        if self.mlp is not None and self.post_attention_layernorm is not None:
            hidden = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return hidden


class HeterogeneousLlamaPreTrainedModel(PreTrainedModel):
    config_class = HeterogeneousLlamaConfig
    config: HeterogeneousLlamaConfig
    base_model_prefix = "model"
    _no_split_modules = ["HeterogeneousLlamaBlock"]  # noqa: RUF012 (transformers' own convention)
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True


class HeterogeneousLlamaModel(HeterogeneousLlamaPreTrainedModel):
    """Embedding, layers and final norm."""

    def __init__(self, config: HeterogeneousLlamaConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        blocks = config.block_configs or []
        # A cache's length is read from its first layer, which must therefore be one that has keys.
        cached = [block["attention"]["kind"] == "full" for block in blocks]
        self.layers = nn.ModuleList(
            HeterogeneousLlamaBlock(config, block, sum(cached[:layer]))
            for layer, block in enumerate(blocks)
        )
        self.norm = HeterogeneousLlamaRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rotary_emb = LlamaRotaryEmbedding(config=config)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        document_ids: torch.Tensor | None = None,
        past_key_values: KeyValueCache | None = None,
    ) -> list[torch.Tensor]:
        """Hidden states `[B, T, H]`: the embedding, then after every layer (before the norm)."""
        context = self.context(
            input_ids, position_ids, document_ids, attention_mask, past_key_values
        )
        states = [self.embed_tokens(input_ids)]
        for layer in self.layers:
            states.append(layer(states[-1], context))
        return states

    def context(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor | None = None,
        document_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Context:
        """Rotary tables and mask of a batch; see the causal model's `forward` for the arguments."""
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
        cos, sin = self.rotary_emb(self.norm.weight, position_ids)
        half = sin.shape[-1] // 2
        sin = torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)
        mask = _mask(length, past, attention_mask, input_ids.device)
        return Context(cos.unsqueeze(2), sin.unsqueeze(2), mask, packing, cache)


class HeterogeneousLlamaForCausalLM(HeterogeneousLlamaPreTrainedModel, GenerationMixin):
    """The language model: `HeterogeneousLlamaModel` and the output head."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: HeterogeneousLlamaConfig) -> None:
        super().__init__(config)
        self.model = HeterogeneousLlamaModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        document_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        logits_to_keep: int = 0,
        return_dict: bool = True,
        **unused: Any,
    ) -> CausalLMOutputWithPast:
        """Logits `[B, T, V]` (the last `logits_to_keep` positions only, when not 0).

        `attention_mask` `[B, S]` marks padding with 0 and covers cached tokens too; positions
        are counted from the first unmasked token unless `position_ids` `[B, T]` says otherwise.
        `document_ids` `[B, T]` makes attention block-diagonal over the documents of a packed row
        (negative: padding). `hidden_states`, when asked for, is like `transformers`' Llama: the
        last one is after the final norm.
        """
        if unused.get("labels") is not None or unused.get("inputs_embeds") is not None:
            raise ValueError("labels and inputs_embeds are not supported: losses are objectives")
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        states = self.model(input_ids, attention_mask, position_ids, document_ids, past_key_values)
        last = states[-1][:, -logits_to_keep:] if logits_to_keep else states[-1]
        normed = self.model.norm(last)
        hidden_states = None
        if output_hidden_states:
            hidden_states = (
                *states[:-1],
                self.model.norm(states[-1]) if logits_to_keep else normed,
            )
        return CausalLMOutputWithPast(
            logits=self.lm_head(normed),
            past_key_values=past_key_values,
            hidden_states=hidden_states,
        )

    def hidden_states(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor | None = None,
        document_ids: torch.Tensor | None = None,
    ) -> list[torch.Tensor]:
        """`layers + 1` states `[B, T, H]`: layer i takes state i and gives state i + 1."""
        return self.model(input_ids, position_ids=position_ids, document_ids=document_ids)

    def context(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor | None = None,
        document_ids: torch.Tensor | None = None,
    ) -> Context:
        """The context that `layer(hidden, context)` and `run_from` need for this batch."""
        return self.model.context(input_ids, position_ids, document_ids)

    def run_from(self, hidden: torch.Tensor, start_layer: int, context: Context) -> torch.Tensor:
        """Logits `[B, T, V]` from the state that enters `start_layer`, in 0 ... layer count."""
        for layer in self.model.layers[start_layer:]:
            hidden = layer(hidden, context)
        return self.lm_head(self.model.norm(hidden))


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


AutoConfig.register(HeterogeneousLlamaConfig.model_type, HeterogeneousLlamaConfig, exist_ok=True)
AutoModelForCausalLM.register(
    HeterogeneousLlamaConfig, HeterogeneousLlamaForCausalLM, exist_ok=True
)
