"""The nemotron-nas layout: widths, export and import, refusals, what the self-check finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from resources.models.errors import CheckpointError, ExportError
from resources.models.export import nemotron_nas
from resources.models.export.nemotron_nas import check_layout, export
from resources.models.export.nemotron_nas_config import DeciLMConfig
from resources.models.export.nemotron_nas_layout import tensors
from resources.models.families.nemotron_nas import multiplier, width
from resources.models.folders import check_stored, write_weights
from resources.models.heads import widen_heads
from resources.models.loading import load
from resources.models.weights import Weights
from tests.resources.models.served import NOOP, random

IDS = torch.arange(4, 44).view(2, 20)
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits


def test_widths_and_multipliers_are_inverse_for_every_multiple_of_256() -> None:
    for hidden in (4096, 8192, 16384):
        for size in range(256, 8 * hidden + 1, 256):
            factor = multiplier(size, hidden)
            assert factor is not None and width(factor, hidden) == size
    # Published: Super (8192), Ultra (16384), and the 8B's 14336.
    assert [width(x, 8192) for x in (5.25, 2.625, 1.3125)] == [28672, 14336, 7168]
    assert (width(4.875, 16384), width(5.25, 4096)) == (53248, 14336)
    assert multiplier(14336, 8192) == 2.625
    assert width(1.0, 128) == 256  # 85 is rounded up
    assert multiplier(320, 128) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"tie_word_embeddings": True},
        {"qkv_bias": True},
        {"attention_bias": True, "mlp_bias": True},
        {"rope_parameters": LLAMA3},
    ],
    ids=["tied", "qwen2", "biased", "llama3"],
)
def test_exported_and_read_back_gives_the_same_logits(
    tmp_path: Path, tokenizer_dir: Path, changes: dict[str, Any]
) -> None:
    model = random(**changes)
    assert export(model, tmp_path / "out", tokenizer_dir) == []
    again = load(tmp_path / "out")
    assert torch.equal(logits(again), logits(model))
    for name in ("block_configs", "rope_parameters", "tie_word_embeddings", "eos_token_id"):
        assert getattr(again.config, name) == getattr(model.config, name)
    values = json.loads((tmp_path / "out" / "config.json").read_text())
    names = set(Weights(tmp_path / "out").entries)
    assert ("lm_head.weight" in names) != model.config.tie_word_embeddings
    assert not [name for name in names if ".3." in name or ".1.self_attn" in name]
    assert values["block_configs"][2]["ffn"]["ffn_mult"] == 6.0
    assert values["block_configs"][1]["ffn"]["intermediate_size"] == 77


def test_the_shipped_class_says_what_vllm_asks(tmp_path: Path, tokenizer_dir: Path) -> None:
    export(random(qkv_bias=True), tmp_path / "out", tokenizer_dir)
    source = (tmp_path / "out" / "configuration_decilm.py").read_text()
    assert source == nemotron_nas.CLASS_SOURCE.read_text() and "resources" not in source
    config = DeciLMConfig(**json.loads((tmp_path / "out" / "config.json").read_text()))
    first, second, third = config.block_configs[:3]
    assert (first.attention.n_heads_in_group, first.attention.no_op) == (2, False)
    assert second.attention.no_op and not hasattr(second.ffn, "ffn_mult")
    assert (second.ffn.intermediate_size, third.ffn.ffn_mult) == (77, 6.0)
    assert not hasattr(third.ffn, "hidden_act")
    assert config.qkv_bias and not config.attention_bias
    assert json.loads(config.to_json_string())["block_configs"][0]["ffn"]["no_op"] is False
    assert DeciLMConfig(**config.to_dict()).block_configs == config.block_configs
    published = DeciLMConfig(intermediate_size=None, num_key_value_heads=None, pad_token_id=None)
    assert published.intermediate_size and published.pad_token_id is None
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / "out" / name).read_bytes() == (tokenizer_dir / name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"block_configs": [{}, {"ffn": {"kind": "linear"}}]}, r"no linear FFN \(layers \[1\]\)"),
        (
            {"block_configs": [{}, {"attention": {"kind": "linear"}}]},
            r"no linear attention \(layers \[1\]\)",
        ),
        ({"block_configs": [{"attention": NOOP}, {}]}, "first layer with an FFN but no attention"),
        ({"block_configs": [{"attention": NOOP}] * 2}, "no layer has attention"),
        ({"hidden_act": "gelu"}, "'gelu': vllm computes silu only"),
        ({"rope_parameters": {**LLAMA3, "rope_type": "dynamic"}}, "rotary embedding 'dynamic'"),
        ({"head_dim": 320}, "heads of 320"),
    ],
)
def test_what_vllm_would_misread_is_refused_before_anything_is_written(
    tmp_path: Path, tokenizer_dir: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ExportError, match=reason):
        export(random(**changes), tmp_path / "out", tokenizer_dir)
    assert not list(tmp_path.iterdir())
    # Nothing at all before the first attention is fine.
    fine = random(block_configs=[{"attention": NOOP, "ffn": NOOP}, {}])
    export(fine, tmp_path / "fine", tokenizer_dir)
    with pytest.raises(ExportError, match="float64"):
        export(random().double(), tmp_path / "out", tokenizer_dir)


def _drop_up(weights: dict[str, torch.Tensor]) -> None:
    del weights["model.layers.0.mlp.up_proj.weight"]


def _stray(weights: dict[str, torch.Tensor]) -> None:
    weights["model.layers.1.input_layernorm.weight"] = torch.ones(64)


def _narrow(weights: dict[str, torch.Tensor]) -> None:
    name = "model.layers.2.mlp.gate_proj.weight"
    weights[name] = weights[name][:250].clone()


def _half(weights: dict[str, torch.Tensor]) -> None:
    weights["model.norm.weight"] = weights["model.norm.weight"].bfloat16()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_drop_up, "up_proj.weight is missing"),
        (_stray, "model.layers.1.input_layernorm.weight in model.safetensors has no place"),
        (_narrow, r"is \[250, 64\], should be \[256, 64\]"),
        (_half, "stored as BF16, should be F32"),
    ],
)
def test_the_self_check_finds_what_vllm_may_pass_over(
    tmp_path: Path, tokenizer_dir: Path, damage: Any, said: str
) -> None:
    export(random(), tmp_path, tokenizer_dir)
    assert check_layout(tmp_path)["tensors"] == len(Weights(tmp_path).entries)
    weights = load_file(tmp_path / "model.safetensors")
    damage(weights)
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=said):
        check_layout(tmp_path)


def test_the_self_check_reads_the_configuration(tmp_path: Path, tokenizer_dir: Path) -> None:
    export(random(), tmp_path, tokenizer_dir)
    values = json.loads((tmp_path / "config.json").read_text())
    more = {**values, "block_configs": [*values["block_configs"], values["block_configs"][0]]}
    (tmp_path / "config.json").write_text(json.dumps(more))
    with pytest.raises(CheckpointError, match="7 block_configs for 6 layers"):
        check_layout(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(values))
    (tmp_path / "configuration_decilm.py").unlink()
    with pytest.raises(CheckpointError, match="class that auto_map names"):
        check_layout(tmp_path)


def test_weights_are_written_in_shards(tmp_path: Path) -> None:
    given = {f"w{index}": torch.full((8,), float(index)) for index in range(5)}
    write_weights(tmp_path, iter(given.items()), shard_bytes=64)  # two tensors of 32 bytes
    files = sorted(file.name for file in tmp_path.glob("*.safetensors"))
    assert files == [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    check_stored(tmp_path, {name: (8,) for name in given}, "float32")
    names = list(given)
    found = Weights(tmp_path).read(names, device=torch.device("cpu"), dtype=torch.float32)
    assert all(torch.equal(found[name], given[name]) for name in names)


def test_a_failed_export_leaves_the_old_one(tmp_path: Path, tokenizer_dir: Path) -> None:
    export(random(), tmp_path / "out", tokenizer_dir)
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json"):
        export(random(qkv_bias=True), tmp_path / "out", tmp_path)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_widened_heads_compute_the_same(tmp_path: Path, tokenizer_dir: Path) -> None:
    for changes in ({}, {"rope_parameters": LLAMA3}, {"tie_word_embeddings": True}):
        model = random(head_dim=24, qkv_bias=True, **changes)
        wide = widen_heads(model, 32)
        assert wide.config.rope_parameters["rope_theta"] == pytest.approx(
            model.config.rope_parameters["rope_theta"] ** (4 / 3)
        )
        expected = logits(model)
        assert (logits(wide) - expected).abs().max() < 1e-4 * expected.abs().max()
    assert export(model, tmp_path / "out", tokenizer_dir) == [
        "heads of 24 are widened to 32 with zeros, for which engines have kernels"
    ]
    assert torch.equal(logits(load(tmp_path / "out")), logits(wide))
    values = json.loads((tmp_path / "out" / "config.json").read_text())
    assert tensors(values)["model.layers.0.self_attn.q_proj.weight"] == (128, 64)
    with pytest.raises(ValueError, match="cannot be widened to 16"):
        widen_heads(model, 16)


def test_the_shipped_class_stays_as_published_exports_have_it() -> None:
    """Exports are compared with it to the byte before it is run, in old homes too."""
    import hashlib

    digest = hashlib.sha256(nemotron_nas.CLASS_SOURCE.read_bytes()).hexdigest()
    assert digest == "b77f4293a9667d418a89c1b91550b631fecd62a28769bdfa62ad1806cb0c8766"
