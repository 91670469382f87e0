"""The stored tensors of a checkpoint folder: which there are, in which file, read as asked for.

Safetensors only, in one file or in shards with an index; whatever is wrong with them is a
CheckpointError that names the file. It does not know layers or models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from safetensors import SafetensorError, safe_open

from resources.models.errors import CheckpointError
from resources.models.names import HEAD

if TYPE_CHECKING:
    import torch

FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
# What a buffer that is computed today may be stored as; else what is no float is packed weights.
_BUFFERS = ("I64", "BOOL")
_AGAIN = "fetch or write the folder again"
_CORRECT = f"correct config.json, or {_AGAIN}"


class Entry(NamedTuple):
    """Where a tensor is stored, and as what."""

    file: Path
    dtype: str
    shape: tuple[int, ...]


class Weights:
    """The tensors of a folder by name. Making one reads the files' headers, no tensor.

    Raises CheckpointError for a folder without safetensors, an index that is no index, and a file
    that is missing, truncated or lacks a tensor which the index places in it.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        if (folder / FILE).is_file():
            self.source = folder / FILE
            self.entries = _header(self.source)
        elif (folder / INDEX).is_file():
            self.source = folder / INDEX
            self.entries = _shards(self.source)
        else:
            found = sorted(file.name for file in folder.glob("*.bin"))
            raise CheckpointError(
                f"{folder}: no {FILE}"
                + (f" ({found[0]} is a pickle, which is never opened: convert it)" if found else "")
            )

    @property
    def dtype(self) -> str:
        """How most of the numbers are stored, as torch calls it: "bfloat16"."""
        held: dict[str, int] = {}
        for entry in self.entries.values():
            held[entry.dtype] = held.get(entry.dtype, 0) + prod(entry.shape)
        most = max(held, key=lambda name: held[name])
        return FLOATS.get(most, most)

    def check(self, expected: Mapping[str, tuple[int, ...]], aliases: Mapping[str, str]) -> None:
        """Raise CheckpointError unless the tensors are those of `expected`, in name and shape.

        `aliases` are names that stand for another tensor (a tied output head); they need not be
        stored, and must hold the same numbers where they are.
        """
        for name, entry in sorted(self.entries.items()):
            if entry.dtype not in FLOATS and (name in expected or entry.dtype not in _BUFFERS):
                raise CheckpointError(
                    f"{entry.file}: {name} is stored as {entry.dtype}; quantized weights are not "
                    "supported: give a bf16 checkpoint"
                )
        missing = sorted(set(expected) - set(self.entries) - set(aliases))
        if missing == [HEAD]:
            raise CheckpointError(
                f"{self.source}: {HEAD} is missing and tie_word_embeddings in config.json is "
                f"false: set it to true where the head is the embedding, or {_AGAIN}"
            )
        if missing and not set(expected) & set(self.entries) - {HEAD}:
            raise CheckpointError(
                f"{self.source}: its tensors have other names than {missing[0]}"
                f"{self._named()}: give a checkpoint as transformers' save_pretrained writes it"
            )
        if missing:
            raise CheckpointError(
                f"{self.source}: {len(missing)} missing tensors, first {missing[0]}, which "
                f"config.json asks for: {_CORRECT}"
            )
        for name in sorted(self.entries):
            entry = self.entries[name]
            if name not in expected:
                raise CheckpointError(
                    f"{entry.file}: unexpected tensor {name}, for which config.json has no place: "
                    f"{_CORRECT}"
                )
            shape = expected[name]
            if entry.shape != shape:
                raise CheckpointError(
                    f"{entry.file}: {name} is {list(entry.shape)}, which does not fit "
                    f"config.json, where it is {list(shape)}: {_CORRECT}"
                )
        for alias, name in aliases.items():
            if alias in self.entries and self.digest({"": alias}) != self.digest({"": name}):
                raise CheckpointError(
                    f"{self.entries[alias].file}: {alias} differs from {name}, with which "
                    "config.json ties it: set tie_word_embeddings to false"
                )

    def _named(self) -> str:
        return f" (they are called like {min(self.entries)})" if self.entries else ": it holds none"

    def read(
        self, names: Iterable[str], *, device: torch.device, dtype: torch.dtype
    ) -> dict[str, torch.Tensor]:
        """Copies of tensors by name.

        What was copied stays mapped until its file is done with; the system can drop it.
        """
        by_file: dict[Path, list[str]] = {}
        for name in names:
            by_file.setdefault(self.entries[name].file, []).append(name)
        found = {}
        for file, group in by_file.items():
            with _opened(file) as handle:
                for name in group:
                    # Copied even when nothing is converted: what the file is mapped to lies at
                    # its offset in the file, and sums differ in their last bits with alignment.
                    found[name] = handle.get_tensor(name).to(device, dtype, copy=True)
        return found

    def rows(
        self, name: str, indices: torch.Tensor, *, device: torch.device, dtype: torch.dtype
    ) -> torch.Tensor:
        """Rows `[*indices.shape, width]` of a matrix; no others are read, as the file is mapped.

        Raises IndexError for an index that the matrix does not have.
        """
        entry = self.entries[name]
        low, high = int(indices.min()), int(indices.max())
        if low < 0 or high >= entry.shape[0]:
            raise IndexError(f"{name} has rows 0 to {entry.shape[0] - 1}, not {low} to {high}")
        with _opened(entry.file) as handle:
            return handle.get_tensor(name)[indices.cpu()].to(device, dtype)

    def digest(self, names: Mapping[str, str]) -> str:
        """SHA-256 over tensors in the order given: what it is called here, dtype, shape, bytes.

        It depends on what is stored, not on which file it is in.
        """
        import torch

        total = hashlib.sha256()
        for label, name in names.items():
            entry = self.entries[name]
            total.update(json.dumps([label, entry.dtype, entry.shape]).encode())
            with _opened(entry.file) as handle:
                stored = handle.get_tensor(name).contiguous().view(-1).view(torch.uint8)
                total.update(memoryview(stored.numpy()))
                del stored
        return total.hexdigest()


def _header(file: Path) -> dict[str, Entry]:
    with _opened(file, "np") as handle:
        entries = {}
        for name in handle.keys():  # noqa: SIM118 (no mapping: it has no __iter__)
            # Old Llama 2 checkpoints carry a buffer that is computed today.
            if "rotary_emb.inv_freq" not in name:
                part = handle.get_slice(name)
                entries[name] = Entry(file, part.get_dtype(), tuple(part.get_shape()))
        return entries


def _shards(index: Path) -> dict[str, Entry]:
    try:
        places: dict[str, str] = dict(json.loads(index.read_text())["weight_map"])
        files = sorted(set(places.values()))
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{index}: not a safetensors index ({error!r}): {_AGAIN}") from error
    stored = {name: _header(index.parent / name) for name in files}
    entries = {}
    for name, file in places.items():
        if "rotary_emb.inv_freq" in name:
            continue
        if name not in stored[file]:
            raise CheckpointError(
                f"{index.parent / file}: no tensor {name}, which {index.name} places there: "
                f"{_AGAIN}"
            )
        entries[name] = stored[file][name]
    return entries


@contextmanager
def _opened(file: Path, framework: Literal["pt", "np"] = "pt") -> Iterator[Any]:
    """The file open for reading; what goes wrong is a CheckpointError with its name.

    For "np" torch is not loaded: enough for headers, since NumPy has no bfloat16.
    """
    try:
        with safe_open(file, framework=framework) as handle:
            yield handle
    except FileNotFoundError as error:
        raise CheckpointError(f"{file}: missing, though the index names it: {_AGAIN}") from error
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{file}: cannot be read, so it is truncated or damaged ({error}): {_AGAIN}"
        ) from error
