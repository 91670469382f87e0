"""Fixtures for all tests: a tokenizer, a random tiny Llama and homes, made here, never fetched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

# Before torch is imported: tests share the machine, and nothing may reach for the network.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from resources.chat.chat import Chat
    from resources.store.home import Home

# How long an example takes says what else the machine does, never that the code is wrong.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

TINY_VOCABULARY = 300


@pytest.fixture(scope="session")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a byte-level BPE tokenizer of 300 tokens, Llama-3 special tokens included."""
    import json

    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    from resources.chat.llama3 import CHAT_TEMPLATE, SPECIAL_TOKENS

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TINY_VOCABULARY - 2,
        special_tokens=[*SPECIAL_TOKENS, "<|end_of_text|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = "detailed thinking on off assistant system user What is 1 + 2 mod 7 ? the answer is "
    tokenizer.train_from_iterator([text * 20], trainer)
    tokenizer.add_tokens([AddedToken(tag, special=False) for tag in ("<think>", "</think>")])
    while tokenizer.get_vocab_size() < TINY_VOCABULARY:
        tokenizer.add_tokens([f"<|unused_{tokenizer.get_vocab_size()}|>"])
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": "<|begin_of_text|>",
                "eos_token": "<|eot_id|>",
                "clean_up_tokenization_spaces": False,
            }
        )
    )
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    return folder


@pytest.fixture(scope="session")
def tiny_chat(tokenizer_dir: Path) -> Chat:
    """The chat of `tokenizer_dir`, loaded."""
    from resources.chat.chat import Chat

    return Chat.load(tokenizer_dir)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory, tokenizer_dir: Path) -> Path:
    """A random plain LlamaForCausalLM folder: 4 layers, hidden 32, vocabulary 300, tokenizer."""
    import shutil

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=TINY_VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=3,
        pad_token_id=None,
    )
    model = LlamaForCausalLM(config)
    # Wide enough that answers differ and greedy choices are no near-ties.
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    folder = tmp_path_factory.mktemp("tiny_llama")
    model.save_pretrained(folder)
    for file in tokenizer_dir.iterdir():
        shutil.copy(file, folder / file.name)
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A prepared home that no variable names; the environment is put back afterwards."""
    from resources.store.home import Home

    for name in ("HOME", "DAGSTER", "RECIPE", "OVERRIDES"):
        monkeypatch.setenv(f"HEIRLOOM_{name}", "")
    monkeypatch.setenv("DAGSTER_HOME", "")
    return Home(tmp_path / "home").prepare()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A watched folder that holds one file of numbers, which the toy family reads."""
    folder = tmp_path / "incoming"
    folder.mkdir()
    (folder / "a.json").write_text("[1, 2, 3, 4]")
    return folder
