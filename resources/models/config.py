"""Configuration of the heterogeneous decoder: Llama's fields plus one entry a layer.

It checks shapes, so that a wrong architecture fails here with the layer named and not inside a
matrix product. It does not know weights.
"""

from __future__ import annotations

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import LlamaConfig

KINDS = ("full", "linear", "noop")
OWN = ("window", "rope")  # what a layer's attention may have of its own, besides its heads


@strict
class HeterogeneousDecoderConfig(LlamaConfig):
    """Llama whose layers differ: `block_configs[i]` says what layer i holds.

    Each entry is `{"attention": {"kind", "num_key_value_heads"}, "ffn": {"kind",
    "intermediate_size"}}` with kind "full" (softmax attention, SwiGLU), "linear" (one matrix) or
    "noop" (nothing, its norm included). Left out, every layer is full with the global sizes.
    A full attention may also have a `window` (positions a token attends to, itself included) and
    `rope` false (no rotary embedding). The global `num_key_value_heads` and `intermediate_size`
    are the parent's. `attention_bias` gives all four projections of attention a bias, `qkv_bias`
    (Qwen2) all but the output's; `qk_norm` (Qwen3) normalises the queries and keys of each head.
    `family` is the parent's model type where it is not Llama.
    """

    model_type = "heterogeneous_llama"  # the name that saved checkpoints carry
    qkv_bias: bool = False
    qk_norm: bool = False
    family: str | None = None
    block_configs: list[Any] | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.attention_dropout:
            raise ValueError("attention_dropout is not supported: use 0")
        if self.block_configs is None:
            self.block_configs = [{} for _ in range(self.num_hidden_layers)]
        if len(self.block_configs) != self.num_hidden_layers:
            raise ValueError(
                f"block_configs has {len(self.block_configs)} entries for "
                f"num_hidden_layers = {self.num_hidden_layers}: one a layer is needed"
            )
        self.block_configs = [
            self._block(layer, block) for layer, block in enumerate(self.block_configs)
        ]

    def _block(self, layer: int, block: dict[str, Any]) -> dict[str, dict[str, Any]]:
        where = f"block_configs[{layer}]"
        _known(where, block, ("attention", "ffn"))
        attention = self._part(
            f"{where}.attention",
            block.get("attention", {}),
            "num_key_value_heads",
            self.num_key_value_heads,
            OWN,
        )
        if attention["kind"] == "full":
            attention |= self._own(f"{where}.attention", block.get("attention", {}))
        heads = attention["num_key_value_heads"]
        if heads is not None and self.num_attention_heads % heads:
            raise ValueError(
                f"{where}.attention: {heads} key-value heads do not divide "
                f"{self.num_attention_heads} query heads"
            )
        ffn = self._part(
            f"{where}.ffn", block.get("ffn", {}), "intermediate_size", self.intermediate_size
        )
        return {"attention": attention, "ffn": ffn}

    @staticmethod
    def _own(where: str, part: dict[str, Any]) -> dict[str, Any]:
        """What a layer's attention has of its own; what is as usual is not written down."""
        window, rope = part.get("window"), part.get("rope", True)
        if window is not None and (not isinstance(window, int) or window < 1):
            raise ValueError(f"{where}: window must be a positive integer, not {window!r}")
        made: dict[str, Any] = {} if window is None else {"window": window}
        return made if rope else made | {"rope": False}

    def validate_architecture(self) -> None:
        """Heads may have a size of their own, so they need not divide the hidden size."""

    @staticmethod
    def _part(
        where: str,
        part: dict[str, Any],
        size_key: str,
        default: int | None,
        further: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        _known(where, part, ("kind", size_key, *further))
        kind = part.get("kind", "full")
        if kind not in KINDS:
            raise ValueError(f"{where}: kind {kind!r} is unknown: use one of {', '.join(KINDS)}")
        if kind != "full":
            return {"kind": kind, size_key: None}
        size = part.get(size_key)
        size = default if size is None else size
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"{where}: {size_key} must be a positive integer, not {size!r}")
        return {"kind": kind, size_key: size}


def _known(where: str, value: dict[str, Any], keys: tuple[str, ...]) -> None:
    unknown = set(value) - set(keys)
    if unknown:
        raise ValueError(
            f"{where}: unknown key {sorted(unknown)[0]!r}: known are {', '.join(keys)}"
        )
