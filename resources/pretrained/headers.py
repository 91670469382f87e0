"""Safetensors files as bytes: what the header promises, and every number behind it, read once.

Files are read in pieces, never mapped: memory stays flat however large they are. It does not know
models.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.models.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np

PIECE = 8 << 20  # bytes read at once
LARGEST_HEADER = 100 << 20  # as the safetensors library has it
_AGAIN = "fetch or write the file again"
_POINTER = b"version https://git-lfs"  # how what Git has in place of a large file begins
# Bits of one number, and of 16-bit-wide views the mask of its exponent.
_BITS = {
    **{"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8},
    **{"U64": 64, "U32": 32, "U16": 16, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8},
    **{"F8_E8M0": 8, "F4": 4, "C64": 64},
}
_EXPONENT = {"F16": 0x7C00, "BF16": 0x7F80}


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file: type as safetensors names it, shape, where its bytes lie."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def header(file: Path) -> list[Tensor]:
    """The tensors of a file in the order of their bytes; reads the header alone.

    Raises CheckpointError, naming the tensor and the field, where the header does not fit itself
    or the file's size: it is truncated, or the header lies.
    """
    try:
        size, handle = file.stat().st_size, open(file, "rb")  # noqa: SIM115 (closed below)
    except OSError as error:
        raise CheckpointError(f"{file}: cannot be read ({error.strerror}): {_AGAIN}") from error
    with handle:
        first = handle.read(len(_POINTER))
        if first == _POINTER:
            raise CheckpointError(
                f"{file}: is a pointer of Git LFS, which stands for the file: run `git lfs pull` "
                "there, or fetch the file"
            )
        length = int.from_bytes(first[:8], "little")
        handle.seek(8)
        if size < 8 or not 2 <= length <= min(LARGEST_HEADER, size - 8):
            raise CheckpointError(
                f"{file}: its header would have {length:,} bytes and the file has {size:,}, so it "
                f"is truncated or no safetensors file: {_AGAIN}"
            )
        try:
            entries = json.loads(handle.read(length))
            entries.pop("__metadata__", None)
            tensors = [_tensor(file, name, entry, 8 + length) for name, entry in entries.items()]
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
            ArithmeticError,
            RecursionError,
        ) as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(
                f"{file}: its header is no safetensors header ({error!r}): {_AGAIN}"
            ) from error
    tensors.sort(key=lambda tensor: (tensor.begin, tensor.end))
    place = 8 + length
    for tensor in tensors:
        if tensor.begin != place:
            raise CheckpointError(
                f"{file}: data_offsets of {tensor.name} begin at {tensor.begin - 8 - length:,}, "
                f"where the tensor before ends at {place - 8 - length:,}: {_AGAIN}"
            )
        place = tensor.end
    if place != size:
        raise CheckpointError(
            f"{file}: its header promises {place:,} bytes and the file has {size:,}, so it is "
            f"{'truncated' if size < place else 'damaged'}: {_AGAIN}"
        )
    return tensors


def hollow(file: Path, tensors: Mapping[str, Any], size: int | None = None) -> None:
    """Write a safetensors file of this header; its numbers are a hole that takes no room.

    Raises CheckpointError where they would not fit into the `size` that the true file has.
    """
    text = json.dumps(tensors).encode()
    end = max((each["data_offsets"][1] for each in tensors.values()), default=0)
    if size is not None and end > size:
        raise CheckpointError(
            f"{file}: its header promises {end:,} bytes and the file has {size:,}, so it is "
            "truncated: name another revision"
        )
    with open(file, "wb") as made:
        made.write(len(text).to_bytes(8, "little") + text)
        made.truncate(8 + len(text) + end)


def scan(file: Path, sha256: str | None = None, tied: tuple[str, ...] = ()) -> dict[str, str]:
    """Read a file once, whole: every number is finite, and its SHA-256 is the one given.

    Returns the SHA-256 of each tensor of `tied`. Raises CheckpointError with the tensor and the
    place of the first NaN or infinity, or with both hashes.
    """
    tensors = header(file)
    whole, found = hashlib.sha256(), {}
    with open(file, "rb", buffering=0) as handle:
        # Hash the header too; the numbers follow in the order of their bytes.
        whole.update(handle.read(tensors[0].begin if tensors else file.stat().st_size))
        for tensor in tensors:
            own = hashlib.sha256() if tensor.name in tied else None
            done = 0
            for piece in _pieces(handle, tensor.end - tensor.begin):
                if sha256 is not None:
                    whole.update(piece)
                if own is not None:
                    own.update(piece)
                index = _not_finite(piece, tensor.dtype)
                if index is not None:
                    number = done * 8 // _BITS[tensor.dtype] + index
                    raise CheckpointError(
                        f"{file}: {tensor.name} has a NaN or infinity at {_place(tensor, number)}: "
                        "give a checkpoint whose weights are finite, or fetch the file again"
                    )
                done += len(piece)
            if own is not None:
                found[tensor.name] = own.hexdigest()
    if sha256 is not None and whole.hexdigest() != sha256:
        raise CheckpointError(
            f"{file}: its SHA-256 is {whole.hexdigest()[:12]}… and the hub gives {sha256[:12]}…, "
            "so a bit is wrong: delete "
            f"{file.resolve()} and run again"
        )
    return found


def _tensor(file: Path, name: str, entry: dict[str, Any], start: int) -> Tensor:
    dtype, shape = str(entry["dtype"]), tuple(int(size) for size in entry["shape"])
    begin, end = (int(offset) for offset in entry["data_offsets"])
    if dtype not in _BITS:
        raise CheckpointError(f"{file}: {name} has the unknown dtype {dtype!r}: {_AGAIN}")
    if any(size < 0 for size in shape) or not 0 <= begin <= end:
        raise CheckpointError(
            f"{file}: {name} has the shape {list(shape)} and data_offsets {[begin, end]}: {_AGAIN}"
        )
    need = math.prod(shape) * _BITS[dtype] // 8
    if need != end - begin:
        raise CheckpointError(
            f"{file}: {name} is {dtype} of shape {list(shape)}, which takes {need:,} bytes, and "
            f"its data_offsets give {end - begin:,}: {_AGAIN}"
        )
    return Tensor(name, dtype, shape, start + begin, start + end)


def _pieces(handle: Any, length: int) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(min(PIECE, max(length, 1))))
    while length:
        got = handle.readinto(buffer[: min(len(buffer), length)])
        if not got:
            raise CheckpointError(f"{handle.name}: ends {length:,} bytes early: {_AGAIN}")
        # Whole numbers of any type: a short read ends between two of eight bytes.
        while got % 8 and got < min(len(buffer), length):
            more = handle.readinto(buffer[got : min(len(buffer), length)])
            if not more:
                raise CheckpointError(f"{handle.name}: ends {length - got:,} bytes early: {_AGAIN}")
            got += more
        yield buffer[:got]
        length -= got


def _not_finite(piece: memoryview, dtype: str) -> int | None:
    """The first number of a piece that is NaN or infinite; None where all are finite."""
    import numpy as np

    bad: np.ndarray[Any, Any]
    if dtype in _EXPONENT:
        bits = np.frombuffer(piece, dtype="<u2") & _EXPONENT[dtype]
        bad = bits == _EXPONENT[dtype]
    elif dtype in ("F32", "F64"):
        bad = ~np.isfinite(np.frombuffer(piece, dtype="<f4" if dtype == "F32" else "<f8"))
    else:
        return None
    return int(bad.argmax()) if bad.any() else None


def _place(tensor: Tensor, number: int) -> list[int]:
    place = []
    for size in reversed(tensor.shape):
        place.append(number % size)
        number //= size
    return place[::-1]
