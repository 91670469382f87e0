"""Safetensors files that are whole or absent, with a little JSON in their header.

Knows names and tensors; knows nothing of what they mean.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from warehouse.files.filesystem import replacing

_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], facts: Any) -> None:
    """Writes a file, whole or not at all.

    Raises:
        OSError: the disk is full, or what else the system says.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {name: value.detach().contiguous().cpu() for name, value in tensors.items()}
    metadata = None if facts is None else {"facts": json.dumps(facts)}
    with replacing(path) as aside:
        try:
            save_file(plain, aside, metadata=metadata)
        except SafetensorError as error:
            found = _OS_ERROR.search(str(error))
            if found is None:
                raise
            number = int(found.group(1))
            raise OSError(number, os.strerror(number), str(path)) from error


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """A file that `write_tensors` made: (its facts, a reader with `keys` and `get_tensor`)."""
    from safetensors import safe_open

    # Read, not mapped: what was read must stay when the file is replaced, and aligned as if made.
    with safe_open(path, framework="pt", backend="pread") as file:
        metadata = file.metadata() or {}
        yield json.loads(metadata.get("facts", "null")), file
