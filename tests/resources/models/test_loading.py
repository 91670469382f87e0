from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from resources.chat.chat import Chat
from resources.models.config import HeterogeneousDecoderConfig
from resources.models.errors import CheckpointError
from resources.models.folders import stored_dtype
from resources.models.loading import load, publish, save
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from resources.models.precision import settle

IDS = torch.arange(4, 24)[None]


def heterogeneous(tied: bool) -> HeterogeneousDecoderForCausalLM:
    torch.manual_seed(0)
    blocks = [{"attention": {"kind": "noop"}}, {"ffn": {"kind": "linear"}}]
    return HeterogeneousDecoderForCausalLM(
        HeterogeneousDecoderConfig(
            vocab_size=300,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            tie_word_embeddings=tied,
            block_configs=blocks,
        )
    ).eval()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_saved_model_is_read_back_by_us_and_by_transformers(
    tmp_path: Path, tokenizer_dir: Path, tied: bool, dtype: str
) -> None:
    model = heterogeneous(tied).to(getattr(torch, dtype))
    save(model, tmp_path / "model", tokenizer_dir)
    ours = load(tmp_path / "model", dtype=dtype)
    theirs = HeterogeneousDecoderForCausalLM.from_pretrained(tmp_path / "model")
    with torch.inference_mode():
        expected = model(IDS).logits
        assert torch.equal(ours(IDS).logits, expected)
        assert torch.equal(theirs(IDS).logits, expected)
    assert ours.config.block_configs == model.config.block_configs
    assert (ours.lm_head.weight is ours.model.embed_tokens.weight) == tied
    assert Chat.load(tmp_path / "model").digest == Chat.load(tokenizer_dir).digest


def test_what_is_made_of_a_checkpoint_is_stored_in_its_dtype(
    tmp_path: Path, tokenizer_dir: Path
) -> None:
    model = heterogeneous(True)
    save(heterogeneous(False).bfloat16(), tmp_path / "parent", tokenizer_dir)
    publish(model, tmp_path / "child", tmp_path / "parent")
    publish(load(tmp_path / "child", dtype="float32"), tmp_path / "next", tmp_path / "child")
    assert stored_dtype(tmp_path / "child") == "bfloat16" and model.dtype == torch.float32
    for file in (tmp_path / "child").iterdir():
        assert file.read_bytes() == (tmp_path / "next" / file.name).read_bytes()
    config = json.loads((tmp_path / "child" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    settle(model, "bfloat16")
    assert model.dtype == torch.float32
    with torch.inference_mode():
        stored = load(tmp_path / "child", dtype="float32")
        assert torch.equal(stored(IDS).logits, model(IDS).logits)


def test_saving_is_atomic_and_the_bytes_repeat(tmp_path: Path, tokenizer_dir: Path) -> None:
    model = heterogeneous(True)
    save(model, tmp_path / "a", tokenizer_dir)
    save(model, tmp_path / "b", tokenizer_dir)
    save(heterogeneous(False), tmp_path / "c", tokenizer_dir)
    save(model, tmp_path / "c", tokenizer_dir)
    names = sorted(file.name for file in (tmp_path / "a").iterdir())
    assert names == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for name in names:
        content = (tmp_path / "a" / name).read_bytes()
        assert content == (tmp_path / "b" / name).read_bytes()
        assert content == (tmp_path / "c" / name).read_bytes()
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json"):
        save(model, tmp_path / "c", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_sharded_llama_loads(tmp_path: Path, tiny_llama: Path) -> None:
    from transformers import LlamaForCausalLM

    whole = LlamaForCausalLM.from_pretrained(tiny_llama)
    whole.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    with torch.inference_mode():
        assert torch.equal(load(tmp_path)(IDS).logits, load(tiny_llama)(IDS).logits)


def broken(tiny_llama: Path, folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    config = json.loads((tiny_llama / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    (folder / "model.safetensors").write_bytes((tiny_llama / "model.safetensors").read_bytes())
    return folder


def test_what_does_not_fit_is_refused_with_the_reason(tmp_path: Path, tiny_llama: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"model_type": "qwen3"}, "the architecture LlamaForCausalLM"),
        ({"num_hidden_layers": 5}, "9 missing tensors, first model.layers.4"),
        ({"num_hidden_layers": 3}, "unexpected tensor model.layers.3"),
        ({"intermediate_size": 48}, "does not fit"),
        ({"quantization_config": {"bits": 4}}, "quantized"),
        ({"num_key_value_heads": 3}, "do not divide"),
    ]
    for index, (changes, message) in enumerate(cases):
        with pytest.raises(CheckpointError, match=message):
            load(broken(tiny_llama, tmp_path / str(index), **changes))
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load(tmp_path)
    (tmp_path / "0" / "model.safetensors").rename(tmp_path / "0" / "pytorch_model.bin")
    (tmp_path / "0" / "config.json").write_text((tiny_llama / "config.json").read_text())
    with pytest.raises(CheckpointError, match="is a pickle, which is never opened"):
        load(tmp_path / "0")
    (tmp_path / "1" / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        load(tmp_path / "1")


def test_remote_code_is_never_run(tmp_path: Path, tiny_llama: Path) -> None:
    folder = broken(tiny_llama, tmp_path / "m", auto_map={"AutoConfig": "evil.Config"})
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    load(folder)
