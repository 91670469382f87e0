"""What a decoder's configuration says, as plain values: its layers in full, and its tensors.

`config.json` alone says it, so that a model is judged and its files are compared without loading
torch and transformers. It does not know families or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from resources.models.names import EMBEDDING, HEAD, NORM, layer_prefix

KINDS = ("full", "linear", "noop")
OWN = ("window", "rope")  # what a layer's attention may have of its own, besides its heads
Values = Mapping[str, Any]

# Sizes, which every model says, and those that follow from them where they are left out.
_SIZES = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
    *("num_attention_heads", "max_position_embeddings"),
)
_DERIVED = ("num_key_value_heads", "head_dim")
# The other values that our configuration gives a meaning, what each means where it is left out,
# and the types it may have. A value of another type is judged by the class itself.
_STATED: Mapping[str, tuple[Any, tuple[type, ...]]] = {
    "hidden_act": ("silu", (str,)),
    "rms_norm_eps": (1e-6, (float,)),
    "tie_word_embeddings": (False, (bool,)),
    "attention_bias": (False, (bool,)),
    "mlp_bias": (False, (bool,)),
    "qkv_bias": (False, (bool,)),
    "qk_norm": (False, (bool,)),
    "family": (None, (str, type(None))),
    "bos_token_id": (1, (int, type(None))),
    "eos_token_id": (2, (int, list, type(None))),
    "pad_token_id": (None, (int, type(None))),
    "pretraining_tp": (1, (int, type(None))),
    "use_cache": (True, (bool,)),
}
# Values that change nothing while they are these …
_USUAL: Mapping[str, tuple[Any, ...]] = {
    "attention_dropout": (0, 0.0, None),
    "initializer_range": (0.02,),
    "torch_dtype": ("bfloat16", "float16", "float32", None),
    "dtype": ("bfloat16", "float16", "float32", None),
    "chunk_size_feed_forward": (0,),
    "is_encoder_decoder": (False,),
    "output_attentions": (False,),
    "output_hidden_states": (False,),
    "problem_type": (None,),
    "return_dict": (True,),
    "id2label": ({"0": "LABEL_0", "1": "LABEL_1"},),
    "label2id": ({"LABEL_0": 0, "LABEL_1": 1},),
}
# … and keys that are kept and never looked at.
_KEPT = (
    *("_name_or_path", "_model_name_or_path", "unk_token_id", "use_mrope", "is_llama_config"),
    *("rope_interleaved", "transformers.js_config", "unsloth_fixed", "unsloth_version"),
)
_ROPE = ("rope_scaling", "rope_parameters", "rope_theta")
_ROPE_TYPES = ("default", "linear", "llama3")
_ROPE_NUMBERS = (
    *("rope_theta", "factor", "low_freq_factor", "high_freq_factor"),
    "original_max_position_embeddings",
)


def described(values: Values) -> dict[str, Any] | None:
    """What `HeterogeneousDecoderConfig(**values)` holds, defaults and layers filled in.

    None where its class has to be asked: a value is of an unusual type or kind, or a key is one
    that is not looked at here. So whatever is refused is refused by the class, in its words.
    """
    known = {*_SIZES, *_DERIVED, *_STATED, *_USUAL, *_KEPT, *_ROPE, "block_configs"}
    if set(values) - known or any(type(values.get(name)) is not int for name in _SIZES):
        return None
    made = {name: values[name] for name in _SIZES}
    if min(made.values()) < 1:
        return None
    usual = {
        "num_key_value_heads": made["num_attention_heads"],
        "head_dim": made["hidden_size"] // made["num_attention_heads"],
    }
    for name in _DERIVED:
        value = usual[name] if values.get(name) is None else values[name]
        if type(value) is not int or value < 1:
            return None
        made[name] = value
    if made["head_dim"] % 2:
        return None
    for name, (default, types) in _STATED.items():
        made[name] = values.get(name, default)
        if type(made[name]) not in types:
            return None
    if not all(_among(values[name], only) for name, only in _USUAL.items() if name in values):
        return None
    ends = made["eos_token_id"]
    if isinstance(ends, list) and any(type(one) is not int for one in ends):
        return None
    rope = _rope(values)
    if rope is None:
        return None
    try:
        blocks = block_configs(values.get("block_configs"), made)
    except (ValueError, TypeError, AttributeError):
        return None
    return {**made, "rope_parameters": rope, "block_configs": blocks}


def _among(value: Any, only: Sequence[Any]) -> bool:
    """Whether it is one of them, and of its type: 1 is not true."""
    return any(type(value) is type(each) and value == each for each in only)


def _rope(values: Values) -> dict[str, Any] | None:
    """The rotary embedding's parameters, under the keys of today; None where they are unusual."""
    said = [values.get("rope_scaling"), values.get("rope_parameters")]
    if not all(each is None or isinstance(each, dict) for each in said):
        return None
    given = said[0] or said[1] or {}
    rope = {"rope_theta": values.get("rope_theta", 10_000.0), **given}
    rope["rope_type"] = rope.get("rope_type", rope.get("type", "default"))
    if rope["rope_type"] not in _ROPE_TYPES:
        return None
    if rope["rope_type"] == "llama3":
        rope.setdefault("original_max_position_embeddings", values["max_position_embeddings"])
    for name, value in rope.items():
        if name not in ("rope_type", "type") and (
            name not in _ROPE_NUMBERS or type(value) not in (int, float) or value <= 0
        ):
            return None
    return rope


def block_configs(blocks: Any, values: Values) -> list[dict[str, dict[str, Any]]]:
    """The entry of each layer in full, every layer as the model's sizes say where there is none.

    Raises ValueError with the entry for one that is impossible.
    """
    layers = values["num_hidden_layers"]
    if blocks is None:
        blocks = [{} for _ in range(layers)]
    if len(blocks) != layers:
        raise ValueError(
            f"block_configs has {len(blocks)} entries for "
            f"num_hidden_layers = {layers}: one a layer is needed"
        )
    return [_block(f"block_configs[{layer}]", block, values) for layer, block in enumerate(blocks)]


def _block(where: str, block: Values, values: Values) -> dict[str, dict[str, Any]]:
    _known(where, block, ("attention", "ffn"))
    attention = _part(
        f"{where}.attention",
        block.get("attention", {}),
        "num_key_value_heads",
        values["num_key_value_heads"],
        OWN,
    )
    if attention["kind"] == "full":
        attention |= _own(f"{where}.attention", block.get("attention", {}))
    heads = attention["num_key_value_heads"]
    if heads is not None and values["num_attention_heads"] % heads:
        raise ValueError(
            f"{where}.attention: {heads} key-value heads do not divide "
            f"{values['num_attention_heads']} query heads"
        )
    ffn = _part(
        f"{where}.ffn", block.get("ffn", {}), "intermediate_size", values["intermediate_size"]
    )
    return {"attention": attention, "ffn": ffn}


def _own(where: str, part: Values) -> dict[str, Any]:
    """What a layer's attention has of its own; what is as usual is not written down."""
    window, rope = part.get("window"), part.get("rope", True)
    if window is not None and (type(window) is not int or window < 1):
        raise ValueError(f"{where}: window must be a positive integer, not {window!r}")
    made: dict[str, Any] = {} if window is None else {"window": window}
    return made if rope else made | {"rope": False}


def _part(
    where: str, part: Values, size_key: str, default: int | None, further: tuple[str, ...] = ()
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


def _known(where: str, value: Values, keys: Sequence[str]) -> None:
    unknown = set(value) - set(keys)
    if unknown:
        raise ValueError(
            f"{where}: unknown key {sorted(unknown)[0]!r}: known are {', '.join(keys)}"
        )


def tensors(values: Values) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a decoder, a tied output head among them."""
    hidden, heads, size = values["hidden_size"], values["num_attention_heads"], values["head_dim"]
    made: dict[str, tuple[int, ...]] = {
        EMBEDDING: (values["vocab_size"], hidden),
        NORM: (hidden,),
        HEAD: (values["vocab_size"], hidden),
    }

    def linear(name: str, rows: int, columns: int, bias: bool = False) -> None:
        made[f"{name}.weight"] = (rows, columns)
        if bias:
            made[f"{name}.bias"] = (rows,)

    for layer, block in enumerate(values["block_configs"]):
        prefix, attention, ffn = layer_prefix(layer), block["attention"], block["ffn"]
        if attention["kind"] != "noop":
            made[f"{prefix}input_layernorm.weight"] = (hidden,)
        if attention["kind"] == "linear":
            linear(f"{prefix}self_attn.linear_attn", hidden, hidden)
        if attention["kind"] == "full":
            keys, bias = attention["num_key_value_heads"] * size, values["attention_bias"]
            linear(f"{prefix}self_attn.q_proj", heads * size, hidden, bias or values["qkv_bias"])
            linear(f"{prefix}self_attn.k_proj", keys, hidden, bias or values["qkv_bias"])
            linear(f"{prefix}self_attn.v_proj", keys, hidden, bias or values["qkv_bias"])
            linear(f"{prefix}self_attn.o_proj", hidden, heads * size, bias)
            for norm in ("q_norm", "k_norm") if values["qk_norm"] else ():
                made[f"{prefix}self_attn.{norm}.weight"] = (size,)
        if ffn["kind"] != "noop":
            made[f"{prefix}post_attention_layernorm.weight"] = (hidden,)
        if ffn["kind"] == "linear":
            linear(f"{prefix}mlp.linear_mlp", hidden, hidden)
        if ffn["kind"] == "full":
            width, bias = ffn["intermediate_size"], values["mlp_bias"]
            linear(f"{prefix}mlp.gate_proj", width, hidden, bias)
            linear(f"{prefix}mlp.up_proj", width, hidden, bias)
            linear(f"{prefix}mlp.down_proj", hidden, width, bias)
    return made
