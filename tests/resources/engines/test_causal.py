"""A teacher of another family answers as transformers' own `generate` does."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from resources.chat.chat import Chat
from resources.engines.causal import ForeignModel, load_causal
from resources.engines.protocol import Request, Sampling
from resources.engines.transformers import TransformersEngine
from resources.models.errors import CheckpointError
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from tests.resources.pretrained.folders import set_json

REQUESTS = [Request((("user", "What is 1 + 2?" + " mod 7" * (i % 3)),)) for i in range(6)]


def neox(**sizes: Any) -> Any:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    return GPTNeoXForCausalLM(GPTNeoXConfig(**sizes, max_position_embeddings=256))


def gemma2(**sizes: Any) -> Any:
    """Every other layer slides, over fewer positions than a prompt has."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    return Gemma2ForCausalLM(
        Gemma2Config(**sizes, num_key_value_heads=1, head_dim=8, sliding_window=8)
    )


@pytest.mark.parametrize("make", [neox, gemma2])
def test_greedy_equals_generate(make: Any, tmp_path: Path, tiny_chat: Chat) -> None:
    torch.manual_seed(0)
    sizes = {"vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 32}
    model = make(**sizes, num_attention_heads=2, bos_token_id=0, eos_token_id=3, pad_token_id=3)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(tmp_path / "model")
    loaded = load_causal(tmp_path / "model")
    assert isinstance(loaded, ForeignModel)
    engine = TransformersEngine(loaded, tiny_chat, "v1", batch_size=4)
    found = engine.generate(REQUESTS, Sampling(temperature=0.0, max_new_tokens=12))
    for completion in found:
        ids = torch.tensor([completion.prompt_ids])
        with torch.inference_mode():
            expected = model.eval().generate(ids, max_new_tokens=12, do_sample=False)
        assert completion.token_ids == expected[0, ids.shape[1] :].tolist()


def test_our_families_are_ours_and_unknown_ones_are_refused(
    tmp_path: Path, tiny_llama: Path
) -> None:
    assert isinstance(load_causal(tiny_llama), HeterogeneousDecoderForCausalLM)
    other = shutil.copytree(tiny_llama, tmp_path / "other")
    set_json(other / "config.json", model_type="nobodys", auto_map={"AutoModelForCausalLM": "x.Y"})
    (other / "x.py").write_text("raise SystemExit('ran')")
    with pytest.raises(CheckpointError, match="'nobodys' is no causal model of the installed"):
        load_causal(other)
