"""Parameters, bytes and floating-point operations of a heterogeneous decoder, in closed form.

From sizes alone, without building a model, so that block costs, utilisation and dry runs can use
it for any size. It does not know hardware or time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from resources.models.variants import (
    AttentionConfig,
    FfnConfig,
    block_config,
    parse_attention,
    parse_ffn,
)


@dataclass(frozen=True)
class Shape:
    """The sizes in which blocks are counted; `full` variants have the sizes given here.

    `window` is the number of positions that every attention is limited to, None where one is not.
    """

    hidden_size: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    intermediate_size: int
    vocab_size: int
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    qkv_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    window: int | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Shape:
        """The shape in a `config.json` of the Llama family. Raises KeyError for a missing size."""
        values = {field.name: config[field.name] for field in fields(cls) if field.name in config}
        heads, hidden = config["num_attention_heads"], config["hidden_size"]
        values["head_dim"] = config.get("head_dim") or hidden // heads
        values["num_key_value_heads"] = config.get("num_key_value_heads") or heads
        windows = {
            block["attention"].get("window")
            for block in config.get("block_configs") or []
            if block.get("attention", {}).get("kind", "full") == "full"
        }
        values["window"] = windows.pop() if len(windows) == 1 else None
        missing = [
            name
            for name in ("hidden_size", "num_attention_heads", "intermediate_size", "vocab_size")
            if name not in values
        ]
        if missing:
            raise KeyError(f"the model configuration lacks {missing[0]}")
        return cls(**values)

    def record(self) -> dict[str, Any]:
        """As JSON values; what came later than the first files stands there only if it counts."""
        usual = {"qk_norm": False, "window": None}
        return {key: value for key, value in asdict(self).items() if usual.get(key, ...) != value}


def attention_parameters(shape: Shape, attention: str | AttentionConfig) -> int:
    """Parameters of an attention sub-block with its norm (a no-op has neither)."""
    part = _attention(shape, attention)
    hidden = shape.hidden_size
    if part["kind"] == "noop":
        return 0
    if part["kind"] == "linear":
        return hidden + hidden * hidden
    queries = shape.num_attention_heads * shape.head_dim
    keys = _kv_size(shape, part)
    bias = queries + 2 * keys if shape.attention_bias or shape.qkv_bias else 0
    bias += hidden if shape.attention_bias else 0
    norms = 2 * shape.head_dim if shape.qk_norm else 0
    return hidden + hidden * (2 * queries + 2 * keys) + bias + norms


def ffn_parameters(shape: Shape, ffn: str | FfnConfig) -> int:
    """Parameters of an FFN sub-block with its norm (a no-op has neither)."""
    part = _ffn(shape, ffn)
    hidden = shape.hidden_size
    if part["kind"] == "noop":
        return 0
    if part["kind"] == "linear":
        return hidden + hidden * hidden
    size = part["intermediate_size"] or 0
    bias = 2 * size + hidden if shape.mlp_bias else 0
    return hidden + 3 * hidden * size + bias


def block_parameters(shape: Shape, attention: str | AttentionConfig, ffn: str | FfnConfig) -> int:
    """Parameters of one layer with the given variants (names, or entries of `block_configs`)."""
    return attention_parameters(shape, attention) + ffn_parameters(shape, ffn)


def shared_parameters(shape: Shape) -> int:
    """Parameters outside the layers: embedding, output head unless tied, final norm."""
    matrices = 1 if shape.tie_word_embeddings else 2
    return matrices * shape.vocab_size * shape.hidden_size + shape.hidden_size


def total_parameters(shape: Shape, blocks: Sequence[Mapping[str, Any]]) -> int:
    """Parameters of a model with these `block_configs`; equals the sum over its tensors."""
    return shared_parameters(shape) + sum(
        block_parameters(shape, block["attention"], block["ffn"]) for block in blocks
    )


def weight_bytes(parameters: int, dtype_bytes: int = 2) -> int:
    """Bytes of the weights."""
    return parameters * dtype_bytes


def kv_bytes_per_token(shape: Shape, attention: str | AttentionConfig, dtype_bytes: int = 2) -> int:
    """Bytes of keys and values that one layer keeps for one token of one sequence."""
    part = _attention(shape, attention)
    return 2 * _kv_size(shape, part) * dtype_bytes if part["kind"] == "full" else 0


def kv_tokens(shape: Shape, attention: str | AttentionConfig, context: int) -> int:
    """Of how many tokens of a sequence one layer keeps keys and values: its window's at most."""
    return min(context, _attention(shape, attention).get("window", context))


def activation_bytes(
    shape: Shape,
    attention: str | AttentionConfig,
    ffn: str | FfnConfig,
    tokens: int,
    dtype_bytes: int = 2,
) -> int:
    """Peak bytes of one layer's working tensors in inference, for `tokens` tokens at once.

    The residual stream and its normed copy, and on top the larger sub-block: queries, keys,
    values and the attention output (attention scores are never stored), or gate, up and their
    product. A linear sub-block holds its output only.
    """
    attention_part, ffn_part = _attention(shape, attention), _ffn(shape, ffn)
    hidden = shape.hidden_size
    widths = [0]
    if attention_part["kind"] == "linear" or ffn_part["kind"] == "linear":
        widths.append(hidden)
    if attention_part["kind"] == "full":
        queries = shape.num_attention_heads * shape.head_dim
        widths.append(2 * queries + 2 * _kv_size(shape, attention_part))
    if ffn_part["kind"] == "full":
        widths.append(3 * (ffn_part["intermediate_size"] or 0))
    return (2 * hidden + max(widths)) * tokens * dtype_bytes


def attention_flops(
    shape: Shape, attention: str | AttentionConfig, tokens: int, context: int = 0
) -> int:
    """Floating-point operations of a forward pass over `tokens` new tokens of one sequence.

    `context` tokens are in the cache already; a new token attends to them, to those before it and
    to itself, or to a window's worth of them (causal work, a multiply-add is 2). Norms and rotary
    embedding are not counted.
    """
    part = _attention(shape, attention)
    hidden = shape.hidden_size
    if part["kind"] == "noop":
        return 0
    if part["kind"] == "linear":
        return 2 * tokens * hidden * hidden
    queries = shape.num_attention_heads * shape.head_dim
    projections = 2 * tokens * hidden * (2 * queries + 2 * _kv_size(shape, part))
    window = part.get("window", tokens + context)
    # The first new tokens see fewer than a window; a query at place i sees min(i + 1, window).
    grows = max(0, min(tokens, window - context))
    attended = grows * context + grows * (grows + 1) // 2 + (tokens - grows) * window
    return projections + 4 * queries * attended


def ffn_flops(shape: Shape, ffn: str | FfnConfig, tokens: int) -> int:
    """Floating-point operations of an FFN forward pass over `tokens` tokens (matrices only)."""
    part = _ffn(shape, ffn)
    hidden = shape.hidden_size
    if part["kind"] == "noop":
        return 0
    if part["kind"] == "linear":
        return 2 * tokens * hidden * hidden
    return 6 * tokens * hidden * (part["intermediate_size"] or 0)


def block_flops(
    shape: Shape,
    attention: str | AttentionConfig,
    ffn: str | FfnConfig,
    tokens: int,
    context: int = 0,
) -> int:
    """Forward operations of one layer; `tokens` and `context` as in `attention_flops`."""
    return attention_flops(shape, attention, tokens, context) + ffn_flops(shape, ffn, tokens)


def forward_flops(
    shape: Shape, blocks: Sequence[Mapping[str, Any]], tokens: int, context: int = 0
) -> int:
    """Forward operations of a whole model, output head included; training costs three times it."""
    head = 2 * tokens * shape.hidden_size * shape.vocab_size
    return head + sum(
        block_flops(shape, block["attention"], block["ffn"], tokens, context) for block in blocks
    )


def blocks_of(shape: Shape, variants: Sequence[tuple[str, str]]) -> list[Mapping[str, Any]]:
    """`block_configs` of a list of (attention, ffn) variant names, a pair a layer."""
    return [
        block_config(
            attention,
            ffn,
            num_attention_heads=shape.num_attention_heads,
            num_key_value_heads=shape.num_key_value_heads,
            intermediate_size=shape.intermediate_size,
        )
        for attention, ffn in variants
    ]


def _attention(shape: Shape, attention: str | AttentionConfig) -> AttentionConfig:
    if isinstance(attention, str):
        part = parse_attention(attention, shape.num_attention_heads, shape.num_key_value_heads)
        if shape.window is not None and part["kind"] == "full":
            part["window"] = shape.window
        return part
    return attention


def _ffn(shape: Shape, ffn: str | FfnConfig) -> FfnConfig:
    return parse_ffn(ffn, shape.intermediate_size) if isinstance(ffn, str) else ffn


def _kv_size(shape: Shape, part: AttentionConfig) -> int:
    return (part["num_key_value_heads"] or 0) * shape.head_dim
