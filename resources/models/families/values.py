"""What the values of a configuration must be, whichever family it is of: sizes, numbers, types.

Its library takes most of them as they come, so that a damaged one would fail far from here, inside
a matrix product or in a memory that is full. It does not know what they mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

Values = Mapping[str, Any]
SIZES = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "head_dim"),
    *("num_attention_heads", "num_key_value_heads", "max_position_embeddings"),
    "no_rope_layer_interval",
)
NUMBERS = ("rms_norm_eps", "rope_theta")
# Every layer is listed; no model has a tenth as many, and a damaged number would fill the memory.
LAYERS = 10_000
DTYPES = ("float32", "float16", "bfloat16", "float64", "float", "half", "double", "auto")
_ROPE = (
    *("rope_theta", "factor", "original_max_position_embeddings", "low_freq_factor"),
    *("high_freq_factor", "attention_factor", "beta_fast", "beta_slow"),
)


def check_values(values: Values) -> None:
    """Raise ValueError, with key and value, for the first that is none; null and absent are fine.

    >>> check_values({"hidden_size": 0})
    Traceback (most recent call last):
    ValueError: hidden_size is 0: it must be a whole number of at least 1
    """
    for line in _wrong(values):
        raise ValueError(line)


def _wrong(values: Values) -> Iterator[str]:
    for key in SIZES:
        value = values.get(key)
        if value is not None and (type(value) is not int or value < 1):
            yield f"{key} is {value!r}: it must be a whole number of at least 1"
    first = values.get("max_window_layers")
    if first is not None and (type(first) is not int or first < 0):
        yield f"max_window_layers is {first!r}: it must be a whole number of at least 0"
    slides = values.get("use_sliding_window")
    if slides is not None and not isinstance(slides, bool):
        yield f"use_sliding_window is {slides!r}: it must be true or false"
    yield from _wrong_heads(values)
    if (values.get("num_hidden_layers") or 0) > LAYERS:
        yield f"num_hidden_layers is {values['num_hidden_layers']}: at most {LAYERS:,} are read"
    rope = values.get("rope_scaling") or values.get("rope_parameters") or {}
    numbers = [(key, values.get(key)) for key in NUMBERS]
    for key, value in [*numbers, *((f"rope {key}", rope.get(key)) for key in _ROPE)]:
        if value is not None and not _positive(value):
            yield f"{key} is {value!r}: it must be a number above 0"
    for key in ("dtype", "torch_dtype"):
        value = values.get(key)
        if value is not None and str(value).removeprefix("torch.") not in DTYPES:
            yield f"{key} is {value!r}: it must be one of {', '.join(DTYPES)}"
    names = values.get("architectures")
    if names is not None and not isinstance(names, list):
        yield f"architectures is {names!r}: it must be a list of names"


def _wrong_heads(values: Values) -> Iterator[str]:
    """Rotary embedding turns a head's numbers in pairs, and heads without a size share a width."""
    size, hidden = values.get("head_dim"), values.get("hidden_size")
    heads = values.get("num_attention_heads")
    if type(size) is int and size % 2:
        yield f"head_dim is {size}: it must be even, since numbers are turned in pairs"
    if size is not None or not isinstance(hidden, int) or not isinstance(heads, int):
        return
    if heads > 0 and hidden % (2 * heads):
        yield (
            f"hidden_size is {hidden} and num_attention_heads {heads}, which gives heads of "
            f"{hidden / heads:g} numbers: it must be an even whole number, or stand as head_dim"
        )


def _positive(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0
