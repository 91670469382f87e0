"""The heterogeneous Llama: a decoder whose layers may differ in attention and FFN, or lack them.

It computes logits from token ids, in training, packed, and with a key-value cache; with every
layer full it equals `transformers`' Llama. It does not know losses, sampling or checkpoint paths.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from resources.models.blocks import (
    Context,
    HeterogeneousLlamaBlock,
    HeterogeneousLlamaRMSNorm,
    KeyValueCache,
    layer_module,
    make_context,
)
from resources.models.config import HeterogeneousLlamaConfig


class HeterogeneousLlamaPreTrainedModel(PreTrainedModel):
    config_class = HeterogeneousLlamaConfig
    config: HeterogeneousLlamaConfig
    base_model_prefix = "model"
    _no_split_modules = [HeterogeneousLlamaBlock.__name__]  # noqa: RUF012 (as theirs)
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True


class HeterogeneousLlamaModel(HeterogeneousLlamaPreTrainedModel):
    """Embedding, layers and final norm."""

    def __init__(self, config: HeterogeneousLlamaConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(
            layer_module(config, layer) for layer in range(config.num_hidden_layers)
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
        every: bool = True,
    ) -> list[torch.Tensor]:
        """Hidden states `[B, T, H]` before the norm: the embedding's, then every layer's, or the
        last one alone."""
        context = self.context(
            input_ids, position_ids, document_ids, attention_mask, past_key_values
        )
        states = [self.embed_tokens(input_ids)]
        for layer in self.layers:
            # A prefill at 70B would hold 87 GB of states that nobody asked for.
            states = [*(states if every else []), layer(states[-1], context)]
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
        return make_context(
            self.rotary_emb,
            self.norm.weight,
            input_ids,
            position_ids,
            document_ids,
            attention_mask,
            cache,
        )


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
        output_logits: bool = True,
        return_dict: bool = True,
        **unused: Any,
    ) -> CausalLMOutputWithPast:
        """Logits `[B, T, V]` (the last `logits_to_keep` positions only, when not 0; none, when
        `output_logits` is false, for losses that apply the head themselves).

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
        states = self.model(
            input_ids,
            attention_mask,
            position_ids,
            document_ids,
            past_key_values,
            every=output_hidden_states,
        )
        last = states[-1][:, -logits_to_keep:] if logits_to_keep else states[-1]
        normed = self.model.norm(last)
        hidden_states = None
        if output_hidden_states:
            hidden_states = (
                *states[:-1],
                self.model.norm(states[-1]) if logits_to_keep else normed,
            )
        return CausalLMOutputWithPast(
            logits=self.lm_head(normed) if output_logits else None,
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


AutoConfig.register(HeterogeneousLlamaConfig.model_type, HeterogeneousLlamaConfig, exist_ok=True)
AutoModelForCausalLM.register(
    HeterogeneousLlamaConfig, HeterogeneousLlamaForCausalLM, exist_ok=True
)
