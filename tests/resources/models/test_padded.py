"""The padded form: a plain model of its own family that stock transformers loads, logits equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from resources.models.config import HeterogeneousDecoderConfig
from resources.models.errors import ExportError
from resources.models.export import padded
from resources.models.loading import load
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from tests.resources.models import folders
from tests.resources.models.served import random

IDS = torch.randint(2, 50, (2, 20), generator=torch.Generator().manual_seed(0))


def logits(model: torch.nn.Module, ids: torch.Tensor = IDS) -> torch.Tensor:
    with torch.inference_mode():
        return model(ids).logits


def stock(folder: Path) -> Any:
    """The folder as stock transformers opens it, by its own class."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=False, attn_implementation="sdpa"
    ).eval()


@pytest.mark.parametrize("name", folders.FAMILIES)
def test_a_model_without_changes_is_bit_equal_in_stock_transformers(
    tmp_path: Path, tokenizer_dir: Path, name: str
) -> None:
    theirs = folders.theirs(name)
    ours = load(folders.save(theirs, tmp_path / "given"))
    remarks = padded.export(ours, tmp_path / "out", tokenizer_dir)
    assert not [remark for remark in remarks if "saves" in remark]
    ignored = [remark for remark in remarks if "ignores the windows" in remark]
    assert bool(ignored) == (name in ("qwen2_window", "qwen3_window", "smollm3_window"))
    again = stock(tmp_path / "out")
    assert type(again) is type(theirs)
    assert torch.equal(logits(again), logits(stock(tmp_path / "given")))
    values = json.loads((tmp_path / "out" / "config.json").read_text())
    assert values["architectures"] == [type(theirs).__name__]


@pytest.mark.parametrize("name", folders.FAMILIES)
def test_a_heterogeneous_child_equals_its_padded_form(
    tmp_path: Path, tokenizer_dir: Path, name: str
) -> None:
    parent = load(folders.save(folders.theirs(name), tmp_path / "given"))
    blocks = [dict(block) for block in parent.config.block_configs or []]
    blocks[0]["attention"] = {**blocks[0]["attention"], "num_key_value_heads": 1}
    blocks[0]["ffn"] = {"intermediate_size": 7}
    blocks[1] = {"attention": {"kind": "noop"}, "ffn": {"intermediate_size": 40}}  # as if fused
    blocks[2]["ffn"] = {"kind": "noop"}
    values = {**parent.config.to_dict(), "block_configs": blocks}
    child = folders.fill(HeterogeneousDecoderForCausalLM(HeterogeneousDecoderConfig(**values)))
    remarks = padded.export(child, tmp_path / "out", tokenizer_dir)
    assert padded.SAVES_NOTHING in remarks
    theirs = stock(tmp_path / "out")
    assert type(theirs).__name__.startswith(folders.FAMILIES[name][0])
    # Heads eight times as wide have their rotary frequencies rounded anew.
    most = 1e-3 if any("widened" in remark for remark in remarks) else 1e-5
    assert (logits(theirs) - logits(child)).abs().max() < most
    # And back: a plain model of a family is one of ours.
    assert (logits(load(tmp_path / "out")) - logits(theirs)).abs().max() < 1e-5


def test_what_no_plain_model_equals_is_refused(tmp_path: Path, tokenizer_dir: Path) -> None:
    for changes, reason in (
        ({"block_configs": [{}, {"ffn": {"kind": "linear"}}]}, r"linear ffn \(layers \[1\]\)"),
        ({"block_configs": [{"attention": {"kind": "linear"}}, {}]}, "linear attention"),
        (
            {"family": "mistral", "block_configs": [{"attention": {"window": 5}}, {}]},
            "with and without a sliding window",
        ),
    ):
        with pytest.raises(ExportError, match=reason):
            padded.export(random(**changes), tmp_path / "out", tokenizer_dir)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("head_dim", [24, 32])
def test_a_child_gets_heads_that_engines_have(
    tmp_path: Path, tokenizer_dir: Path, head_dim: int
) -> None:
    model = random(head_dim=head_dim, attention_bias=True, mlp_bias=True)
    remarks = padded.export(model, tmp_path / "out", tokenizer_dir)
    assert len(remarks) == 1 + (head_dim == 24)
    theirs = stock(tmp_path / "out")
    assert (theirs.config.intermediate_size, theirs.config.num_key_value_heads) == (256, 4)
    expected = logits(model)
    tolerance = 1e-5 if head_dim == 32 else 1e-4  # rotary frequencies are rounded anew
    assert (logits(theirs) - expected).abs().max() < tolerance * expected.abs().max()


def test_bfloat16_stays_bfloat16(tmp_path: Path, tokenizer_dir: Path) -> None:
    model = random().bfloat16()
    padded.export(model, tmp_path / "out", tokenizer_dir)
    assert load(tmp_path / "out").dtype == torch.bfloat16
