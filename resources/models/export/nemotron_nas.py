"""Export to the nemotron-nas (DeciLM) layout, for which vLLM has a class of its own.

An export refuses what vLLM would misread before it writes, and checks what it wrote. It does not
run vLLM (see `resources.engines.verification.compare`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.models.errors import CheckpointError
from resources.models.export.limits import refusals
from resources.models.export.nemotron_nas_layout import entries, tensors
from resources.models.export.writing import dtype_reasons, refuse, with_known_heads, write
from resources.models.families.nemotron_nas import ARCHITECTURE, MODEL_TYPE
from resources.models.folders import check_stored
from resources.models.loading import weights_of
from resources.models.precision import name_of

if TYPE_CHECKING:
    from resources.models.config import HeterogeneousDecoderConfig
    from resources.models.modeling import HeterogeneousDecoderForCausalLM

CLASS_FILE = "configuration_decilm.py"
CLASS_SOURCE = Path(__file__).with_name("nemotron_nas_config.py")
_COPIED = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "head_dim"),
    *("num_attention_heads", "num_key_value_heads", "hidden_act", "max_position_embeddings"),
    *("initializer_range", "rms_norm_eps", "use_cache", "attention_bias", "mlp_bias"),
    *("tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id"),
)


def accepts(config: Mapping[str, Any], dtype: str) -> list[str]:
    """Why vLLM's class could not run this model, or not as we do; empty when it can."""
    return refusals("vllm", config) + dtype_reasons(dtype)


def configuration(config: HeterogeneousDecoderConfig, dtype: str) -> dict[str, Any]:
    """The values of config.json, under the keys of the published files."""
    values = config.to_dict()
    rope: dict[str, Any] = dict(config.rope_parameters or {})
    theta = rope.pop("rope_theta")
    return {
        **{name: values[name] for name in _COPIED},
        "architectures": [ARCHITECTURE],
        "auto_map": {"AutoConfig": f"{Path(CLASS_FILE).stem}.DeciLMConfig"},
        "model_type": MODEL_TYPE,
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
) -> list[str]:
    """Write the model, in its own dtype, in the published layout; replaces `folder`.

    The configuration's class (`configuration_decilm.py`) goes with it. Returns remarks about what
    differs from the model, if anything (see `with_known_heads`). Raises ExportError with all
    reasons before anything is written, CheckpointError when what was written is not what the
    configuration demands.
    """
    refuse("for vLLM", accepts(model.config.to_dict(), name_of(model.dtype)))
    model, remarks = with_known_heads(model)
    values = configuration(model.config, name_of(model.dtype))

    def finish(aside: Path) -> None:
        shutil.copyfile(CLASS_SOURCE, aside / CLASS_FILE)
        check_layout(aside)

    write(folder, values, weights_of(model).items(), tokenizer_dir, finish)
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
    check_stored(path, expected, values["torch_dtype"])
    return {"tensors": len(expected), "parameters": sum(map(prod, expected.values()))}


def _values(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    try:
        values: dict[str, Any] = json.loads(file.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{file}: cannot be read: {error}") from error
    if values.get("model_type") != MODEL_TYPE:
        raise CheckpointError(
            f"{path}: model_type is {values.get('model_type')!r}, not {MODEL_TYPE!r}"
        )
    return values
