"""What each target refuses, at sizes where a hand can check the divisions."""

from __future__ import annotations

from typing import Any

import pytest

from assets.puzzle.choice.target import removed_table, unrunnable
from resources.models.accounting import Shape

# 8 query heads, 4 key-value heads of 8 numbers, FFN of 1024
SHAPE = Shape(64, 8, 4, 8, 1024, 100)


def target(engine: str = "vllm", parallel: int = 1, dtype: str = "bfloat16") -> dict[str, Any]:
    return {"engine": engine, "tensor_parallel": parallel, "dtype": dtype, "hardware": None}


def gone(where: dict[str, Any], attention: list[str], ffn: list[str]) -> set[tuple[str, str]]:
    """Pairs of layer 1 that are removed; layer 0 keeps the parent."""
    pairs = [(1, a, f) for a in attention for f in ffn]
    found = unrunnable(where, SHAPE, [(0, "full", "full"), *pairs])
    assert all(layer == 1 and reason for layer, _, _, reason in found)
    return {(a, f) for _, a, f, _ in found}


@pytest.mark.parametrize("engine", ["vllm", "nemotron_nas"])
def test_engines_without_linear_blocks(engine: str) -> None:
    names = ["full", "linear", "noop"]
    linear = {(a, f) for a in names for f in names if "linear" in (a, f)}
    assert gone(target(engine), names, names) == linear
    assert gone(target("transformers", 3), names, names) == set()


def test_a_first_layer_needs_its_attention_before_an_ffn() -> None:
    pairs = [(0, "full", "full"), (0, "noop", "full"), (0, "noop", "noop"), (1, "noop", "full")]
    assert [each[:3] for each in unrunnable(target(), SHAPE, pairs)] == [(0, "noop", "full")]


def test_tensor_parallelism_divides_heads_and_widths() -> None:
    # 4, 2 and 1 key-value heads go with 8 ranks (each divides 8); 3 do not divide 8 query heads
    assert gone(target(parallel=8), ["full", "kv_2", "kv_1"], ["full", "noop"]) == set()
    # 1024 x 30 % = 307, which two ranks cannot share; 25 % = 256, which they can
    assert gone(target(parallel=2), ["full"], ["ratio_30", "ratio_25"]) == {("full", "ratio_30")}
    with pytest.raises(ValueError, match="tensor_parallel 3 does not divide the parent's 8"):
        unrunnable(target(parallel=3), SHAPE, [(0, "full", "full")])
    wide = Shape(96, 12, 6, 8, 1024, 100)
    # 12 query heads go with 4 ranks, but 6 key-value heads and 4 ranks divide neither way
    pairs = [(0, "kv_4", "full"), (0, "full", "full")]
    found = unrunnable(target(parallel=4), wide, pairs)
    assert [each[:2] for each in found] == [(0, "full")]
    assert "6 key-value heads and tensor_parallel 4" in found[0][3]


def test_the_published_layout_rounds_widths_to_256() -> None:
    ffn = ["full", "ratio_50", "ratio_30", "ratio_10"]
    assert gone(target("nemotron_nas"), ["full"], ffn) == {
        ("full", "ratio_30"),
        ("full", "ratio_10"),
    }
    assert gone(target("vllm"), ["full"], ffn) == set()


def test_float8_needs_multiples_of_16_on_every_rank() -> None:
    # keys of 4, 2, 1 heads are 32, 16 and 8 numbers; widths 1024 and 1024 x 10 % = 102
    attention, ffn = ["full", "kv_2", "kv_1"], ["full", "ratio_10"]
    expected = {(a, f) for a in attention for f in ffn if a == "kv_1" or f == "ratio_10"}
    assert gone(target(dtype="float8"), attention, ffn) == expected
    # on two ranks the two heads are 8 numbers each as well, and 102 is 51
    assert gone(target(parallel=2, dtype="float8"), attention, ffn) == expected | {("kv_2", "full")}


def test_what_leaves_no_choice_is_an_error() -> None:
    pairs = [(0, "full", "full"), (1, "linear", "full"), (1, "full", "linear")]
    with pytest.raises(ValueError, match=r"layer 1 has no candidate that vllm can run.*linear"):
        unrunnable(target(), SHAPE, pairs)
    with pytest.raises(ValueError, match="attention in at least one layer"):
        unrunnable(target(), SHAPE, [(0, "noop", "noop"), (1, "noop", "full")])


def test_the_table_names_layer_variant_and_reason() -> None:
    removed = unrunnable(target(), SHAPE, [(0, "full", "full"), (0, "full", "linear")])
    assert removed_table("super", removed).to_pylist() == [
        {
            "model": "super",
            "layer": 0,
            "attention": "full",
            "ffn": "linear",
            "reason": "vllm has no linear FFN",
        }
    ]
    assert removed_table("super", []).num_rows == 0
