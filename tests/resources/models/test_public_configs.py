"""Public models judged by their configuration alone, and stand-ins of the accepted ones computed.

`public_configs.json` holds what pages on the web say of models: architectural keys only, the page,
and for a model that must be refused the part that is `unknown` here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from resources.models.accounting import Shape, total_parameters
from resources.models.config import HeterogeneousDecoderConfig
from resources.models.errors import CheckpointError
from resources.models.export import padded
from resources.models.families.registry import convert
from resources.models.loading import load, read_config, save
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from tests.resources.models import folders

FACTS: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("public_configs.json").read_text()
)
ACCEPTED = [name for name, fact in FACTS.items() if fact["unknown"] is None]
REFUSED = [name for name, fact in FACTS.items() if fact["unknown"] is not None]
# Parameters in billions as the models are known; ours are counted from the configuration.
BILLIONS = {
    "llama2_7b": 6.74,
    "llama2_70b": 68.98,
    "Llama-3.1-8B": 8.03,
    "Meta-Llama-3.1-405B": 405.85,
    "Mistral-7B-v0.1": 7.24,
    "Mistral-Nemo-Base-2407": 12.25,
    "Qwen2.5-7B": 7.62,
    "Qwen3-8B": 8.19,
    "Qwen3-32B": 32.76,
    "SmolLM3-3B's class": 3.08,
    "Llama-3_3-Nemotron-Super-49B-v1": 49.87,
    "Llama-3_1-Nemotron-Ultra-253B-v1": 253.4,
    "DeepSeek-R1-Distill-Llama-8B": 8.03,
    "DeepSeek-R1-Distill-Qwen-1.5B": 1.78,
}
IDS = torch.randint(2, 50, (2, 20), generator=torch.Generator().manual_seed(0))


def test_there_are_as_many_as_there_should_be() -> None:
    assert len(FACTS) >= 40 and len(REFUSED) >= 10
    assert all(fact["page"] for fact in FACTS.values())


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_accepted_model_is_one_of_ours(name: str) -> None:
    config = HeterogeneousDecoderConfig(**convert(FACTS[name]["config"]))
    given = FACTS[name]["config"]
    assert len(config.block_configs or []) == given["num_hidden_layers"]
    assert config.vocab_size == given["vocab_size"]
    if name in BILLIONS:
        counted = total_parameters(Shape.of(config.to_dict()), config.block_configs or [])
        assert counted / 1e9 == pytest.approx(BILLIONS[name], rel=5e-3)


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_model_is_told_in_one_line_which_part_is_unknown(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(FACTS[name]["config"]))
    with pytest.raises(CheckpointError) as caught:
        read_config(tmp_path)
    said = str(caught.value)
    assert FACTS[name]["unknown"] in said and "\n" not in said
    assert said.startswith(str(tmp_path / "config.json"))


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("llama2_7b", {"quantization": {"group_size": 64, "bits": 4}}, "quantized weights (quant"),
        ("llama2_7b", {"num_nextn_predict_layers": 1}, "layers that predict further tokens"),
        ("llama2_7b", {"num_attention_heads": 10**12}, "gives heads of"),
        ("llama2_7b", {"hidden_size": 4100}, "gives heads of 128.125 numbers"),
        ("llama2_7b", {"head_dim": 127}, "head_dim is 127: it must be even"),
        ("Mistral-7B-v0.1", {"sliding_window": True}, "sliding_window: True is no number"),
        ("Qwen2.5-7B", {"use_sliding_window": "no"}, "use_sliding_window is 'no'"),
        ("Qwen2.5-7B", {"max_window_layers": 2.5}, "max_window_layers is 2.5"),
        ("SmolLM3-3B's class", {"no_rope_layers": "1110" * 9}, "no_rope_layers: '1110"),
        ("SmolLM3-3B's class", {"no_rope_layers": [1, 1, 1, 2] * 9}, "no_rope_layers: 2 is"),
    ],
)
def test_a_value_that_cannot_be_is_told(
    name: str, change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    values = FACTS[name]["config"] | change
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError) as caught:
        read_config(tmp_path)
    assert said in str(caught.value) and "\n" not in str(caught.value)


SMALL = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}


def stand_in(name: str, folder: Path) -> Any:
    """A small random model with every rule of a public one, saved by stock transformers."""
    import transformers

    given = {key: value for key, value in FACTS[name]["config"].items() if key != "torch_dtype"}
    heads = 4
    group = given["num_attention_heads"] // (given.get("num_key_value_heads") or heads)
    values = {
        **given,
        **SMALL,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // min(group or 1, heads),
    }
    if "head_dim" in given:
        apart = given["head_dim"] * given["num_attention_heads"] != given["hidden_size"]
        values["head_dim"] = 10 if apart else 8
    if given.get("sliding_window"):
        values["sliding_window"] = 6
    if given.get("max_window_layers"):
        values["max_window_layers"] = SMALL["num_hidden_layers"]
    rope = dict(given.get("rope_scaling") or {})
    if "original_max_position_embeddings" in rope:
        values["rope_scaling"] = {**rope, "original_max_position_embeddings": 16}
    prefix = {"smollm3": "SmolLM3"}.get(given["model_type"], given["model_type"].capitalize())
    config = getattr(transformers, f"{prefix}Config")(**values)
    model = folders.fill(getattr(transformers, f"{prefix}ForCausalLM")(config))
    folders.save(model, folder)
    return model


# One of each kind: the others differ from these in sizes alone.
KINDS = [
    "llama2_7b",
    "codellama_7b",
    "llama3_1_8b",
    "llama3_2_1b",
    "smollm2_135m",
    "Mistral-7B-v0.1",
    "Mistral-Nemo-Base-2407",
    "Qwen2.5-7B",
    "qwen2_0_5b",
    "Qwen3-4B",
    "Qwen3-32B",
    "SmolLM3-3B's class",
]


@pytest.mark.parametrize("name", KINDS)
def test_a_stand_in_computes_survives_and_compresses(
    name: str, tmp_path: Path, tokenizer_dir: Path
) -> None:
    """Logits equal theirs; saved and padded it is bit-equal; a child comes back as it was."""
    from transformers import AutoModelForCausalLM

    theirs = stand_in(name, tmp_path / "given")
    ours = load(tmp_path / "given")
    with torch.inference_mode():
        expected = theirs(IDS).logits
        torch.testing.assert_close(ours(IDS).logits, expected, rtol=1e-5, atol=1e-5)
    padded.export(ours, tmp_path / "plain", tokenizer_dir)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "plain", trust_remote_code=False)
    given = AutoModelForCausalLM.from_pretrained(tmp_path / "given", trust_remote_code=False)
    with torch.inference_mode():
        assert torch.equal(again.eval()(IDS).logits, given.eval()(IDS).logits)
    blocks = [dict(block) for block in ours.config.block_configs or []]
    blocks[1] = {"attention": {"kind": "noop"}, "ffn": {"intermediate_size": 40}}
    blocks[2]["attention"] = {**blocks[2]["attention"], "num_key_value_heads": 1}
    blocks[2]["ffn"] = {"kind": "linear"}
    blocks[3]["ffn"] = {"kind": "noop"}
    values = ours.config.to_dict() | {"block_configs": blocks}
    child = folders.fill(HeterogeneousDecoderForCausalLM(HeterogeneousDecoderConfig(**values)))
    save(child, tmp_path / "child", tokenizer_dir)
    with torch.inference_mode():
        assert torch.equal(load(tmp_path / "child")(IDS).logits, child(IDS).logits)
