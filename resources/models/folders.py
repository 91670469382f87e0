"""Writing checkpoint folders: whole or not at all, weights in shards, a shard in memory at a time.

Knows files and tensors by name; it does not know what a model's configuration means.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.chat.folder import FILES, GENERATION, MORE_TEMPLATES, TOKENIZER
from resources.models.errors import CheckpointError

if TYPE_CHECKING:
    import torch

SHARD_BYTES = 5_000_000_000
INDEX = "model.safetensors.index.json"
NOTE = "heirloom.json"  # in an exported folder: which version of what it was made from
STORED = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}  # as safetensors writes them


def write_json(path: Path, value: Any) -> None:
    """Sorted and indented, so that equal values are equal bytes."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_weights(
    folder: Path, tensors: Iterable[tuple[str, torch.Tensor]], shard_bytes: int = SHARD_BYTES
) -> None:
    """Write `model.safetensors`, or numbered shards of about `shard_bytes` and their index.

    Tensors are taken from the iterator as they are written: beside what they are made from, one
    shard is in memory.
    """
    from safetensors.torch import save_file

    shards: list[list[str]] = []
    waiting: dict[str, torch.Tensor] = {}
    size = total = 0

    def flush() -> None:
        nonlocal size
        save_file(waiting, folder / f"shard-{len(shards)}", metadata={"format": "pt"})
        shards.append(list(waiting))
        waiting.clear()
        size = 0

    for name, tensor in tensors:
        if waiting and size + tensor.nbytes > shard_bytes:
            flush()
        waiting[name] = tensor.detach().cpu().contiguous()
        size += tensor.nbytes
        total += tensor.nbytes
    flush()
    if len(shards) == 1:
        os.replace(folder / "shard-0", folder / "model.safetensors")
        return
    places: dict[str, str] = {}
    for number, names in enumerate(shards):
        file = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        os.replace(folder / f"shard-{number}", folder / file)
        places.update(dict.fromkeys(names, file))
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": places})


def write_chat(folder: Path, source: Path, values: Mapping[str, Any]) -> None:
    """What makes a model's chat, as it is in `source`: tokenizer, template, toggle, and the
    generation config or, where there is none, the token ids of the configuration `values`.

    Raises CheckpointError where `source` has no tokenizer.json.
    """
    if not (source / TOKENIZER).is_file():
        raise CheckpointError(f"{source}: no {TOKENIZER} to write with the model")
    for name in (*FILES, GENERATION):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    if (source / MORE_TEMPLATES).is_dir():
        shutil.copytree(source / MORE_TEMPLATES, folder / MORE_TEMPLATES)
    if not (folder / GENERATION).is_file():
        write_token_ids(folder, values)


def write_token_ids(folder: Path, values: Mapping[str, Any]) -> None:
    """A generation config with the token ids that begin, end and pad, and nothing of sampling."""
    ids = ("bos_token_id", "eos_token_id", "pad_token_id")
    write_json(folder / GENERATION, {key: values.get(key) for key in ids})


def check_stored(folder: Path, expected: Mapping[str, tuple[int, ...]], dtype: str) -> None:
    """Compare names, shapes and types in the folder's safetensors headers with `expected`.

    Needed because a server may leave a part that is missing as it is and say nothing.
    Raises CheckpointError with what differs, or when a file cannot be read.
    """
    from resources.models.weights import Weights

    found = Weights(folder).entries
    troubles = [f"{name} is missing" for name in expected if name not in found]
    for name, entry in found.items():
        if name not in expected:
            troubles.append(f"{name} in {entry.file.name} has no place in the model")
        elif entry.shape != tuple(expected[name]):
            troubles.append(f"{name} is {list(entry.shape)}, should be {list(expected[name])}")
        elif entry.dtype != STORED[dtype]:
            troubles.append(f"{name} is stored as {entry.dtype}, should be {STORED[dtype]}")
    if troubles:
        more = f", and {len(troubles) - 3} more" if len(troubles) > 3 else ""
        raise CheckpointError(f"{folder}: {'; '.join(troubles[:3])}{more}")


def stored_dtype(folder: str | Path) -> str:
    """The dtype in which a folder's weights are stored, such as "bfloat16".

    Raises CheckpointError where there are none, or none that can be read.
    """
    from resources.models.weights import Weights

    return Weights(folder).dtype
