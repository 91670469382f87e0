"""What serving engines cannot run, listed once: exports refuse it, searches take it out before.

`vllm` is stock vLLM, whose nemotron-nas class computes Llama's layers in any size; `nemotron_nas` a
reader of the published files alone; `vllm_plugin` vLLM with this package's model in it, which
computes all that we do. What vLLM 0.32 accepts was tried. Knows sizes; nothing of weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from resources.models.families.nemotron_nas import WIDTH_STEP

Engine = Literal["vllm", "nemotron_nas", "vllm_plugin"]
# What the attention kernels of vLLM's CPU build have; those of its GPU backends have them too.
HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256)
ROPE_TYPES = ("default", "linear", "llama3", "yarn")  # computed alike by transformers and by vLLM
FLOAT8_STEP = 16  # rows and columns of a float8 matrix product
# vLLM's class makes the residual stream in the first attention that runs. No searched model begins
# otherwise, so that every one of them can be exported.
NEVER_FIRST = {"layer": 0, "attention": "noop"}


def attention_reason(
    engine: Engine, attention: Mapping[str, Any], head_dim: int, parallel: int = 1, dtype: str = ""
) -> str | None:
    """Why an attention, as an entry of `block_configs`, cannot run over `parallel` ranks."""
    if attention["kind"] == "linear":
        return None if engine == "vllm_plugin" else f"{engine} has no linear attention"
    heads = attention["num_key_value_heads"]
    if heads is None:
        return None
    if engine != "vllm_plugin" and "window" in attention:
        return f"{engine} attends to all positions, not to the last {attention['window']}"
    if engine != "vllm_plugin" and not attention.get("rope", True):
        return f"{engine} has rotary embedding in every layer"
    if heads % parallel and parallel % heads:
        return f"{heads} key-value heads and tensor_parallel {parallel} do not divide each other"
    size = max(heads // parallel, 1) * head_dim
    if dtype == "float8" and size % FLOAT8_STEP:
        return f"{size} key numbers a rank are no multiple of {FLOAT8_STEP}, which float8 needs"
    return None


def ffn_reason(
    engine: Engine, ffn: Mapping[str, Any], parallel: int = 1, dtype: str = ""
) -> str | None:
    """Why an FFN, as an entry of `block_configs`, cannot run over `parallel` ranks."""
    if ffn["kind"] == "linear":
        return None if engine == "vllm_plugin" else f"{engine} has no linear FFN"
    width = ffn["intermediate_size"]
    if width is None:
        return None
    if engine == "nemotron_nas" and width % WIDTH_STEP:
        return f"width {width} is no multiple of {WIDTH_STEP}: ffn_mult would round it"
    if width % parallel:
        return f"width {width} cannot be split over tensor_parallel {parallel}"
    if dtype == "float8" and width // parallel % FLOAT8_STEP:
        return (
            f"width {width // parallel} a rank is no multiple of {FLOAT8_STEP}, which float8 needs"
        )
    return None


def order_reason(engine: Engine, blocks: Sequence[Mapping[str, Any]]) -> str | None:
    """Why blocks in this order cannot run: those up to a model's first attention suffice."""
    if engine == "vllm_plugin":
        return None
    for layer, block in enumerate(blocks):
        if block["attention"]["kind"] != "noop":
            return None
        if block["ffn"]["kind"] != "noop":
            where = f" (layer {layer})" if layer else ""
            return f"{engine} fails on a first layer with an FFN but no attention{where}"
    return None


def model_reasons(engine: Engine, config: Mapping[str, Any]) -> list[str]:
    """Why a model of these values of our configuration cannot run, not layer by layer."""
    reasons = []
    blocks: Sequence[Mapping[str, Any]] = config["block_configs"]
    if all(block["attention"]["kind"] != "full" for block in blocks):
        reasons.append(f"no layer has attention: {engine} cannot size its cache")
    reasons += model_shape_reasons(engine, bool(config.get("qk_norm")))
    if config["hidden_act"] != "silu":
        reasons.append(f"activation {config['hidden_act']!r}: {engine} computes silu only")
    rope = (config.get("rope_parameters") or {}).get("rope_type", "default")
    if rope not in ROPE_TYPES:
        reasons.append(
            f"rotary embedding {rope!r}: only {', '.join(ROPE_TYPES)} are known to be computed "
            "alike"
        )
    return reasons + head_reasons(config)


def model_shape_reasons(engine: Engine, qk_norm: bool) -> list[str]:
    """Why no choice of blocks makes a model run there, from what all its layers share."""
    if qk_norm and engine != "vllm_plugin":
        return [f"normalised queries and keys: {engine} has none"]
    return []


def plain_reasons(family: str, config: Mapping[str, Any]) -> list[str]:
    """Why stock vLLM does not compute a plain model of a family as transformers does.

    It says nothing itself where it ignores a window.
    """
    if family not in ("llama", "mistral", "qwen2", "qwen3", "smollm3"):
        return []
    reasons = []
    windows = any("window" in block["attention"] for block in config["block_configs"])
    if windows and family != "mistral":
        reasons.append(f"stock vLLM ignores the windows of a {family}")
    own = config["head_dim"] * config["num_attention_heads"] != config["hidden_size"]
    if own and family == "qwen2":
        reasons.append("stock vLLM gives a qwen2's heads no size of their own")
    if config["hidden_act"] != "silu":
        reasons.append(f"activation {config['hidden_act']!r}: stock vLLM computes silu only")
    if config["head_dim"] not in HEAD_SIZES:
        reasons.append(f"heads of {config['head_dim']}: vLLM has no kernels for them")
    return reasons


def head_reasons(config: Mapping[str, Any]) -> list[str]:
    """Why engines have no kernel for the heads, and none for wider ones with zeros added."""
    size = config["head_dim"]
    if size in HEAD_SIZES:
        return []
    if size > HEAD_SIZES[-1]:
        return [f"heads of {size}: engines have them up to {HEAD_SIZES[-1]}"]
    rope = (config.get("rope_parameters") or {}).get("rope_type", "default")
    for there, why in (
        (config.get("qk_norm"), "are normalised"),
        (rope == "yarn", "have yarn's rotary embedding"),
        (size % 2, "are odd"),
    ):
        if there:
            return [f"heads of {size}: engines have no kernel, and these {why}: cannot be widened"]
    return []


def refusals(engine: Engine, config: Mapping[str, Any]) -> list[str]:
    """Every reason against a model of these values of our configuration; empty: it runs."""
    blocks: Sequence[Mapping[str, Any]] = config["block_configs"]
    found: dict[str, list[int]] = {}
    for layer, block in enumerate(blocks):
        for reason in (
            attention_reason(engine, block["attention"], config["head_dim"]),
            ffn_reason(engine, block["ffn"]),
        ):
            if reason is not None:
                found.setdefault(reason, []).append(layer)
    layers = [f"{reason} (layers {layers})" for reason, layers in found.items()]
    order = order_reason(engine, blocks)
    return layers + ([order] if order else []) + model_reasons(engine, config)
