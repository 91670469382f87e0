"""GGUF files: we write what transformers reads of them, and drop nothing in silence."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from assets.parents.adopt import adopt
from resources.execution import Execution
from resources.models.errors import CheckpointError
from resources.models.folders import stored_dtype
from resources.pretrained.checking import source_faults
from resources.pretrained.gguf import convert, llama3_factor
from resources.pretrained.source import parse
from tests.resources.pretrained.folders import TEMPLATE
from tests.resources.pretrained.gguf_files import HEADS, HIDDEN, SIZES, write

# A real file and, where there is one, the folder that transformers made of it.
REAL = os.environ.get("HEIRLOOM_SMOLLM2_GGUF")
FOLDER = os.environ.get("HEIRLOOM_SMOLLM2")


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("quantized", [False, True])
def test_a_file_is_what_transformers_reads_of_it(
    architecture: str, quantized: bool, tmp_path: Path, tokenizer_dir: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = write(
        tmp_path / "m.gguf",
        tokenizer_dir,
        architecture=architecture,
        quantized=quantized,
        pre="gpt-2" if architecture == "llama" else "qwen2",
        **SIZES[architecture],
    )
    output = adopt(tmp_path, {}, {}, Execution(source=parse(str(file), tmp_path)))
    folder = tmp_path / "converted"
    assert set(output.files) == {
        *("config.json", "generation_config.json", "model.safetensors"),
        *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
    }
    assert output.observations["written_as"] == ("bfloat16" if quantized else "float32")
    ours = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.bfloat16, trust_remote_code=False
    )
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="m.gguf", dtype=torch.bfloat16, trust_remote_code=False
    )
    expected = theirs.state_dict()
    assert {name for name in ours.state_dict()} == set(expected)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    ids = torch.arange(4, 24)[None]
    with torch.inference_mode():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)
    mine = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    other = AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf", trust_remote_code=False)
    for text in ("What is 1 + 2 mod 7?", "  <think>\n\n x</think><|eot_id|>", "größer: 12 345\t!"):
        assert mine(text).input_ids == other(text).input_ids
    assert mine.chat_template == TEMPLATE


@pytest.mark.parametrize("half", [False, True])
def test_what_is_not_quantized_keeps_its_numbers(
    half: bool, tmp_path: Path, tokenizer_dir: Path
) -> None:
    """Logits in float32 equal those of transformers' own reading, whose numbers are float32."""
    from transformers import AutoModelForCausalLM

    file = write(tmp_path / "m.gguf", tokenizer_dir, half=half)
    convert(file, tmp_path / "out")
    assert stored_dtype(tmp_path / "out") == ("float16" if half else "float32")
    ours = AutoModelForCausalLM.from_pretrained(
        tmp_path / "out", dtype=torch.float32, trust_remote_code=False
    )
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="m.gguf", dtype=torch.float32, trust_remote_code=False
    )
    ids = torch.arange(4, 24)[None]
    with torch.inference_mode():
        torch.testing.assert_close(ours(ids).logits, theirs(ids).logits, atol=1e-3 * half, rtol=0)


def test_as_many_heads_of_keys_as_of_queries_need_not_be_said(
    tmp_path: Path, tokenizer_dir: Path
) -> None:
    for name, kv in (("said", HEADS), ("unsaid", None)):
        convert(write(tmp_path / f"{name}.gguf", tokenizer_dir, kv=kv), tmp_path / name)
    for file in ("config.json", "model.safetensors"):
        said, unsaid = ((tmp_path / name / file).read_bytes() for name in ("said", "unsaid"))
        assert said == unsaid


def test_a_vocabulary_that_is_not_read_is_another_tokenizers(
    tmp_path: Path, tokenizer_dir: Path
) -> None:
    """What the refusal advises works."""
    file = write(tmp_path / "m.gguf", tokenizer_dir, pre="tekken")
    with pytest.raises(CheckpointError, match=r"tokenizer\.ggml\.pre = 'tekken' is not read: name"):
        convert(file, tmp_path / "out")
    source = parse({"path": str(file), "tokenizer": str(tokenizer_dir)}, tmp_path)
    output = adopt(tmp_path / "work", {}, {}, Execution(source=source))
    assert {"tokenizer.json", "chat_template.jinja"} <= set(output.files)


@pytest.mark.parametrize("split", ["llama-bpe", "qwen2", "smollm"])
def test_text_is_split_as_the_vocabulary_was_trained(
    split: str, tmp_path: Path, tokenizer_dir: Path
) -> None:
    convert(write(tmp_path / "m.gguf", tokenizer_dir, pre=split), tmp_path / "out")
    made = json.loads((tmp_path / "out" / "tokenizer.json").read_text())
    first = made["pre_tokenizer"]["pretokenizers"][0]
    if split == "smollm":
        assert first == {"type": "Digits", "individual_digits": True}
    else:
        assert ("{1,3}" in first["pattern"]["Regex"]) == (split == "llama-bpe")
    assert made["model"]["ignore_merges"] == (split == "llama-bpe")
    assert (made["normalizer"] == {"type": "NFC"}) == (split == "qwen2")


def llama3(factor: float, head_dim: int, theta: float) -> np.ndarray[Any, Any]:
    """The factors that llama.cpp writes for Llama 3.1's rope, by its own loop."""
    found = []
    for index in range(0, head_dim, 2):
        wavelength = 2 * np.pi * theta ** (index / head_dim)
        if wavelength < 8192 / 4:
            found.append(1.0)
        elif wavelength > 8192:
            found.append(factor)
        else:
            smooth = (8192 / wavelength - 1) / 3
            found.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(found, dtype=np.float32)


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_llama_3s_factors_are_read(factor: float, tmp_path: Path, tokenizer_dir: Path) -> None:
    assert llama3_factor(llama3(factor, 128, 500000.0), 500000.0, 128) == factor
    # At this head size and base the last wavelengths are long enough to be stretched.
    file = write(
        tmp_path / "m.gguf",
        tokenizer_dir,
        tensors={"rope_freqs.weight": llama3(factor, HIDDEN // HEADS, 10000.0)},
    )
    convert(file, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["rope_parameters"] == {
        "rope_type": "llama3",
        "rope_theta": 10000.0,
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "yarn": ({"rope__scaling__type": "yarn"}, "llama.rope.scaling.type = 'yarn' is not read"),
    "odd factors": (
        {"tensors": {"rope_freqs.weight": np.full(8, 2, dtype=np.float32)}},
        "rope_freqs.weight are no factors of Llama 3's",
    ),
    "experts": ({"expert_count": 8}, "llama.expert_count = 8 is not read, and dropping it could"),
    "window": ({"attention__sliding_window": 128}, "llama.attention.sliding_window = 128 is not"),
    "partial rotary": ({"rope__dimension_count": 8}, "llama.rope.dimension_count differs"),
    "family": ({"architecture": "mamba"}, "general.architecture is 'mamba': GGUF is read for"),
    "split": ({"pre": "chatglm-bpe"}, "tokenizer.ggml.pre = 'chatglm-bpe' is not read"),
    "tensor": (
        {"tensors": {"blk.0.attn_sinks.weight": np.zeros(4, dtype=np.float32)}},
        "tensor blk.0.attn_sinks.weight has no place in the model",
    ),
    "a part": ({"parts": 3}, "is one of 3 parts of a model (split.count): join them with"),
    "missing": ({"without": ("blk.1.ffn_up.weight",)}, "1 missing tensors, first model.layers.1."),
    "NaN": (
        {"without": ("output_norm.weight",), "tensors": {
            "output_norm.weight": np.full(HIDDEN, np.nan, dtype=np.float32)
        }},
        "model.norm.weight has a NaN or infinity at [0]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_change_the_model_is_refused(
    name: str, tmp_path: Path, tokenizer_dir: Path
) -> None:
    options, said = REFUSED[name]
    file = write(tmp_path / "m.gguf", tokenizer_dir, **options)
    with pytest.raises(CheckpointError) as caught:
        adopt(tmp_path, {}, {}, Execution(source=parse(str(file), tmp_path)))
    message = str(caught.value)
    print(f"{name:>15}: {message.replace(str(tmp_path), '…')}")
    assert "\n" not in message and said in message and message.startswith(str(file))


def test_checking_converts_no_weights(tmp_path: Path, tokenizer_dir: Path) -> None:
    file = write(tmp_path / "m.gguf", tokenizer_dir)
    assert source_faults(parse(str(file), tmp_path), tmp_path) == []
    hollow = tmp_path / "converted" / "model.safetensors"
    assert not hollow.read_bytes()[-1000:].strip(b"\0")
    short = write(tmp_path / "short.gguf", tokenizer_dir, without=("blk.1.ffn_up.weight",))
    [line] = source_faults(parse(str(short), tmp_path), tmp_path)
    assert "1 missing tensors, first model.layers.1.mlp.up_proj.weight" in line
    odd = write(
        tmp_path / "odd.gguf",
        tokenizer_dir,
        tensors={"blk.0.attn_sinks.weight": np.zeros(4, dtype=np.float32)},
    )
    [line] = source_faults(parse(str(odd), tmp_path), tmp_path)
    assert "tensor blk.0.attn_sinks.weight has no place in the model" in line


def test_a_damaged_or_too_large_file_is_refused(
    tmp_path: Path, tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    file = write(tmp_path / "m.gguf", tokenizer_dir)
    (tmp_path / "cut.gguf").write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(CheckpointError, match=r"cut\.gguf: cannot be read as GGUF, so it is trunc"):
        convert(tmp_path / "cut.gguf", tmp_path / "out")
    (tmp_path / "none.gguf").write_bytes(b"none")
    with pytest.raises(CheckpointError, match=r"none\.gguf: cannot be read as GGUF"):
        convert(tmp_path / "none.gguf", tmp_path / "out")

    class Memory:
        available = 1000

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    with pytest.raises(CheckpointError, match=r"converting it takes 0\.0 GB of memory and 0\.0 GB"):
        convert(file, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.skipif(REAL is None, reason="HEIRLOOM_SMOLLM2_GGUF names no file")
def test_smollm2_is_the_same_from_its_gguf_and_from_a_folder(tmp_path: Path) -> None:
    """Equal logits and ids. (Before digits, only ours splits white space as it was trained.)"""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = parse(str(REAL), tmp_path)
    adopt(tmp_path, {}, {}, Execution(source=source))
    folder = tmp_path / "converted"
    assert FOLDER is not None, "HEIRLOOM_SMOLLM2 names no folder"
    adopt(tmp_path / "b", {}, {}, Execution(source=parse(FOLDER, tmp_path)))
    texts = [
        "What is the capital of France? Answer in one word.",
        "Tom has 3 apples and buys 14 more in 2024.\n\ndef f(x):\n    return x",
        "größer, naïve, 東京, 🙂 <|im_end|> <|im_start|>user",
    ]
    mine, other = (
        AutoTokenizer.from_pretrained(path, trust_remote_code=False) for path in (folder, FOLDER)
    )
    conversation = [{"role": "user", "content": texts[0]}]
    assert mine.apply_chat_template(conversation, tokenize=False) == other.apply_chat_template(
        conversation, tokenize=False
    )
    logits = []
    for path in (folder, FOLDER):
        model = AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32, trust_remote_code=False
        )
        with torch.inference_mode():
            logits.append(
                [model(mine(text, return_tensors="pt").input_ids).logits for text in texts]
            )
    for text, ours, theirs in zip(texts, *logits, strict=True):
        assert mine(text).input_ids == other(text).input_ids
        assert torch.equal(ours, theirs)
    shutil.rmtree(folder)
