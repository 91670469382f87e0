"""Checkpoints as NVIDIA publishes them: read, computed by hand, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from resources.models.export.nemotron_nas_layout import entries
from resources.models.families.nemotron_nas import convert
from resources.models.loading import load


def attention(**said: Any) -> dict[str, Any]:
    keys = ("sparsify", "window_length", "num_sink_tokens")
    quiet = {**dict.fromkeys(keys), "unshifted_sink": False}
    blank = {"n_heads_in_group": None, "no_op": False, "replace_with_linear": False}
    return blank | quiet | {"use_prefill_window_in_sink_attention": False} | said


def ffn(**said: Any) -> dict[str, Any]:
    blank = {"ffn_mult": None, "no_op": False, "replace_with_linear": False}
    return blank | {"sparsify": None} | said


# NVIDIA's layout: null sizes, dummy layers, keys that say nothing, linear layers, rounding.
PUBLISHED = {
    "architectures": ["DeciLMForCausalLM"],
    "auto_map": {"AutoConfig": "configuration_decilm.DeciLMConfig"},
    "model_type": "nemotron-nas",
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "eos_token_id": [1, 2, 3],
    "head_dim": None,
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": None,
    "max_position_embeddings": 128,
    "mlp_bias": False,
    "num_attention_heads": 4,
    "num_hidden_layers": 5,
    "num_key_value_heads": None,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-5,
    "rope_scaling": None,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "transformers_version": "4.48.3",
    "vocab_size": 64,
    "block_configs": [
        {"attention": attention(n_heads_in_group=2), "ffn": ffn(ffn_mult=12.0)},
        {"attention": attention(no_op=True), "ffn": ffn(no_op=True)},
        {"attention": attention(no_op=True), "ffn": ffn(ffn_mult=13.3)},  # 283 -> 512
        {
            "attention": attention(replace_with_linear=True),
            "ffn": ffn(replace_with_linear=True),
        },
        {"attention": attention(n_heads_in_group=4), "ffn": ffn(no_op=True)},
    ],
}


def published_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of a checkpoint with the configuration `PUBLISHED`."""
    part = "model.layers."
    shapes = {
        "model.embed_tokens.weight": (64, 32),
        "model.norm.weight": (32,),
        "lm_head.weight": (64, 32),
        **{f"{part}{layer}.input_layernorm.weight": (32,) for layer in (0, 3, 4)},
        **{f"{part}{layer}.post_attention_layernorm.weight": (32,) for layer in (0, 2, 3)},
        **{
            f"{part}{layer}.self_attn.{name}_proj.weight": (32, 32)
            for layer in (0, 4)
            for name in "qo"
        },
        **{f"{part}0.self_attn.{name}_proj.weight": (16, 32) for name in "kv"},
        **{f"{part}4.self_attn.{name}_proj.weight": (8, 32) for name in "kv"},
        f"{part}3.self_attn.linear_attn.weight": (32, 32),
        f"{part}3.mlp.linear_mlp.weight": (32, 32),
    }
    for layer, size in ((0, 256), (2, 512)):
        for name in ("gate", "up"):
            shapes[f"{part}{layer}.mlp.{name}_proj.weight"] = (size, 32)
        shapes[f"{part}{layer}.mlp.down_proj.weight"] = (32, size)
    return shapes


def test_a_published_checkpoint_gives_the_logits_of_a_plain_computation(tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(1)
    weights = {
        name: torch.randn(shape, generator=draw) * 0.2 + (len(shape) == 1)
        for name, shape in published_shapes().items()
    }
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED))
    save_file(weights, tmp_path / "model.safetensors")

    model = load(tmp_path)
    ids = torch.arange(20)
    expected = plain(weights, ids, PUBLISHED)
    with torch.inference_mode():
        assert (model(ids[None]).logits[0] - expected).abs().max() < 1e-5 * expected.abs().max()
    assert model.config.block_configs[1] == {
        "attention": {"kind": "noop", "num_key_value_heads": None},
        "ffn": {"kind": "noop", "intermediate_size": None},
    }
    assert (model.config.num_key_value_heads, model.config.intermediate_size) == (2, 512)


def plain(
    weights: dict[str, torch.Tensor], ids: torch.Tensor, values: dict[str, Any]
) -> torch.Tensor:
    """Logits `[T, V]` written out with matrices alone: none of our modules, a loop over heads."""
    heads, hidden = values["num_attention_heads"], values["hidden_size"]
    size, length = hidden // heads, len(ids)
    frequencies = values["rope_theta"] ** (-torch.arange(0, size, 2) / size)
    angles = torch.arange(length)[:, None] * frequencies

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean = x.pow(2).mean(-1, keepdim=True)
        return x / (mean + values["rms_norm_eps"]).sqrt() * weights[name]

    def turned(x: torch.Tensor) -> torch.Tensor:
        left, right = x[:, : size // 2], x[:, size // 2 :]
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([left * cos - right * sin, right * cos + left * sin], 1)

    x = weights["model.embed_tokens.weight"][ids]
    for layer, block in enumerate(values["block_configs"]):
        name = f"model.layers.{layer}."
        if block["attention"]["replace_with_linear"]:
            y = norm(x, f"{name}input_layernorm.weight")
            x = x + y @ weights[f"{name}self_attn.linear_attn.weight"].T
        elif not block["attention"]["no_op"]:
            y = norm(x, f"{name}input_layernorm.weight")
            q, k, v = (y @ weights[f"{name}self_attn.{part}_proj.weight"].T for part in "qkv")
            made = []
            for head in range(heads):
                own = slice(head * size, (head + 1) * size)
                group = head // block["attention"]["n_heads_in_group"]
                theirs = slice(group * size, (group + 1) * size)
                scores = turned(q[:, own]) @ turned(k[:, theirs]).T / size**0.5
                later = torch.ones(length, length).triu(1).bool()
                made.append(scores.masked_fill(later, -torch.inf).softmax(-1) @ v[:, theirs])
            x = x + torch.cat(made, 1) @ weights[f"{name}self_attn.o_proj.weight"].T
        if block["ffn"]["replace_with_linear"]:
            y = norm(x, f"{name}post_attention_layernorm.weight")
            x = x + y @ weights[f"{name}mlp.linear_mlp.weight"].T
        elif not block["ffn"]["no_op"]:
            y = norm(x, f"{name}post_attention_layernorm.weight")
            gate, up = (y @ weights[f"{name}mlp.{part}_proj.weight"].T for part in ("gate", "up"))
            x = x + (gate * gate.sigmoid() * up) @ weights[f"{name}mlp.down_proj.weight"].T
    return norm(x, "model.norm.weight") @ weights["lm_head.weight"].T


def test_a_published_super_sized_configuration_is_understood() -> None:
    """Sizes of Llama-3.3-Nemotron-Super-49B and of a 162-layer line with dummies."""
    blocks = [
        {
            "attention": {"n_heads_in_group": None if layer % 3 else 8, "no_op": layer % 3 > 0},
            "ffn": {"ffn_mult": None if layer % 3 == 2 else 4.875, "no_op": layer % 3 == 2},
        }
        for layer in range(162)
    ]
    values = convert(
        {
            "num_hidden_layers": 162,
            "num_attention_heads": 128,
            "hidden_size": 16384,
            "block_configs": blocks,
        }
    )
    assert values["block_configs"][0]["attention"]["num_key_value_heads"] == 16
    assert {block["ffn"]["intermediate_size"] for block in values["block_configs"]} == {53248, None}
    assert entries(values["block_configs"], 128, 16384)[0]["ffn"]["ffn_mult"] == 4.875


@pytest.mark.parametrize(
    ("attention", "ffn", "more", "said"),
    [
        ({"window_length": 4096}, {}, {}, r"block_configs\[0\]\.attention: window_length = 4096"),
        ({}, {"sparsify": ["2:4"]}, {}, r"ffn: sparsify = \['2:4'\]"),
        ({}, {"hidden_act": "gelu"}, {}, "hidden_act 'gelu' differs from 'silu'"),
        ({"n_heads_in_group": 3}, {}, {}, "n_heads_in_group 3 does not divide 4"),
        ({}, {"ffn_mult": None}, {}, "neither ffn_mult nor intermediate_size"),
        ({}, {}, {"num_hidden_layers": 2}, "1 entries for num_hidden_layers = 2"),
        ({}, {}, {"attention_bias": True, "qkv_bias": False}, "o_proj alone"),
    ],
)
def test_what_our_model_cannot_say_is_refused(
    attention: dict[str, Any], ffn: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    block = {"attention": {"n_heads_in_group": 2} | attention, "ffn": {"ffn_mult": 6.0} | ffn}
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 4, "hidden_size": 64}
    with pytest.raises(ValueError, match=said):
        convert({**sizes, "block_configs": [block], **more})
