"""Every supported family gives the logits and the tokens of its own implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from resources.models import accounting
from resources.models.config import HeterogeneousDecoderConfig
from resources.models.errors import CheckpointError
from resources.models.families.registry import FAMILIES, convert, family_of
from resources.models.loading import load, read_config, save
from tests.resources.models import folders

IDS = torch.randint(2, 50, (3, 20), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", folders.FAMILIES)
def test_logits_and_generation_equal_theirs(tmp_path: Path, name: str) -> None:
    model = folders.theirs(name)
    ours = load(folders.save(model, tmp_path))
    with torch.inference_mode():
        expected, got = model(IDS).logits, ours(IDS).logits
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    settings: dict[str, Any] = {"max_new_tokens": 10, "do_sample": False, "pad_token_id": 1}
    mask = torch.ones_like(IDS)
    mask[0, :4] = 0
    tokens = model.generate(IDS, attention_mask=mask, **settings)
    assert torch.equal(ours.generate(IDS, attention_mask=mask, **settings), tokens)


@pytest.mark.parametrize("name", folders.FAMILIES)
def test_parameters_are_counted(tmp_path: Path, name: str) -> None:
    model = folders.theirs(name)
    values = read_config(folders.save(model, tmp_path)).to_dict()
    counted = accounting.total_parameters(accounting.Shape.of(values), values["block_configs"])
    assert counted == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", ["mistral", "qwen2"])
def test_older_configurations_are_read_with_the_familys_defaults(tmp_path: Path, name: str) -> None:
    """Published folders give rope_theta at the top and leave out what is the default."""
    model = folders.theirs(name, rope_parameters={"rope_type": "default", "rope_theta": 1e6})
    file = folders.save(model, tmp_path) / "config.json"
    values = json.loads(file.read_text())
    for key in ("rope_parameters", "layer_types", "use_sliding_window", "max_window_layers"):
        values.pop(key, None)
    file.write_text(json.dumps({**values, "rope_theta": 1e6}))
    with torch.inference_mode():
        torch.testing.assert_close(load(tmp_path)(IDS).logits, model(IDS).logits)


@pytest.mark.parametrize("name", ["Llama", "Mistral", "Qwen2", "Qwen3", "SmolLM3"])
def test_absent_keys_mean_what_they_mean_to_the_family(name: str) -> None:
    import transformers

    theirs = getattr(transformers, f"{name}Config")().to_dict()
    ours = HeterogeneousDecoderConfig(**convert({"model_type": name.lower()})).to_dict()
    for key in set(theirs) & set(ours) - {"model_type", "transformers_version"}:
        assert ours[key] == theirs[key], key
    # To transformers' DynamicCache these would mean a cache that forgets.
    assert not {"sliding_window", "layer_types"} & set(ours)
    attention = [block["attention"] for block in ours["block_configs"]]
    assert {each.get("window") for each in attention} == {4096 if name == "Mistral" else None}
    assert [not each.get("rope", True) for each in attention] == [
        name == "SmolLM3" and (layer + 1) % 4 == 0 for layer in range(len(attention))
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"model_type": "mixtral", "num_local_experts": 8},
            "mixture of experts.*local_experts",
        ),
        ({"model_type": "qwen2_moe", "num_experts": 60}, "mixture of experts.*num_experts: 60"),
        (
            {"model_type": "gemma2", "final_logit_softcapping": 30.0},
            "scaling.*soft-capping",
        ),
        ({"model_type": "deepseek_v3", "kv_lora_rank": 512}, "latent attention"),
        ({"model_type": "strange"}, "'strange' is not supported: its layers are not known"),
        ({}, "no model_type"),
        ({"model_type": "qwen2", "quantization_config": {"bits": 4}}, "quantized weights"),
        ({"model_type": "llama", "partial_rotary_factor": 0.5}, "rotary embedding of a part"),
        ({"model_type": "llama", "final_logit_softcapping": 30.0}, "logit soft-capping"),
        ({"model_type": "llama", "embedding_multiplier": 12.0}, "embedding scaling"),
        ({"model_type": "llama", "hidden_act": "xielu"}, "activation hidden_act: 'xielu'"),
        ({"model_type": "llama", "rope_scaling": {"type": "dynamic", "factor": 2.0}}, "'dynamic'"),
        ({"model_type": "qwen2", "rope_scaling": {"type": "mrope"}}, "'mrope'"),
        ({"model_type": "llama", "rope_scaling": {"type": "linear"}}, "linear without factor"),
        (
            {"model_type": "llama", "rope_parameters": {"full_attention": {"rope_theta": 1e4}}},
            "differs by kind of layer",
        ),
        (
            {"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]},
            "the architecture LlamaForSequenceClassification",
        ),
        (
            {"model_type": "mistral", "layer_types": ["full_attention", "sliding_attention"]},
            "a mix of sliding and full attention",
        ),
        (
            {
                "model_type": "qwen3",
                "use_sliding_window": True,
                "layer_types": ["full_attention", "linear_attention"],
                "num_hidden_layers": 2,
            },
            "attention of kind 'linear_attention'",
        ),
        (
            {"model_type": "smollm3", "layer_types": ["sliding_attention"] * 36},
            "layer_types names layers of sliding_attention, and .* gives them no window",
        ),
        (
            {
                "model_type": "llama",
                "rope_parameters": {"rope_type": "default"},
                "rope_scaling": {"rope_type": "dynamic", "factor": 2.0},
            },
            "'dynamic'",
        ),
        ({"model_type": "llama", "hidden_size": 0}, "hidden_size is 0: it must be a whole number"),
        ({"model_type": "qwen2", "vocab_size": "50"}, "vocab_size is '50': it must be a whole"),
        ({"model_type": "mistral", "num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"model_type": "llama", "rms_norm_eps": float("nan")}, "rms_norm_eps is nan"),
        ({"model_type": "llama", "rope_theta": "1e4"}, "rope_theta is '1e4': it must be a number"),
        (
            {"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 0}},
            "rope factor is 0: it must be a number above 0",
        ),
        ({"model_type": "llama", "dtype": "fp16"}, "dtype is 'fp16': it must be one of float32"),
        ({"model_type": "llama", "architectures": "X"}, "architectures is 'X': it must be a list"),
        ({"model_type": "llama", "id2label": 3}, "a value is not of the kind that its key has"),
        ({"model_type": "nemotron-nas"}, "num_hidden_layers is missing"),
        (
            {"model_type": "deci", "num_key_value_heads_per_layer": [4]},
            "sizes that differ by layer",
        ),
        (
            {"model_type": "xverse", "auto_map": {"AutoConfig": "a.B"}},
            "computed by code of its own",
        ),
    ],
)
def test_what_is_not_supported_is_refused_with_the_unknown_part(
    values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=message) as caught:
        read_config(tmp_path)
    assert str(tmp_path / "config.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_of_every_other_causal_model_the_unknown_part_is_named() -> None:
    """By its class's own default configuration, or by its name where the class has none."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    unnamed = {}
    for name in sorted(set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - set(FAMILIES)):
        try:
            values = CONFIG_MAPPING[name]().to_dict()
        except Exception:  # a class that is made of others has no default
            values = {}
        with pytest.raises(ValueError, match="is not supported: ") as caught:
            convert({**values, "model_type": name})
        if "its layers are not known" in str(caught.value) or "\n" in str(caught.value):
            unnamed[name] = str(caught.value)
    assert not unnamed


@pytest.mark.parametrize(
    "values",
    [
        {"sliding_window": 8},
        {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 32},
        {"use_sliding_window": True, "sliding_window": 32768},
        {"use_sliding_window": True, "sliding_window": None},
        {"use_sliding_window": True, "sliding_window": 8, "layer_types": ["full_attention"] * 32},
        {"quantization_config": None, "torch_dtype": "auto", "rope_scaling": None},
        {"dtype": "auto", "attention_dropout": 0.1, "num_experts": 0, "logit_scale": 1.0},
        {"dual_chunk_attention_config": {"chunk_size": 262144, "local_size": 8192}},
    ],
)
def test_what_changes_nothing_is_no_hindrance(values: dict[str, Any]) -> None:
    made = convert({"model_type": "qwen2", **values})
    assert not {"sliding_window", "dual_chunk_attention_config", "block_configs"} & set(made)
    assert HeterogeneousDecoderConfig(**made).dtype is None


def test_our_own_configurations_pass_unchanged() -> None:
    for changes in ({"qkv_bias": True}, {"qk_norm": True, "family": "qwen3"}):
        values = folders.heterogeneous(**changes).config.to_dict()
        converted = convert(values)
        assert HeterogeneousDecoderConfig(**converted).to_dict() == values
    for name, family in FAMILIES.items():
        assert family.model_type == name


def test_a_family_is_known_again_from_a_saved_checkpoint(tmp_path: Path) -> None:
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "tokenizer.json").write_text("{}")
    for name in ("llama_2", "mistral_window", "qwen2", "qwen3", "smollm3"):
        model = load(folders.save(folders.theirs(name), tmp_path / name))
        save(model, tmp_path / "saved", tokenizer)
        again = load(tmp_path / "saved")
        assert family_of(again.config.to_dict()).model_type == folders.FAMILIES[name][0].lower()
        assert again.config.block_configs == model.config.block_configs
        with torch.inference_mode():
            assert torch.equal(again(IDS).logits, model(IDS).logits)
