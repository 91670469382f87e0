"""A configuration told by its file alone is what its class holds, and so are its tensors' shapes.

The class is the yardstick: whatever it refuses is refused in its words, whatever it holds is told.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resources.models.config import HeterogeneousDecoderConfig
from resources.models.description import described, tensors
from resources.models.errors import CheckpointError
from resources.models.families.registry import convert
from resources.models.loading import description, read_config
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from tests.resources.models.test_public_configs import ACCEPTED, FACTS, REFUSED

ASKED = {"yarn"}  # types of rotary embedding that are left to the class
GENERATION = "max_length"  # once written into every configuration; such keys are left to it, too


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_public_model_is_told_without_its_class(name: str) -> None:
    values = convert(json.loads(json.dumps(FACTS[name]["config"])))
    told = described(values)
    rope = values.get("rope_scaling") or values.get("rope_parameters") or {}
    unusual = (rope.get("rope_type") or rope.get("type")) in ASKED or GENERATION in values
    assert told is not None or unusual
    if told is not None:
        held = HeterogeneousDecoderConfig(**values).to_dict()
        assert told == {key: held[key] for key in told}


def outcome(folder: Path, read: Any) -> Any:
    try:
        found = read(folder)
    except CheckpointError as error:
        return str(error)
    return found if isinstance(found, dict) else found.to_dict()


def alike(folder: Path, config: dict[str, Any]) -> bool:
    """Whether the file alone says what the class says; tells whether it was enough."""
    (folder / "config.json").write_text(json.dumps(config))
    told, held = outcome(folder, description), outcome(folder, read_config)
    if isinstance(held, str):
        assert told == held
        return False
    assert isinstance(told, dict)
    assert told == {key: held[key] for key in told}
    assert tensors(told) == tensors(held)
    return True


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_model_is_refused_in_the_same_words(name: str, tmp_path: Path) -> None:
    assert not alike(tmp_path, FACTS[name]["config"])


SMALL: dict[str, Any] = {
    "model_type": "heterogeneous_llama",
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
ODD = st.sampled_from(
    [
        *(None, True, False, 0, 1, -1, 3, 2.5, 0.0, "8", "silu", "gelu", "float32", "auto"),
        *([], [3], {}, [{}, {}, {}], [{"attention": {"kind": "noop"}}, {}, {}]),
        *([{"ffn": {"kind": "what"}}, {}, {}], {"rope_type": "linear", "factor": 2}),
        *({"type": "linear", "factor": "2"}, {"rope_theta": 0}, {"rope_type": "yarn", "factor": 4}),
        {"rope_type": "default", "rope_theta": 5e5},
    ]
)
KEYS = st.sampled_from(
    [
        *(*SMALL, "head_dim", "hidden_act", "rms_norm_eps", "tie_word_embeddings"),
        *("attention_bias", "mlp_bias", "qkv_bias", "qk_norm", "family", "bos_token_id"),
        *("eos_token_id", "pad_token_id", "attention_dropout", "dtype", "torch_dtype"),
        *("rope_theta", "rope_scaling", "rope_parameters", "block_configs", "use_cache"),
        *("initializer_range", "return_dict", "problem_type", "id2label", "num_labels"),
        *("layer_types", "temperature", "something_else", "pretraining_tp"),
    ]
)


@given(changes=st.dictionaries(KEYS, ODD, max_size=2))
def test_an_odd_value_is_judged_as_the_class_judges_it(
    changes: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    alike(tmp_path_factory.mktemp("odd"), SMALL | changes)


FULL = {"kind": "full", "num_key_value_heads": 1}
BLOCKS = [
    {},
    {"attention": {"kind": "linear"}, "ffn": {"kind": "linear"}},
    {"attention": FULL, "ffn": {"intermediate_size": 7}},
    {"attention": {"kind": "noop"}},
    {"ffn": {"kind": "noop"}},
]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("bias", ["attention_bias", "qkv_bias", "mlp_bias", "qk_norm", "head_dim"])
def test_the_tensors_are_those_of_the_model(bias: str, tied: bool) -> None:
    values: dict[str, Any] = {
        **SMALL,
        "num_hidden_layers": len(BLOCKS),
        "block_configs": BLOCKS,
        "tie_word_embeddings": tied,
        bias: 10 if bias == "head_dim" else True,
    }
    told = described(convert(values))
    assert told is not None
    with torch.device("meta"):
        model = HeterogeneousDecoderForCausalLM(HeterogeneousDecoderConfig(**convert(values)))
    made = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert tensors(told) == made
