"""Export as a plain model of its own family: for engines that know no heterogeneity.

Exact, but it saves nothing: FFNs are padded with channels that give zero, removed attention gets an
output matrix of zeros, key-value heads are repeated, so every layer costs what the largest does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import lcm
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.models.description import OWN
from resources.models.export.limits import head_reasons, plain_reasons
from resources.models.export.writing import dtype_reasons, refuse, with_known_heads, write
from resources.models.families.registry import family_of
from resources.models.folders import check_stored
from resources.models.loading import weights_of
from resources.models.precision import name_of

if TYPE_CHECKING:
    import torch

    from resources.models.modeling import HeterogeneousDecoderForCausalLM

SAVES_NOTHING = (
    "padded with zeros: every layer costs what the largest does, so this saves neither memory nor "
    "time"
)
_OURS = (
    *("block_configs", "qkv_bias", "qk_norm", "family", "transformers_version", "_name_or_path"),
    *("auto_map", "torch_dtype"),
)


def sizes(config: Mapping[str, Any]) -> tuple[int, int]:
    """Key-value heads and FFN width that hold every layer.

    The heads are the least multiple of every layer's own and of the parent's; they divide the
    query heads as those do. The width is the widest layer's (fused ones count).
    """
    blocks = config["block_configs"]
    heads = [block["attention"]["num_key_value_heads"] or 1 for block in blocks]
    widths = [block["ffn"]["intermediate_size"] or 1 for block in blocks]
    return lcm(config["num_key_value_heads"] or 1, *heads), max(widths)


def accepts(config: Mapping[str, Any], dtype: str) -> list[str]:
    """Why no plain model of its family equals this one; empty when one does."""
    reasons = []
    for part in ("attention", "ffn"):
        linear = [
            layer
            for layer, block in enumerate(config["block_configs"])
            if block[part]["kind"] == "linear"
        ]
        if linear:
            reasons.append(f"linear {part} (layers {linear}), which no attention or SwiGLU equals")
    try:
        configuration(config, dtype)
    except ValueError as error:
        reasons.append(str(error))
    return reasons + dtype_reasons(dtype)


def configuration(values: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """The values of config.json of the family's own class, for those of ours.

    Raises ValueError for attention that the family cannot say.
    """
    family = family_of(values)
    heads, width = sizes(values)
    layers = [
        {key: block["attention"][key] for key in OWN if key in block["attention"]}
        if block["attention"]["kind"] == "full"
        else None
        for block in values["block_configs"]
    ]
    plain = {key: value for key, value in values.items() if key not in _OURS}
    return plain | {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        "dtype": dtype,
        "num_key_value_heads": heads,
        "intermediate_size": width,
        **family.plain(values, layers),
    }


def export(
    model: HeterogeneousDecoderForCausalLM,
    folder: str | Path,
    tokenizer_dir: str | Path,
) -> list[str]:
    """Write the model, in its own dtype, as a plain folder of its family; replaces `folder`.

    A model whose layers are alike is written as it is, any other with heads for which engines have
    kernels. Returns remarks: that it saves nothing, and what differs from the model. Raises
    ExportError with all reasons for what no plain model equals.
    """
    ours = model.config.to_dict()
    refuse("as a plain model", accepts(ours, name_of(model.dtype)))
    remarks = []
    if not _alike(ours):
        remarks.append(SAVES_NOTHING)
        if not head_reasons(ours):
            model, widened = with_known_heads(model)
            ours = model.config.to_dict()
            remarks += widened
    against = plain_reasons(family_of(ours).model_type, ours)
    remarks += [f"for transformers, not for vLLM: {reason}" for reason in against]
    dtype = name_of(model.dtype)
    values = configuration(ours, dtype)
    expected = _expected(model, values)
    write(
        folder,
        values,
        _padded(model, expected),
        tokenizer_dir,
        lambda aside: check_stored(aside, expected, dtype),
    )
    return remarks


def _alike(config: Mapping[str, Any]) -> bool:
    """Whether every layer already has the sizes of the plain model."""
    heads, width = sizes(config)
    return all(
        (block["attention"]["num_key_value_heads"], block["ffn"]["intermediate_size"])
        == (heads, width)
        for block in config["block_configs"]
    )


def _expected(
    model: HeterogeneousDecoderForCausalLM, values: Mapping[str, Any]
) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that the family's own class has for a configuration."""
    import torch
    import transformers

    [architecture] = values["architectures"]
    theirs: Any = getattr(transformers, architecture)
    with torch.device("meta"):
        plain = theirs(theirs.config_class(**values))
    shapes = {name: tuple(tensor.shape) for name, tensor in plain.state_dict().items()}
    if model.config.tie_word_embeddings:
        shapes.pop("lm_head.weight", None)
    return shapes


def _padded(
    model: HeterogeneousDecoderForCausalLM, expected: Mapping[str, tuple[int, ...]]
) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of the plain model, made when it is asked for."""
    import torch
    import torch.nn.functional as F

    weights = weights_of(model)
    head_dim = model.config.head_dim or 1
    for name, shape in expected.items():
        tensor = weights.get(name)
        if tensor is None:
            # A norm of ones keeps what it feeds finite; all else that is not there gives zero.
            yield name, torch.full(shape, float("norm.weight" in name), dtype=model.dtype)
        elif ".k_proj." in name or ".v_proj." in name:
            heads = tensor.unflatten(0, (-1, head_dim))
            yield name, heads.repeat_interleave(shape[0] // tensor.shape[0], 0).flatten(0, 1)
        else:
            # `pad` counts from the last dimension: columns, then rows.
            missing = [want - have for want, have in zip(shape, tensor.shape, strict=True)]
            yield name, F.pad(tensor, [side for more in reversed(missing) for side in (0, more)])
