"""Small checkpoint folders for the tests, whole or with one thing wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

# Its special token is one of the tiny tokenizer's.
TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<|eot_id|>{% endfor %}"


def instruct(tiny_llama: Path, folder: Path, **config: Any) -> Path:
    """A copy of the random tiny Llama with a chat template; `config` changes config.json."""
    shutil.copytree(tiny_llama, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    set_json(folder / "config.json", **config)
    return folder


def set_json(file: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None takes one out."""
    values = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def sharded(folder: Path) -> Path:
    """Rewrite the weights of a folder as shards with an index, in place."""
    from safetensors.torch import load_file

    from resources.models.folders import write_weights

    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    write_weights(folder, iter(tensors.items()), shard_bytes=20_000)
    return folder


def rewrite_header(file: Path, name: str, **changes: Any) -> None:
    """Change what a safetensors header says of one tensor, and nothing behind it."""
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    entries = json.loads(data[8 : 8 + length])
    entries[name] |= changes
    header = json.dumps(entries).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])


def set_numbers(file: Path, name: str, index: int, value: float) -> None:
    """Put one number of a tensor of a safetensors file."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    tensors[name].view(-1)[index] = value
    save_file(tensors, file, metadata={"format": "pt"})
