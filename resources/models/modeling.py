"""The heterogeneous decoder: one whose layers may differ in attention and FFN, or lack them.

It computes logits from token ids, in training, packed, and with a key-value cache; with every
layer full it equals `transformers`' Llama. It does not know losses, sampling or checkpoint paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel

from resources.models.blocks import (
    Context,
    HeterogeneousDecoderBlock,
    HeterogeneousDecoderRMSNorm,
    KeyValueCache,
    layer_module,
    make_context,
    rotary_embedding,
)
from resources.models.config import HeterogeneousDecoderConfig
from resources.models.decoder import Layer, in_range


class HeterogeneousDecoderPreTrainedModel(PreTrainedModel):
    config_class = HeterogeneousDecoderConfig
    config: HeterogeneousDecoderConfig
    base_model_prefix = "model"
    _no_split_modules = [HeterogeneousDecoderBlock.__name__]  # noqa: RUF012 (as theirs)
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True


class HeterogeneousDecoderModel(HeterogeneousDecoderPreTrainedModel):
    """Embedding, layers, final norm and rotary embedding; the causal model runs them."""

    def __init__(self, config: HeterogeneousDecoderConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList(
            layer_module(config, layer) for layer in range(config.num_hidden_layers)
        )
        self.norm = HeterogeneousDecoderRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rotary_emb = rotary_embedding(config)
        self.post_init()


class HeterogeneousDecoderForCausalLM(HeterogeneousDecoderPreTrainedModel, GenerationMixin):
    """The language model, a `resources.models.decoder.Decoder`: the body and the output head."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: HeterogeneousDecoderConfig) -> None:
        super().__init__(config)
        self.model = HeterogeneousDecoderModel(config)
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
        context = self.context(
            input_ids, position_ids, document_ids, attention_mask, past_key_values
        )
        states = [self.embed(input_ids)]
        if output_hidden_states:
            for layer in self.layers:
                states.append(layer(states[-1], context))
        else:
            # A prefill at 70B would hold 87 GB of states that nobody asked for.
            states = [self.run(states.pop(), context)]
        last = states[-1][:, -logits_to_keep:] if logits_to_keep else states[-1]
        normed = self.finish(last)
        logits: Any = self.head(normed) if output_logits else None
        hidden_states: Any = None
        if output_hidden_states:
            hidden_states = (
                *states[:-1],
                self.finish(states[-1]) if logits_to_keep else normed,
            )
        return CausalLMOutputWithPast(
            logits=logits,
            past_key_values=past_key_values,
            hidden_states=hidden_states,
        )

    @property
    def layers(self) -> Sequence[HeterogeneousDecoderBlock]:
        """See `Decoder.layers`."""
        return cast("Sequence[HeterogeneousDecoderBlock]", self.model.layers)

    def layer(self, index: int) -> HeterogeneousDecoderBlock:
        """The model's own layer, not a copy; IndexError outside the layers."""
        in_range(self.config, index)
        return self.layers[index]

    def embed(self, input_ids: torch.Tensor) -> torch.Tensor:
        """See `Decoder.embed`."""
        states: torch.Tensor = self.model.embed_tokens(input_ids)
        return states

    def context(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor | None = None,
        document_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Context:
        """See `Decoder.context`; the arguments are those of `forward`."""
        return make_context(
            self.model.rotary_emb,
            self.model.norm.weight,
            input_ids,
            position_ids,
            document_ids,
            attention_mask,
            cache,
        )

    def run(
        self, state: torch.Tensor, context: Context, layers: Iterable[Layer] | None = None
    ) -> torch.Tensor:
        """See `Decoder.run`."""
        for layer in self.layers if layers is None else layers:
            state = layer(state, context)
        return state

    def finish(self, state: torch.Tensor) -> torch.Tensor:
        """See `Decoder.finish`."""
        return self.model.norm(state)

    def head(self, normed: torch.Tensor) -> torch.Tensor:
        """See `Decoder.head`."""
        return self.lm_head(normed)

    def logits(self, state: torch.Tensor) -> torch.Tensor:
        """See `Decoder.logits`."""
        return self.head(self.finish(state))

    def renew_tables(self) -> None:
        """Compute what is not stored (rotary frequencies) for a model made without weights."""
        self.model.rotary_emb = rotary_embedding(self.config, self.device)


def decoders(model: nn.Module) -> list[HeterogeneousDecoderForCausalLM]:
    """The decoders in a module, itself included: the one under a reward head, say."""
    return [m for m in model.modules() if isinstance(m, HeterogeneousDecoderForCausalLM)]


AutoConfig.register(
    HeterogeneousDecoderConfig.model_type, HeterogeneousDecoderConfig, exist_ok=True
)
AutoModelForCausalLM.register(
    HeterogeneousDecoderConfig, HeterogeneousDecoderForCausalLM, exist_ok=True
)
