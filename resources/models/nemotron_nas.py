"""Export to and import from the nemotron-nas (DeciLM) layout, which stock vLLM serves.

An export refuses what vLLM would misread before it writes, and checks what it wrote. It does not
run vLLM (see `resources.engines.vllm_verify`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.models.errors import CheckpointError, ExportError
from resources.models.folders import (
    NOTE,
    STORED,
    check_weights,
    write_generation_config,
    write_json,
    write_tokenizer,
    write_weights,
)
from resources.models.loading import load
from resources.models.nemotron_nas_layout import (
    ARCHITECTURE,
    FAMILY,
    entries,
    tensors,
)
from warehouse.filesystem import replacing_folder

if TYPE_CHECKING:
    from resources.models.config import HeterogeneousDecoderConfig
    from resources.models.modeling import HeterogeneousDecoderForCausalLM

CLASS_FILE = "configuration_decilm.py"
CLASS_SOURCE = Path(__file__).with_name("nemotron_nas_config.py")
# What the attention kernels of vLLM's CPU build have; those of its GPU backends have them too.
HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256)
ROPE_TYPES = ("default", "linear", "llama3")  # computed alike by transformers and by vLLM
_COPIED = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "head_dim"),
    *("num_attention_heads", "num_key_value_heads", "hidden_act", "max_position_embeddings"),
    *("initializer_range", "rms_norm_eps", "use_cache", "attention_bias", "mlp_bias"),
    *("tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id"),
)


def refusals(config: HeterogeneousDecoderConfig, dtype: str) -> list[str]:
    """Why stock vLLM could not run this model, or not as we do; empty when it can."""
    blocks = config.block_configs or []
    reasons = []
    for part in ("attention", "ffn"):
        linear = [layer for layer, block in enumerate(blocks) if block[part]["kind"] == "linear"]
        if linear:
            reasons.append(f"linear {part} in layers {linear}: vLLM has no such block")
    there = [layer for layer, block in enumerate(blocks) if block["attention"]["kind"] != "noop"]
    first = there[0] if there else len(blocks)
    early = [layer for layer in range(first) if blocks[layer]["ffn"]["kind"] != "noop"]
    if not there:
        reasons.append("no layer has attention: vLLM cannot size its cache")
    elif early:
        reasons.append(f"an FFN before the first attention, in layers {early}: vLLM crashes there")
    if config.hidden_act != "silu":
        reasons.append(f"activation {config.hidden_act!r}: vLLM computes silu only")
    rope: Mapping[str, Any] = config.rope_parameters or {}
    if rope["rope_type"] not in ROPE_TYPES:
        reasons.append(
            f"rotary embedding {rope['rope_type']!r}: only {', '.join(ROPE_TYPES)} are known to be "
            "computed alike"
        )
    if (config.head_dim or 0) > HEAD_SIZES[-1]:
        reasons.append(f"heads of {config.head_dim}: vLLM has them up to {HEAD_SIZES[-1]}")
    if dtype not in STORED:
        reasons.append(f"{dtype} weights: convert them to one of {', '.join(STORED)}")
    return reasons


def with_known_heads(
    model: HeterogeneousDecoderForCausalLM,
) -> tuple[HeterogeneousDecoderForCausalLM, list[str]]:
    """The model with heads of the next size in `HEAD_SIZES`, and a remark where it had another.

    Widened weights come in float32 at least (see `widen_heads`). Larger heads stay as they are.
    """
    from resources.models.heads import widen_heads

    size = model.config.head_dim or 0
    if size in HEAD_SIZES or size > HEAD_SIZES[-1]:
        return model, []
    wider = next(known for known in HEAD_SIZES if known > size)
    remark = f"heads of {size} are widened to {wider} with zeros, for which engines have kernels"
    return widen_heads(model, wider), [remark]


def configuration(config: HeterogeneousDecoderConfig, dtype: str) -> dict[str, Any]:
    """The values of config.json, under the keys of the published files."""
    values = config.to_dict()
    rope: dict[str, Any] = dict(config.rope_parameters or {})
    theta = rope.pop("rope_theta")
    return {
        **{name: values[name] for name in _COPIED},
        "architectures": [ARCHITECTURE],
        "auto_map": {"AutoConfig": f"{Path(CLASS_FILE).stem}.DeciLMConfig"},
        "model_type": FAMILY,
        "torch_dtype": dtype,
        "rope_theta": theta,
        "rope_scaling": None if rope["rope_type"] == "default" else rope,
        # vLLM takes qkv_bias for queries, keys and values and attention_bias for the output.
        "qkv_bias": config.attention_bias or config.qkv_bias,
        "block_configs": entries(
            config.block_configs or [], config.num_attention_heads, config.hidden_size
        ),
    }


def export(
    model: HeterogeneousDecoderForCausalLM,
    folder: str | Path,
    tokenizer_dir: str | Path,
    *,
    note: Mapping[str, Any] | None = None,
) -> list[str]:
    """Write the model, in its own dtype, as a folder that stock vLLM serves; replaces `folder`.

    Holds config.json, its class (`configuration_decilm.py`), safetensors, generation_config.json,
    tokenizer, chat template, and `note` as heirloom.json. Written beside, checked, then renamed.
    Returns remarks about what differs from the model, if anything (see `with_known_heads`).
    Raises ExportError with all reasons before anything is written, CheckpointError when what was
    written is not what the configuration demands.
    """
    dtype = str(model.dtype).removeprefix("torch.")
    reasons = refusals(model.config, dtype)
    if reasons:
        raise ExportError(f"this model cannot be exported for vLLM: {'; '.join(reasons)}")
    model, remarks = with_known_heads(model)
    values = configuration(model.config, str(model.dtype).removeprefix("torch."))
    weights = model.state_dict()
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    with replacing_folder(Path(folder)) as aside:
        write_json(aside / "config.json", values)
        shutil.copyfile(CLASS_SOURCE, aside / CLASS_FILE)
        write_weights(aside, weights.items())
        write_generation_config(aside, values)
        write_tokenizer(aside, Path(tokenizer_dir))
        if note is not None:
            write_json(aside / NOTE, dict(note))
        check_layout(aside)
    return remarks


def check_layout(folder: str | Path) -> dict[str, int]:
    """Check a folder of this layout against its own config.json; the tensors and parameters found.

    vLLM loads a folder that lacks one half of a merged matrix without a word, and ignores
    surplus entries of `block_configs`. Raises CheckpointError with what is wrong.
    """
    path = Path(folder)
    values = _values(path)
    layers, blocks = values["num_hidden_layers"], len(values["block_configs"])
    if layers != blocks:
        raise CheckpointError(f"{path}: {blocks} block_configs for {layers} layers")
    module = values.get("auto_map", {}).get("AutoConfig", "").partition(".")[0]
    if not module or not (path / f"{module}.py").is_file():
        raise CheckpointError(f"{path}: the configuration class that auto_map names is not there")
    expected = tensors(values)
    check_weights(path, expected, values["torch_dtype"])
    return {"tensors": len(expected), "parameters": sum(map(prod, expected.values()))}


def read(
    folder: str | Path, *, device: str = "cpu", dtype: str = "float32"
) -> HeterogeneousDecoderForCausalLM:
    """Load a nemotron-nas folder, ours or a published one, as a heterogeneous decoder.

    The same as `load`, but CheckpointError for a folder of another family.
    """
    _values(Path(folder))
    return load(folder, device=device, dtype=dtype)


def _values(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    try:
        values: dict[str, Any] = json.loads(file.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{file}: cannot be read: {error}") from error
    if values.get("model_type") != FAMILY:
        raise CheckpointError(f"{path}: model_type is {values.get('model_type')!r}, not {FAMILY!r}")
    return values
