"""Export as a plain, homogeneous Llama: for engines that know no heterogeneity, without its speed.

Exact: FFNs are padded with channels that give zero, removed attention gets an output matrix of
zeros, key-value heads are repeated. Every layer then costs what the largest one does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import lcm
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from resources.models.errors import ExportError
from resources.models.folders import (
    NOTE,
    STORED,
    check_weights,
    write_generation_config,
    write_json,
    write_tokenizer,
    write_weights,
)
from resources.models.nemotron_nas import with_known_heads
from resources.models.nemotron_nas_layout import entries, tensors
from warehouse.filesystem import replacing_folder

if TYPE_CHECKING:
    from resources.models.config import HeterogeneousDecoderConfig
    from resources.models.modeling import HeterogeneousDecoderForCausalLM


def sizes(config: HeterogeneousDecoderConfig) -> tuple[int, int]:
    """Key-value heads and FFN width that hold every layer.

    The heads are the least multiple of every layer's own and of the parent's; they divide the
    query heads as those do. The width is the widest layer's (fused ones count).
    """
    blocks = config.block_configs or []
    heads = [block["attention"]["num_key_value_heads"] or 1 for block in blocks]
    widths = [block["ffn"]["intermediate_size"] or 1 for block in blocks]
    return lcm(config.num_key_value_heads or 1, *heads), max(widths)


def configuration(config: HeterogeneousDecoderConfig, dtype: str) -> dict[str, Any]:
    """The values of config.json of a `LlamaForCausalLM`."""
    values = config.to_dict()
    for name in ("block_configs", "qkv_bias", "transformers_version", "_name_or_path", "auto_map"):
        values.pop(name, None)
    heads, width = sizes(config)
    return values | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": dtype,
        "num_key_value_heads": heads,
        "intermediate_size": width,
        # Llama has a bias on all four projections or on none.
        "attention_bias": config.attention_bias or config.qkv_bias,
    }


def export(
    model: HeterogeneousDecoderForCausalLM,
    folder: str | Path,
    tokenizer_dir: str | Path,
    *,
    note: Mapping[str, Any] | None = None,
) -> list[str]:
    """Write the model, in its own dtype, as a plain `LlamaForCausalLM` folder; replaces `folder`.

    Written beside, its tensors checked, then renamed. Returns remarks (see
    `nemotron_nas.with_known_heads`). Raises ExportError for linear blocks, which
    no Llama layer equals, and for a dtype that engines do not read.
    """
    config, dtype = model.config, str(model.dtype).removeprefix("torch.")
    linear = [
        f"layer {layer}'s {part}"
        for layer, block in enumerate(config.block_configs or [])
        for part in ("attention", "ffn")
        if block[part]["kind"] == "linear"
    ]
    if linear:
        raise ExportError(
            f"this model cannot be written as a Llama: {', '.join(linear)} is linear, "
            "which no attention or SwiGLU equals"
        )
    if dtype not in STORED:
        raise ExportError(f"{dtype} weights: convert them to one of {', '.join(STORED)}")
    model, remarks = with_known_heads(model)
    config, dtype = model.config, str(model.dtype).removeprefix("torch.")
    values = configuration(config, dtype)
    block = {
        "attention": {"num_key_value_heads": values["num_key_value_heads"]},
        "ffn": {"intermediate_size": values["intermediate_size"]},
    }
    uniform = entries(
        [block] * config.num_hidden_layers, config.num_attention_heads, config.hidden_size
    )
    expected = tensors({**values, "block_configs": uniform})
    with replacing_folder(Path(folder)) as aside:
        write_json(aside / "config.json", values)
        write_weights(aside, _padded(model, expected))
        write_generation_config(aside, values)
        write_tokenizer(aside, Path(tokenizer_dir))
        if note is not None:
            write_json(aside / NOTE, dict(note))
        check_weights(aside, expected, dtype)
    return remarks


def _padded(
    model: HeterogeneousDecoderForCausalLM, expected: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of the plain Llama, made when it is asked for."""
    weights = model.state_dict()
    head_dim = model.config.head_dim or 1
    for name, shape in expected.items():
        tensor = weights.get(name)
        if tensor is None:
            # A norm of ones keeps what it feeds finite; all else that is not there gives zero.
            fill = 1.0 if name.endswith("layernorm.weight") else 0.0
            yield name, torch.full(shape, fill, dtype=model.dtype)
        elif ".k_proj." in name or ".v_proj." in name:
            heads = tensor.unflatten(0, (-1, head_dim))
            yield name, heads.repeat_interleave(shape[0] // tensor.shape[0], 0).flatten(0, 1)
        else:
            # `pad` counts from the last dimension: columns, then rows.
            missing = [want - have for want, have in zip(shape, tensor.shape, strict=True)]
            yield name, F.pad(tensor, [side for more in reversed(missing) for side in (0, more)])
