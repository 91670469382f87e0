"""Reading and writing checkpoints: folders of a supported family and our own, safetensors only.

It never runs code from a checkpoint and never unpickles. It does not know assets or the store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.models.description import described, tensors
from resources.models.errors import CheckpointError
from resources.models.families.registry import convert
from resources.models.folders import stored_dtype, write_chat, write_json, write_weights
from resources.models.names import EMBEDDING, HEAD
from resources.models.precision import name_of, torch_dtype
from warehouse.files.filesystem import replacing_folder

if TYPE_CHECKING:
    from torch import Tensor

    from resources.models.config import HeterogeneousDecoderConfig
    from resources.models.modeling import HeterogeneousDecoderForCausalLM
    from resources.models.weights import Weights

ARCHITECTURE = "HeterogeneousLlamaForCausalLM"  # the name that saved checkpoints carry


def read_config(path: str | Path) -> HeterogeneousDecoderConfig:
    """The configuration of a checkpoint folder of a supported family, as one of ours.

    Raises CheckpointError, with the reason, for what is not supported.
    """
    return _configuration(Path(path) / "config.json", _values(path))


def description(path: str | Path) -> dict[str, Any]:
    """The values of `read_config`, without loading what computes where the file alone tells them.

    Raises CheckpointError as it does.
    """
    values, file = _values(path), Path(path) / "config.json"
    try:
        found = described(convert(values))
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError):
        found = None  # said by the class
    return _configuration(file, values).to_dict() if found is None else found


def _values(path: str | Path) -> dict[str, Any]:
    """What a folder's config.json holds. Raises CheckpointError where it is missing or none."""
    file = Path(path) / "config.json"
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no config.json, so this is no checkpoint folder") from None
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{file}: holds {type(values).__name__}, should be an object of keys")
    return values


def _configuration(file: Path, values: dict[str, Any]) -> HeterogeneousDecoderConfig:
    from huggingface_hub.errors import StrictDataclassError

    from resources.models.config import HeterogeneousDecoderConfig

    try:
        return HeterogeneousDecoderConfig(**convert(values))
    except (ValueError, TypeError, StrictDataclassError) as error:  # a value, or its type
        raise CheckpointError(f"{file}: {' '.join(str(error).split())}") from error
    except (AttributeError, LookupError, ArithmeticError) as error:  # one of another kind
        raise CheckpointError(
            f"{file}: a value is not of the kind that its key has ({error!r}): correct it, or "
            "fetch the file again"
        ) from error


def load(
    folder: str | Path, device: str = "cpu", dtype: str | None = None
) -> HeterogeneousDecoderForCausalLM:
    """Load a folder of a supported family or one of ours, in evaluation mode.

    `dtype` is a name such as "float32"; None: as the weights are stored. Tensors go from the files
    to the device one by one. Raises CheckpointError when the family is another, a weight file is
    missing, truncated or of another format, or a tensor is missing, left over or misshapen.
    """
    import torch
    from transformers import GenerationConfig

    from resources.models.modeling import HeterogeneousDecoderForCausalLM
    from resources.models.weights import Weights

    folder = Path(folder)
    config = read_config(folder)
    weights = Weights(folder)
    check_weights(weights, config.to_dict())
    with torch.device("meta"):
        model = HeterogeneousDecoderForCausalLM(config)
    kind = torch_dtype(dtype or weights.dtype)
    tensors = weights.read(weights_of(model), device=torch.device(device), dtype=kind)
    model.load_state_dict(tensors, strict=False, assign=True)
    model.tie_weights()
    model.renew_tables()
    model.config.dtype = kind
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder, local_files_only=True)
    return model.eval()


def check_weights(weights: Weights, values: Mapping[str, Any]) -> None:
    """Raise CheckpointError, naming the file, unless the weights are those of a configuration.

    `values` are its own, as `description` gives them. Reads headers alone, but for a tied output
    head that is stored.
    """
    weights.check(tensors(values), aliases(values))


def aliases(values: Mapping[str, Any]) -> dict[str, str]:
    """Names of tensors that stand for another: the output head where it is tied."""
    return {HEAD: EMBEDDING} if values["tie_word_embeddings"] else {}


def weights_of(model: HeterogeneousDecoderForCausalLM) -> dict[str, Tensor]:
    """The tensors of a model by name, without those that stand for another."""
    left_out = aliases(model.config.to_dict())
    return {name: each for name, each in model.state_dict().items() if name not in left_out}


def publish(
    model: HeterogeneousDecoderForCausalLM, directory: str | Path, before: str | Path
) -> None:
    """Write the checkpoint that was made of the one in `before`: with its chat, in its dtype.

    So a parent's dtype goes through all that is made of it, whatever it was trained in.
    """
    save(model, directory, before, stored_dtype(before))


def save(
    model: HeterogeneousDecoderForCausalLM,
    directory: str | Path,
    tokenizer_dir: str | Path,
    dtype: str | None = None,
) -> None:
    """Write a checkpoint folder: config.json, safetensors, and what makes the chat.

    Weights are written as `dtype` (None: as they are), rounded one by one; the model stays as it
    is. The folder appears whole or not at all: it is written beside and renamed into place; an
    existing folder is replaced. The bytes depend on the model only, not on library versions.
    """
    tokenizer_folder = Path(tokenizer_dir)
    if not (tokenizer_folder / "tokenizer.json").is_file():
        raise CheckpointError(f"{tokenizer_folder}: no tokenizer.json to save with the model")
    with replacing_folder(Path(directory)) as aside:
        _write(model, aside, tokenizer_folder, dtype or name_of(model.dtype))


def configuration(model: HeterogeneousDecoderForCausalLM) -> dict[str, Any]:
    """The values of config.json for a model; equal models give equal values everywhere."""
    config = model.config.to_dict()
    # What came later than the first checkpoints is left out where it says nothing.
    usual = {"qk_norm": False, "family": None, "transformers_version": ..., "_name_or_path": ...}
    for key, value in usual.items():
        if value is ... or config.get(key) == value:
            config.pop(key, None)
    return config | {
        "architectures": [ARCHITECTURE],
        "dtype": name_of(model.dtype),
    }


def _write(
    model: HeterogeneousDecoderForCausalLM, folder: Path, tokenizer_folder: Path, dtype: str
) -> None:
    config = configuration(model) | {"dtype": dtype}
    write_json(folder / "config.json", config)
    write_chat(folder, tokenizer_folder, config)
    kind = torch_dtype(dtype)
    write_weights(folder, ((name, tensor.to(kind)) for name, tensor in weights_of(model).items()))
