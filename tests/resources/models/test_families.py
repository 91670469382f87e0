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
from resources.models.families import FAMILIES, convert
from resources.models.loading import load, read_config
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


@pytest.mark.parametrize("name", ["Llama", "Mistral", "Qwen2"])
def test_absent_keys_mean_what_they_mean_to_the_family(name: str) -> None:
    import transformers

    theirs = getattr(transformers, f"{name}Config")().to_dict()
    values: dict[str, Any] = {"model_type": name.lower()}
    if name == "Mistral":
        values["sliding_window"] = None  # by default it has one, and is refused
    ours = HeterogeneousDecoderConfig(**convert(values)).to_dict()
    for key in set(theirs) & set(ours) - {"model_type", "transformers_version"}:
        assert ours[key] == theirs[key], key
    # To transformers' DynamicCache these would mean a cache that forgets.
    assert not {"sliding_window", "layer_types"} & set(ours)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"model_type": "qwen3"},
            "'qwen3' is not supported because it normalises queries and keys.*"
            "supported are llama, mistral, qwen2, nemotron-nas, heterogeneous_llama",
        ),
        ({"model_type": "mixtral", "num_local_experts": 8}, "because its FFNs are mixtures"),
        ({"model_type": "qwen2_moe", "num_experts": 60}, "because its FFNs are mixtures"),
        ({"model_type": "mamba"}, "because its layers are not known to be Llama's"),
        ({}, "family None is not supported"),
        ({"model_type": "qwen2", "quantization_config": {"bits": 4}}, "quantized"),
        ({"model_type": "mistral"}, "4096 positions is in use.*now 131072, to 4096"),
        ({"model_type": "mistral", "sliding_window": 64, "max_position_embeddings": 65}, "64 pos"),
        (
            {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 8},
            "sliding window of 8 positions",
        ),
        (
            {
                "model_type": "qwen2",
                "use_sliding_window": True,
                "layer_types": ["full_attention", "sliding_attention"],
            },
            "sliding window of 4096",
        ),
    ],
)
def test_what_is_not_supported_is_refused_with_the_reason(
    values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        convert(values)
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=message) as caught:
        read_config(tmp_path)
    assert str(tmp_path / "config.json") in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"sliding_window": 8},
        {"sliding_window": 8, "use_sliding_window": True, "max_window_layers": 32},
        {"use_sliding_window": True, "sliding_window": 32768},
        {"use_sliding_window": True, "sliding_window": None},
        {"use_sliding_window": True, "sliding_window": 8, "layer_types": ["full_attention"]},
    ],
)
def test_a_window_that_hides_nothing_is_no_window(values: dict[str, Any]) -> None:
    assert "sliding_window" not in convert({"model_type": "qwen2", **values})


def test_our_own_configurations_pass_unchanged() -> None:
    values = folders.heterogeneous(qkv_bias=True).config.to_dict()
    converted = convert(values)
    assert HeterogeneousDecoderConfig(**converted).to_dict() == values
    assert set(FAMILIES) == {"llama", "mistral", "qwen2", "nemotron-nas", "heterogeneous_llama"}
