"""What is computed in: what a recipe asks for, what is usual, and what a device cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from assets.catalog import all_specs
from jobs.checks.machine import computed
from resources.models import loading
from resources.models.precision import Precision, PrecisionError, arithmetic, cannot
from resources.recipe.loading import load
from resources.recipe.sections.base import DOMAINS


@pytest.mark.parametrize(
    ("asked", "device", "weights", "training"),
    [
        (None, "cpu", "float32", "float32"),
        (None, "cuda", "bfloat16", "bfloat16"),
        ("float32", "cuda:1", "float32", "float32"),
        ("tf32", "cuda", "float32", "float32"),
        ("bfloat16", "cpu", "bfloat16", "bfloat16"),
    ],
)
def test_what_is_loaded_and_what_learns(
    tiny_llama: Path, tmp_path: Path, asked: str | None, device: str, weights: str, training: str
) -> None:
    loading.save(loading.load(tiny_llama), tmp_path / "half", tiny_llama, "bfloat16")
    found = Precision(asked, device)
    assert (found.weights(tmp_path / "half"), found.training) == (weights, training)


def test_what_learns_computes_in_bfloat16_with_float32_weights() -> None:
    layer, states = torch.nn.Linear(4, 4), torch.randn(2, 4)
    with Precision("bfloat16", "cpu").autocast():
        assert layer(states).dtype == torch.bfloat16
    with Precision(None, "cpu").autocast():
        assert layer(states).dtype == torch.float32


def test_a_cpu_has_no_tf32_and_says_so() -> None:
    why = cannot("tf32", "cpu")
    assert why == "tf32 is arithmetic of GPUs, the device is cpu: take float32 or bfloat16"
    assert [cannot(each, "cpu") for each in (None, "float32", "bfloat16")] == [None] * 3
    with pytest.raises(PrecisionError, match="tf32 is arithmetic of"), arithmetic("tf32", "cpu"):
        pass


def test_an_old_gpu_is_told_from_one_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (7, 5))
    for asked in ("tf32", "bfloat16"):
        assert cannot(asked, "cuda") == (
            f"{asked} needs a GPU of compute capability 8.0, this one has 7.5: take float32"
        )
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (9, 0))
    assert cannot("tf32", "cuda") is None


def test_tf32_lasts_as_long_as_what_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (9, 0))
    before = torch.get_float32_matmul_precision()
    with arithmetic("tf32", "cuda"):
        assert torch.get_float32_matmul_precision() == "high"
        with arithmetic("float32", "cuda"):
            assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_float32_matmul_precision() == before


def slices(*overrides: str) -> dict[str, dict[str, object]]:
    specs = all_specs(load("tiny", list(overrides), check_paths=False))
    return {spec.key: dict(next(iter(spec.slices().values()))) for spec in specs}


@pytest.mark.parametrize(
    ("keys", "assets"),
    [
        (
            "models.super.puzzle",
            {
                "super/assembled",
                "super/block_library",
                "super/block_scores",
                "super/channel_importance",
                "super/search_study",
            },
        ),
        ("models.super.distillation", {"super/distilled", "super/training_plan"}),
        ("models.super.sft[0]", {"super/sft", "super/training_plan"}),
        ("models.ultra.grpo", {"ultra/grpo", "ultra/training_plan"}),
        ("pass_rates", {"rl_data/pass_rates"}),
        ("reward_model", {"rl_data/reward_model"}),
        (
            "generation",
            {f"sft_data/{domain}_generations" for domain in DOMAINS},
        ),
    ],
)
def test_a_dtype_is_in_the_key_of_what_computes_in_it(keys: str, assets: set[str]) -> None:
    plain, asked = slices(), slices(f"{keys}.dtype=bfloat16")
    assert {key for key in plain if plain[key] != asked[key]} == assets
    for key in assets - {"super/training_plan", "ultra/training_plan"}:
        assert asked[key] == {**plain[key], "dtype": "bfloat16"}


def test_where_a_recipe_says_it_is_found() -> None:
    said = ["models.super.puzzle.dtype=tf32", "benchmarks.dtype=bfloat16", "generation.dtype=tf32"]
    found = {(*map(str, keys), dtype) for keys, dtype in computed(load("tiny", said))}
    assert found == {
        ("models", "super", "puzzle", "dtype", "tf32"),
        ("benchmarks", "dtype", "bfloat16"),
        ("generation", "dtype", "tf32"),
    }
