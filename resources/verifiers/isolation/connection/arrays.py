"""NumPy's arrays and scalars as data between tester and program, where the library is there."""

import sys
from typing import Any

_KINDS = "biufcU"
_MOST = 4_000_000  # items


def is_array(value: Any) -> bool:
    """Whether a value is an array or a scalar of NumPy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic))


def encode(value: Any) -> dict[str, Any] | None:
    """An array or scalar as a record, or None where its items are not plain data."""
    if value.dtype.kind not in _KINDS or value.size > _MOST:
        return None
    flat = value.reshape(-1).tolist()
    if value.dtype.kind == "c":
        flat = [[each.real, each.imag] for each in flat]
    shape = list(value.shape) if isinstance(value, sys.modules["numpy"].ndarray) else None
    return {"t": "array", "dtype": value.dtype.str, "shape": shape, "v": flat}


def decode(record: dict[str, Any]) -> Any:
    """The value of a record; raises ValueError or TypeError when it is malformed."""
    import numpy

    kind = numpy.dtype(str(record["dtype"]))
    flat = record["v"]
    if kind.kind not in _KINDS or not isinstance(flat, list):
        raise ValueError("array")
    if kind.kind == "c":
        flat = [complex(*map(float, each)) for each in flat]
    array = numpy.array(flat, dtype=kind)
    shape = record["shape"]
    return array[0] if shape is None else array.reshape([int(side) for side in shape])


def plain(value: Any) -> Any:
    """The value with NumPy's numbers and arrays as Python's, also inside lists and the like."""
    if is_array(value):
        return value.tolist()
    if isinstance(value, (list, tuple, set, frozenset)):
        return type(value)(plain(each) for each in value)
    if isinstance(value, dict):
        return {plain(key): plain(each) for key, each in value.items()}
    return value
