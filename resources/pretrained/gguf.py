"""A GGUF file of a Llama, Qwen2 or Qwen3 as a folder: safetensors, tokenizer, chat template.

What is stored as float32 or float16 stays so, what is quantized becomes bfloat16. Whatever of the
file changes what the model computes is read or refused by name; nothing is dropped. It does not
know what the folder is for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.models.errors import CheckpointError
from resources.models.folders import STORED
from resources.models.precision import torch_dtype
from resources.pretrained.files import FILE
from resources.pretrained.gguf_tokenizer import write_template, write_tokenizer
from resources.pretrained.headers import hollow

if TYPE_CHECKING:
    import numpy as np
    import torch
    from gguf import GGUFReader, ReaderTensor

_FOLDER = "give the model's safetensors folder"
_MODEL = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_FREQUENCIES = "rope_freqs.weight"
_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}  # of one number
_LAYOUT = "Meta AI original pth"  # how every Llama in GGUF lies; older files say so
_SIZES = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
}
_ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
# Llama 3.1 and later: (low, high) frequency factors and the context before stretching.
_LLAMA3 = {
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def convert(
    file: Path, folder: Path, *, weights: bool = True, tokenizer: bool = True
) -> dict[str, Any]:
    """Write the folder, a checkpoint as transformers has it; what the file holds, for the record.

    Without `weights`, their names and shapes are written, and a hole in place of the numbers.
    Without `tokenizer`, whose place another takes, the chat template alone is.

    Raises CheckpointError, naming the file and the key or tensor, for another architecture, for
    what would change the model and is not understood, and where memory does not hold the weights.
    """
    from resources.models.folders import write_json, write_token_ids, write_weights

    reader = _opened(file)
    values = {name: _value(file, reader, name) for name in reader.fields if _scalar(name)}
    config = configuration(file, values, reader)
    _room(file, reader, _BYTES[config["dtype"]])
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    write_token_ids(folder, config)
    if weights:
        write_weights(folder, _tensors(file, reader, config))
    else:
        hollow(folder / FILE, _outline(file, reader, config))
    if tokenizer:
        write_tokenizer(file, values, folder)
    write_template(values, folder)
    stored: dict[str, int] = {}
    for tensor in reader.tensors:
        stored[tensor.tensor_type.name] = stored.get(tensor.tensor_type.name, 0) + 1
    return {"stored_types": dict(sorted(stored.items())), "written_as": config["dtype"]}


def configuration(
    file: Path, values: Mapping[str, Any], reader: GGUFReader | None = None
) -> dict[str, Any]:
    """The `config.json` of a GGUF file's keys, every one of the model's read or refused."""
    family = str(values.get("general.architecture"))
    if family not in _ARCHITECTURES:
        raise CheckpointError(
            f"{file}: general.architecture is {family!r}: GGUF is read for "
            f"{', '.join(_ARCHITECTURES)}; {_FOLDER}"
        )
    if values.get("split.count", 1) not in (0, 1):
        raise CheckpointError(
            f"{file}: is one of {values['split.count']} parts of a model (split.count): join them "
            "with llama.cpp's llama-gguf-split --merge"
        )
    own = {
        name.removeprefix(f"{family}."): value
        for name, value in values.items()
        if name.startswith(f"{family}.")
    }
    config = _sizes(file, family, own)
    theta = float(own.pop("rope.freq_base", 10000.0))
    config["rope_parameters"] = _rope(file, family, own, theta, config["head_dim"], reader)
    tokens = own.pop("vocab_size", None)
    for name in ("expert_count", "expert_used_count"):
        if own.get(name) == 0:
            own.pop(name)
    if own:
        name = sorted(own)[0]
        raise CheckpointError(
            f"{file}: {family}.{name} = {own[name]!r} is not read, and dropping it could change "
            f"the model: {_FOLDER}"
        )
    names = {tensor.name: tensor for tensor in reader.tensors} if reader is not None else {}
    embedding = names.get("token_embd.weight")
    config["vocab_size"] = tokens if embedding is None else int(embedding.shape[-1])
    for ours, name in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        found = values.get(f"tokenizer.ggml.{name}_token_id")
        config[f"{ours}_token_id"] = None if found is None else int(found)
    if family == "llama":
        config["attention_bias"] = any(name.endswith("attn_q.bias") for name in names)
        config["mlp_bias"] = False
    return {
        **config,
        "architectures": [_ARCHITECTURES[family]],
        "dtype": _written_as(names.values()),
        "hidden_act": "silu",
        "model_type": family,
        "tie_word_embeddings": "output.weight" not in names,
    }


def _sizes(file: Path, family: str, own: dict[str, Any]) -> dict[str, Any]:
    """The sizes as config.json has them; takes their keys out of `own`."""
    if own.get("tensor_data_layout") == _LAYOUT:
        own.pop("tensor_data_layout")
    own.setdefault("attention.head_count_kv", own.get("attention.head_count"))
    config: dict[str, Any] = {}
    for name, ours in _SIZES.items():
        if name not in own:
            raise CheckpointError(f"{file}: {family}.{name} is missing: {_FOLDER}")
        value = own.pop(name)
        if not isinstance(value, int | float):
            raise CheckpointError(
                f"{file}: {family}.{name} differs by layer, which is not read: {_FOLDER}"
            )
        config[ours] = value
    width = config["hidden_size"] // config["num_attention_heads"]
    config["head_dim"] = own.pop("attention.key_length", width)
    for name in ("attention.value_length", "rope.dimension_count"):
        if own.pop(name, config["head_dim"]) != config["head_dim"]:
            raise CheckpointError(
                f"{file}: {family}.{name} differs from the head size "
                f"{config['head_dim']}: {_FOLDER}"
            )
    return config


def _written_as(tensors: Iterable[ReaderTensor]) -> str:
    """The type in which most of the numbers are stored, bfloat16 where they are quantized."""
    held: dict[str, int] = {}
    for tensor in tensors:
        name = tensor.tensor_type.name
        held[name] = held.get(name, 0) + int(tensor.n_elements)
    most = max(held, key=lambda name: held[name], default="")
    return {"F32": "float32", "F16": "float16"}.get(most, "bfloat16")


def _rope(
    file: Path,
    family: str,
    own: dict[str, Any],
    theta: float,
    head_dim: int,
    reader: GGUFReader | None,
) -> dict[str, Any]:
    """Rope as config.json has it; takes the keys it understands out of `own`."""
    kind = own.pop("rope.scaling.type", "none")
    factors = None
    if reader is not None:
        factors = next((one for one in reader.tensors if one.name == _FREQUENCIES), None)
    if factors is not None:
        stretched = llama3_factor(factors.data.astype("float64").reshape(-1), theta, head_dim)
        if stretched is None or kind != "none":
            raise CheckpointError(
                f"{file}: {_FREQUENCIES} are no factors of Llama 3's, whose are the only ones that "
                f"are read: {_FOLDER}"
            )
        return {"rope_type": "llama3", "rope_theta": theta, "factor": stretched, **_LLAMA3}
    if kind == "linear" and "rope.scaling.factor" in own:
        factor = float(own.pop("rope.scaling.factor"))
        return {"rope_type": "linear", "rope_theta": theta, "factor": factor}
    if kind != "none":
        raise CheckpointError(
            f"{file}: {family}.rope.scaling.type = {kind!r} is not read from GGUF files: {_FOLDER}"
        )
    return {"rope_type": "default", "rope_theta": theta}


def llama3_factor(factors: np.ndarray[Any, Any], theta: float, head_dim: int) -> float | None:
    """The factor by which Llama 3.1's rule stretches rope, where it gives these `[head_dim/2]`.

    `factors` divide the frequencies. None where no such rule gives them.
    """
    import numpy as np

    if factors.shape != (head_dim // 2,):
        return None
    factor = float(factors.max())
    low, high = _LLAMA3["low_freq_factor"], _LLAMA3["high_freq_factor"]
    context = _LLAMA3["original_max_position_embeddings"]
    wavelength = 2 * math.pi * theta ** (np.arange(0, head_dim, 2) / head_dim)
    smooth = np.clip((context / wavelength - low) / (high - low), 0, 1)
    expected = 1 / ((1 - smooth) / factor + smooth)
    return factor if np.allclose(expected, factors, rtol=1e-4) else None


def _opened(file: Path) -> GGUFReader:
    from gguf import GGUFReader

    if not file.is_file():
        raise CheckpointError(f"{file}: no such file: give an existing .gguf file")
    try:
        return GGUFReader(file)
    except Exception as error:
        # The reader follows the file's own offsets; a damaged one ends in errors of every kind.
        raise CheckpointError(
            f"{file}: cannot be read as GGUF, so it is truncated or damaged "
            f"({type(error).__name__}): fetch the file again"
        ) from error


def _scalar(name: str) -> bool:
    """Whether a key is read as one value: vocabularies are left to the tokenizer's reader."""
    return name not in ("tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.scores")


def _value(file: Path, reader: GGUFReader, name: str) -> Any:
    try:
        return reader.fields[name].contents()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{file}: {name} is no UTF-8 text: {_FOLDER}") from error


def _room(file: Path, reader: GGUFReader, size: int) -> None:
    """Raise CheckpointError where memory would not hold a shard and its largest tensor."""
    import psutil

    from resources.models.folders import SHARD_BYTES

    elements = [int(tensor.n_elements) for tensor in reader.tensors]
    need = min(size * sum(elements), SHARD_BYTES) + (4 + size) * max(elements, default=0)
    free = psutil.virtual_memory().available
    if need > free:
        raise CheckpointError(
            f"{file}: converting it takes {need / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB "
            f"are free: free some, or {_FOLDER}"
        )


def _tensors(
    file: Path, reader: GGUFReader, config: Mapping[str, Any]
) -> Iterator[tuple[str, torch.Tensor]]:
    for tensor in reader.tensors:
        if tensor.name != _FREQUENCIES:
            yield _name(file, tensor.name), _numbers(file, tensor, config)


def _outline(file: Path, reader: GGUFReader, config: Mapping[str, Any]) -> dict[str, Any]:
    """The safetensors header of what `_tensors` gives."""
    found: dict[str, Any] = {}
    end = 0
    for tensor in reader.tensors:
        if tensor.name != _FREQUENCIES:
            size = int(tensor.n_elements) * _BYTES[config["dtype"]]
            found[_name(file, tensor.name)] = {
                "dtype": STORED[config["dtype"]],
                "shape": [int(each) for each in reversed(tensor.shape)],
                "data_offsets": [end, end + size],
            }
            end += size
    return found


def _name(file: Path, name: str) -> str:
    """A tensor's name in transformers' layout.

    >>> _name(Path("a.gguf"), "blk.3.attn_q.weight")
    'model.layers.3.self_attn.q_proj.weight'
    """
    stem, _, end = name.rpartition(".")
    part = stem.split(".")
    if end in ("weight", "bias"):
        if stem in _MODEL:
            return f"{_MODEL[stem]}.{end}"
        if len(part) == 3 and part[0] == "blk" and part[2] in _LAYER:
            return f"model.layers.{int(part[1])}.{_LAYER[part[2]]}.{end}"
    raise CheckpointError(f"{file}: tensor {name} has no place in the model: {_FOLDER}")


def _numbers(file: Path, tensor: ReaderTensor, config: Mapping[str, Any]) -> torch.Tensor:
    import torch
    from gguf import dequantize

    try:
        numbers = dequantize(tensor.data, tensor.tensor_type)
    except NotImplementedError as error:
        raise CheckpointError(
            f"{file}: {tensor.name} is stored as {tensor.tensor_type.name}, which is not read: "
            f"{_FOLDER}"
        ) from error
    # Copied out of the mapped file in one step with the rounding.
    found = torch.tensor(numbers, dtype=torch.float32).to(torch_dtype(config["dtype"]))
    heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}
    part = tensor.name.split(".")[-2]
    if config["model_type"] == "llama" and part in heads:
        # GGUF stores the rotated pairs of Llama side by side, transformers in two halves.
        count = int(config[heads[part]])
        rows = found.shape[0]
        if rows % (2 * count):
            raise CheckpointError(
                f"{file}: {tensor.name} has {rows} rows, which {count} heads do not "
                f"divide: {_FOLDER}"
            )
        apart = found.reshape(count, rows // count // 2, 2, *found.shape[1:])
        found = apart.transpose(1, 2).reshape(found.shape)
    return found
