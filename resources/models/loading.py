"""Reading and writing checkpoints: plain Llama folders and our own, as safetensors only.

It never runs code from a checkpoint and never unpickles. It does not know assets or the store.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.models.template import CHAT_TEMPLATE

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from resources.models.config import HeterogeneousLlamaConfig
    from resources.models.modeling import HeterogeneousLlamaForCausalLM

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says which, why, and what would be right."""


def locate(name: str | Path) -> Path:
    """The local folder of a checkpoint given as a path or as a hub id (`owner/name`).

    A hub id is fetched into the hub's cache: configuration, safetensors and tokenizer only.
    Raises CheckpointError when the folder does not exist or the hub cannot be reached.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if isinstance(name, Path) or not _HUB_ID.match(name):
        raise CheckpointError(f"no checkpoint folder at {path}: give a folder or a hub id")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.safetensors*", "*.json", "*.model"]))
    except Exception as error:
        raise CheckpointError(
            f"{name}: no such folder, and the hub could not give it ({type(error).__name__}): "
            "check the name, the network and the access that gated models ask for, or give the "
            "path of a downloaded copy"
        ) from error


def read_config(path: str | Path) -> HeterogeneousLlamaConfig:
    """The configuration of a checkpoint folder; a plain Llama becomes a homogeneous one of ours.

    Raises CheckpointError for other model families.
    """
    from resources.models.config import HeterogeneousLlamaConfig

    file = Path(path) / "config.json"
    try:
        values: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no config.json, so this is no checkpoint folder") from None
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{file}: not valid JSON ({error})") from error
    family = values.get("model_type")
    if family not in ("llama", HeterogeneousLlamaConfig.model_type):
        raise CheckpointError(
            f"{path}: model family {family!r} is not supported: only Llama checkpoints "
            "(model_type 'llama') and Heirloom's own are, because blocks are taken apart"
        )
    if "quantization_config" in values:
        raise CheckpointError(
            f"{path}: quantized weights are not supported: give a bf16 checkpoint"
        )
    for key in ("architectures", "model_type", "transformers_version", "auto_map"):
        values.pop(key, None)
    try:
        return HeterogeneousLlamaConfig(**values)
    except ValueError as error:
        raise CheckpointError(f"{file}: {error}") from error


def load(
    path: str | Path, *, device: str = "cpu", dtype: str = "float32"
) -> HeterogeneousLlamaForCausalLM:
    """Load a plain Llama 2/3 folder or one of ours, in evaluation mode.

    Weights are read from `model.safetensors` or its shards. Raises CheckpointError when the
    family is another, the weights are missing or of another format, or a tensor is missing, left
    over or misshapen.
    """
    folder = Path(path)
    config = read_config(folder)
    if not any((folder / name).is_file() for name in WEIGHTS):
        found = sorted(file.name for file in folder.glob("*.bin"))
        raise CheckpointError(
            f"{folder}: no model.safetensors"
            + (f" ({found[0]} is a pickle, which is never opened: convert it)" if found else "")
        )
    model, report = _read_weights(folder, config, dtype)
    for trouble in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        # Old Llama 2 checkpoints carry a buffer that is computed today.
        keys = sorted(key for key in map(str, report[trouble]) if "rotary_emb.inv_freq" not in key)
        if keys:
            raise CheckpointError(
                f"{folder}: {len(keys)} {trouble.replace('_', ' ')} in the weights, first {keys[0]}"
            )
    return model.to(device).eval()


def _read_weights(
    folder: Path, config: HeterogeneousLlamaConfig, dtype: str
) -> tuple[Any, dict[str, Any]]:
    """The model and `transformers`' report of keys that did not match."""
    import torch
    from transformers.utils import logging

    from resources.models.modeling import HeterogeneousLlamaForCausalLM

    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        result: Any = HeterogeneousLlamaForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (RuntimeError, OSError) as error:
        raise CheckpointError(f"{folder}: weights do not fit the configuration: {error}") from error
    finally:
        if bar:
            logging.enable_progress_bar()
    model, report = result
    return model, report


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerFast:
    """The tokenizer in a checkpoint or tokenizer folder, with the chat template set."""
    from transformers import PreTrainedTokenizerFast

    file = Path(path) / "tokenizer.json"
    if not file.is_file():
        raise CheckpointError(f"{path}: no tokenizer.json")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(
        Path(path), local_files_only=True, clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def save(
    model: HeterogeneousLlamaForCausalLM, directory: str | Path, tokenizer_dir: str | Path
) -> None:
    """Write a checkpoint folder: config.json, safetensors, generation_config.json, tokenizer.

    The folder appears whole or not at all: it is written beside and renamed into place; an
    existing folder is replaced. The bytes depend on the model only, not on library versions.
    """
    target = Path(directory)
    tokenizer_folder = Path(tokenizer_dir)
    if not (tokenizer_folder / "tokenizer.json").is_file():
        raise CheckpointError(f"{tokenizer_folder}: no tokenizer.json to save with the model")
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}"
    aside.mkdir()
    try:
        _write(model, aside, tokenizer_folder)
        if target.exists():
            old = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}"
            os.replace(target, old)
            os.replace(aside, target)
            shutil.rmtree(old)
        else:
            os.replace(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write(model: HeterogeneousLlamaForCausalLM, folder: Path, tokenizer_folder: Path) -> None:
    from huggingface_hub import save_torch_state_dict

    config = model.config.to_dict()
    config.pop("transformers_version", None)
    config.pop("_name_or_path", None)
    config["architectures"] = [type(model).__name__]
    config["dtype"] = str(model.dtype).removeprefix("torch.")
    _write_json(folder / "config.json", config)
    ids = ("bos_token_id", "eos_token_id", "pad_token_id")
    _write_json(folder / "generation_config.json", {key: config.get(key) for key in ids})
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    save_torch_state_dict(weights, folder, max_shard_size="5GB", metadata={"format": "pt"})
    for name in TOKENIZER_FILES:
        if (tokenizer_folder / name).is_file():
            shutil.copyfile(tokenizer_folder / name, folder / name)
    for file in folder.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
