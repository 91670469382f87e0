"""What is wrong with a checkpoint folder, found before it is used: one line a fault.

`faults` reads configuration, headers and tokenizer; `read_weights` reads every number once. Each
line names the file and the field and says what would be right.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from resources.models.errors import CheckpointError
from resources.models.loading import check_weights, description
from resources.pretrained import files, headers, hub
from resources.pretrained.assembling import Assembled, assemble

if TYPE_CHECKING:
    from resources.pretrained.source import ParentSource

Role = Literal["parent", "teacher"]
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
_TIED = ("model.embed_tokens.weight", "lm_head.weight")
# Its published checkpoints name code for their family, which this package computes itself.
_OWN_CODE = ("nemotron-nas",)


def source_faults(source: ParentSource, workdir: Path, role: Role = "parent") -> list[str]:
    """`faults` of what a recipe names, without adopting it; `workdir` is for links.

    Of a hub id the small files and the headers of the weights are fetched, of a GGUF file the
    weights are not converted: what is wrong with numbers alone is found when they are adopted.
    """
    try:
        return described_faults(source, assemble(source, workdir, "description"), role)
    except CheckpointError as error:
        return [str(error)]


def described_faults(source: ParentSource, found: Assembled, role: Role = "parent") -> list[str]:
    """`source_faults` of a source whose description is gathered."""
    seen = source.kind != "hub"
    try:
        with found.naming():
            seen = seen or hub.outline(source, found.folder)
        return [found.said(line) for line in faults(found.folder, role, weights=seen)]
    except CheckpointError as error:
        return [str(error)]


def faults(folder: Path, role: Role = "parent", *, weights: bool = True) -> list[str]:
    """Everything that configuration, headers and tokenizer show to be wrong; reads no weights.

    A `parent` is taken apart, so it must be of a supported family; a `teacher` only answers, so
    it may be any causal model that transformers has. Empty where nothing is wrong.
    """
    found: list[str] = []

    def note(step: Callable[[], Any]) -> Any:
        try:
            return step()
        except CheckpointError as error:
            found.append(str(error))
            return None

    config = note(lambda: read_json(folder / "config.json", "this is no checkpoint folder"))
    if config is None:
        return found
    note(lambda: _no_code(folder, config, role))
    ours = note(lambda: family_config(folder, role))
    tensors = note(lambda: _headers(folder)) if weights else None
    if tensors is not None and ours is not None:
        note(lambda: _fits(folder, ours))
    rows = _rows(tensors or {}, config)
    return [*found, *tokenizer_faults(folder, rows), *_id_faults(folder, config, rows)]


def check(folder: Path, role: Role = "parent") -> None:
    """Raise CheckpointError with the first of `faults`, saying how many more there are."""
    found = faults(folder, role)
    if found:
        more = f" (and {len(found) - 1} more: `heirloom check` lists them)" if found[1:] else ""
        raise CheckpointError(found[0] + more)


def read_weights(folder: Path, digests: Mapping[str, str] | None = None) -> None:
    """Read every file of the weights once: all numbers finite, each of the SHA-256 in `digests`.

    A tied output head that is stored beside its embedding holds the same numbers. Raises
    CheckpointError with the file and the tensor. Memory stays flat.
    """
    config = read_json(folder / "config.json", "this is no checkpoint folder")
    tied = _TIED if config.get("tie_word_embeddings") else ()
    digests = digests or {}
    hashes: dict[str, str] = {}
    for name in _weight_files(folder):
        hashes |= headers.scan(folder / name, digests.get(name), tied)
    for name, digest in digests.items():
        if not name.endswith(".safetensors") and (folder / name).is_file():
            _digest_is(folder / name, digest)
    if len(set(hashes.values())) > 1:
        embedding, head = _TIED
        raise CheckpointError(
            f"{folder}: {head} differs from {embedding}, with which config.json ties it: set "
            "tie_word_embeddings to false"
        )


def family_config(folder: Path, role: Role = "parent") -> dict[str, Any] | None:
    """The values of the configuration as one of ours; None for a teacher whose layers only
    transformers knows.

    Raises CheckpointError for what neither does.
    """
    try:
        return description(folder)
    except CheckpointError:
        if role == "parent":
            raise
    file = folder / "config.json"
    family = read_json(file, "this is no checkpoint folder").get("model_type")
    if is_causal(family):
        return None
    raise CheckpointError(
        f"{file}: model_type {family!r} is no causal model of the installed transformers, and code "
        "that comes with a model is never run: serve it and name its address, or choose another "
        "teacher"
    )


def parameters(folder: Path) -> int:
    """How many numbers the weights hold, a tied output head once."""
    config = read_json(folder / "config.json", "this is no checkpoint folder")
    tied = _TIED[1:] if config.get("tie_word_embeddings") else ()
    tensors = _headers(folder)
    return sum(math.prod(one.shape) for name, one in tensors.items() if name not in tied)


def tokenizer_faults(folder: Path, rows: int | None = None) -> list[str]:
    """What is wrong with the tokenizer and chat template of a folder.

    `rows` are the embedding's: every token must have one.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        try:
            files.adopted_tokenizer(folder)
        except CheckpointError as error:
            return [f"{error}, or name one: {{path: …, tokenizer: ./folder}}"]
    from tokenizers import Tokenizer

    from resources.chat.chat import load_tokenizer
    from resources.chat.errors import ChatError
    from resources.chat.folder import adds, settings, special_tokens

    try:
        own = tokens = Tokenizer.from_file(str(file)).get_vocab(with_added_tokens=True)
    except Exception as error:  # the library raises its own Exception, no subclass
        return [f"{file}: cannot be read as a tokenizer ({error}): fetch the file again"]
    found = []
    config = folder / "tokenizer_config.json"
    try:
        settings(folder)
        if config.is_file() and read_json(config, "").get("auto_map"):
            found.append(
                f"{config}: auto_map names code to run, which is never run: give a copy without "
                "auto_map, whose tokenizer_class is PreTrainedTokenizerFast"
            )
        if adds(folder) or set(special_tokens(folder).values()) - set(own):
            tokens = load_tokenizer(folder).get_vocab()
    except (ChatError, CheckpointError) as error:
        found.append(str(error))
    token = max(tokens, key=lambda name: tokens[name], default=None)
    if rows is not None and token is not None and tokens[token] >= rows:
        where = f"{file}: its" if token in own else f"{config} adds {token!r}: the"
        found.append(
            f"{where} largest token id is {tokens[token]} and the embedding has {rows} rows, 0 to "
            f"{rows - 1}: give the tokenizer that the model was trained with"
        )
    return found


def read_json(file: Path, without: str) -> dict[str, Any]:
    """The object in a JSON file; CheckpointError where it is missing or none, `without` it what."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if file.parent.is_dir() and not any(file.parent.iterdir()):
            raise CheckpointError(f"{file.parent}: the folder is empty: {without}") from None
        raise CheckpointError(f"{file.parent}: no {file.name}, so {without}") from None
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: not valid JSON ({error})") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{file}: holds {type(found).__name__}, should be an object of keys")
    return found


def _no_code(folder: Path, config: Mapping[str, Any], role: Role) -> None:
    """Refuse what needs code of its own; a teacher that transformers knows does not."""
    code = config.get("auto_map")
    family = config.get("model_type")
    if not code or family in _OWN_CODE or (role == "teacher" and is_causal(family)):
        return
    named = min(map(str, code)) if isinstance(code, Mapping | list) else repr(code)
    raise CheckpointError(
        f"{folder / 'config.json'}: auto_map names code to run ({named}), "
        "which is never run: where the model is a plain one of its model_type, give a copy without "
        "auto_map"
    )


def is_causal(family: Any) -> bool:
    """Whether transformers has a causal model of this `model_type`, without a checkpoint's code."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def _headers(folder: Path) -> dict[str, headers.Tensor]:
    found = {}
    for name in _weight_files(folder):
        for tensor in headers.header(folder / name):
            if tensor.name in found:
                raise CheckpointError(
                    f"{folder / name}: {tensor.name} is in another shard too: "
                    "fetch the folder again"
                )
            found[tensor.name] = tensor
    return found


def _weight_files(folder: Path) -> list[str]:
    names = [item.name for item in folder.iterdir()] if folder.is_dir() else []
    name = files.weights_file(names, str(folder))
    if name == files.FILE:
        return [name]
    listed = files.shards(folder / name)
    for shard in listed:
        if shard not in names:
            raise CheckpointError(
                f"{folder / shard}: missing, though {files.INDEX} names it: fetch the folder again"
            )
    return listed


def _fits(folder: Path, values: Mapping[str, Any]) -> None:
    from resources.models.weights import Weights

    check_weights(Weights(folder), values)


def _rows(weights: Mapping[str, headers.Tensor], config: Mapping[str, Any]) -> int | None:
    """How many tokens the embedding has a row for; as the configuration says where it hides."""
    for name, tensor in weights.items():
        if name.endswith(("embed_tokens.weight", "wte.weight")) and len(tensor.shape) == 2:
            return tensor.shape[0]
    size = config.get("vocab_size")
    return size if isinstance(size, int) else None


def _id_faults(folder: Path, config: Mapping[str, Any], rows: int | None) -> Iterator[str]:
    named = {"config.json": config}
    if (folder / "generation_config.json").is_file():
        try:
            named["generation_config.json"] = read_json(folder / "generation_config.json", "")
        except CheckpointError as error:
            yield str(error)
    for file, values in named.items():
        for key in _IDS:
            ids = values.get(key)
            for one in ids if isinstance(ids, list) else [] if ids is None else [ids]:
                # -1 is how Llama 3 and others write "none".
                whole = isinstance(one, int) and not isinstance(one, bool)
                if not whole or not (one == -1 or 0 <= one < (rows or one + 1)):
                    yield (
                        f"{folder / file}: {key} is {one!r} and the embedding has {rows} rows: "
                        "give the id of a token, or null"
                    )


def _digest_is(file: Path, digest: str) -> None:
    from warehouse.files.filesystem import sha256_file

    found = sha256_file(file)
    if found != digest:
        raise CheckpointError(
            f"{file}: its SHA-256 is {found[:12]}… and the hub gives {digest[:12]}…, so a bit is "
            f"wrong: delete {file.resolve()} and run again"
        )
