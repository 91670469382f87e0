"""Which files of a checkpoint folder matter, and which are never opened.

Knows names only, and the index that names the shards; nothing here reads a tensor.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path

from resources.chat.folder import ADDED, CHAT, MORE_TEMPLATES
from resources.models.errors import CheckpointError

FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
TEMPLATES = ("chat_template.jinja", "chat_template.json")
TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", ADDED),
    *("tokenizer.model", "vocab.json", "merges.txt"),
)
REWARD_HEAD = "reward_head.safetensors"  # beside the weights of a reward model
DESCRIBING = (
    *("config.json", "generation_config.json", *TOKENIZER, *TEMPLATES),
    *(CHAT, REWARD_HEAD),
)
_TERMS = re.compile(r"^(LICEN[CS]E|NOTICE|USE_POLICY|COPYING)([.-][\w.-]+)?$", re.IGNORECASE)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_SHARD = re.compile(r"-\d+-of-\d+\.safetensors$")
_AGAIN = "fetch or write the folder again"


def describing(names: Collection[str]) -> list[str]:
    """Of a folder's file names those that matter beside the weights.

    >>> describing(["README.md", "config.json", "LICENSE", "tool_use.jinja", "original/x.json"])
    ['LICENSE', 'config.json', 'tool_use.jinja']
    """
    return sorted(
        name
        for name in names
        if name in DESCRIBING
        or ("/" not in name and (name.endswith(".jinja") or _TERMS.match(name)))
    )


def weights_file(names: Collection[str], where: str) -> str:
    """The file that gives the weights, `model.safetensors` or the index of the shards.

    Raises CheckpointError, saying what would be right, where there is neither. `where` is the
    folder or hub id, for the message.
    """
    if not names:
        raise CheckpointError(f"{where}: the folder is empty: give a checkpoint's folder")
    for name in (FILE, INDEX):
        if name in names:
            return name
    if any(_SHARD.search(name) for name in names):
        raise CheckpointError(
            f"{where}: {INDEX} is missing, which says what lies in which shard: {_AGAIN}"
        )
    if ADAPTER in names:
        raise CheckpointError(
            f"{where}: {ADAPTER} says that this is an adapter: merge it into its model (peft's "
            "merge_and_unload) and give that"
        )
    found = sorted(name for name in names if name.endswith(_PICKLES))
    if found:
        raise CheckpointError(
            f"{where}: no {FILE}; {found[0]} is a pickle, which is never opened: give the model as "
            "safetensors"
        )
    gguf = sorted(name for name in names if name.endswith(".gguf"))
    if gguf:
        raise CheckpointError(f"{where}: no {FILE}; name the GGUF file itself, {gguf[0]}")
    raise CheckpointError(f"{where}: no {FILE} and no {INDEX}: {_AGAIN}")


def shards(index: Path) -> list[str]:
    """The names of the shards that an index places tensors in.

    Raises CheckpointError for a file that is no index, and names that lead out of the folder.
    """
    try:
        places = json.loads(index.read_text())["weight_map"]
        names = sorted({str(name) for name in places.values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index}: not a safetensors index ({error!r}): {_AGAIN}") from error
    for name in names:
        if "/" in name or name.startswith(".") or not name.endswith(".safetensors"):
            raise CheckpointError(
                f"{index}: weight_map names {name!r}, which is no safetensors file beside the "
                f"index: {_AGAIN}"
            )
    return names


def adopted(folder: Path) -> list[Path]:
    """The files of a checkpoint folder that are adopted: description, weights, terms of use.

    Left out are hidden files, pickles, Python files, and further copies of the weights.
    Raises CheckpointError for a folder that is missing, empty or holds no safetensors.
    """
    names = _names(folder)
    weights = weights_file(names, str(folder))
    wanted = [weights, *(shards(folder / weights) if weights == INDEX else [])]
    for name in wanted:
        if name not in names:
            raise CheckpointError(f"{folder / name}: missing, though {INDEX} names it: {_AGAIN}")
    return [folder / name for name in sorted({*describing(names), *wanted})]


def adopted_tokenizer(folder: Path) -> list[Path]:
    """The files of a tokenizer folder: the tokenizer's own and its templates."""
    names = _names(folder)
    if "tokenizer.json" not in names:
        raise CheckpointError(
            f"{folder}: no tokenizer.json"
            + (
                "; tokenizer.model alone is SentencePiece's file: convert it with transformers' "
                "AutoTokenizer and save_pretrained"
                if "tokenizer.model" in names
                else ": give a folder that holds one"
            )
        )
    return [
        folder / name
        for name in describing(names)
        if name in TOKENIZER or name in TEMPLATES or name.endswith(".jinja")
    ]


def _names(folder: Path) -> list[str]:
    if folder.is_file():
        raise CheckpointError(f"{folder}: is a file: give a checkpoint's folder, or a .gguf file")
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder: give an existing one, or a hub id")
    items = list(folder.iterdir())
    for item in items:
        if item.is_symlink() and not item.exists() and item.suffix in (".json", ".safetensors"):
            raise CheckpointError(f"{item}: is a link to a file that is not there: {_AGAIN}")
    return [item.name for item in items if item.is_file()]


def further_templates(names: Collection[str]) -> list[str]:
    """Of a repository's file names the chat templates for other uses, in a folder of their own.

    >>> further_templates(["chat_template.jinja", "additional_chat_templates/tool_use.jinja"])
    ['additional_chat_templates/tool_use.jinja']
    """
    inside = f"{MORE_TEMPLATES}/"
    return sorted(name for name in names if name.startswith(inside) and name.endswith(".jinja"))
