"""Two tokenizers in one graph: a small random Llama with SmolLM2's beside the bundled parents.

`HEIRLOOM_SMOLLM2` names SmolLM2's folder; skipped without it.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from assets.catalog import all_specs
from resources.chat.chat import Chat
from resources.chat.folder import FILES
from resources.execution import Execution
from resources.recipe.chats import chats_of
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.store.building import Code, materialise
from resources.store.spec import Spec
from tests.resources.chat import tokenizers
from warehouse.store import Artifact, Store

WANTED = ("problems/corpus_tokens", "nano/sft_reasoning", "super/channel_importance")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """`smoke` whose nano is a random Llama with SmolLM2's tokenizer and template."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    theirs, parent = tokenizers.folder("smollm2", tmp_path), tmp_path / "parent"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(parent)
    for name in (*FILES, "generation_config.json"):
        if (theirs / name).is_file():
            shutil.copy(theirs / name, parent / name)
    made = load("smoke")
    nano = made.models["nano"].model_copy(update={"parent": str(parent)})
    return replace(made, models={**made.models, "nano": nano})


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_one_text_two_tokenizers(tmp_path: Path, recipe: Recipe) -> None:
    """Problems, answers and corpus are shared; tokens, loss and checkpoints are each model's."""
    specs = {spec.key: spec for spec in all_specs(recipe)}
    store = Store(tmp_path / "home")
    execution = Execution(requests=tmp_path / "requests", threads=1)
    made: dict[str, Artifact] = {}
    for key in needed(specs, WANTED):
        for partition in specs[key].slices():
            built = materialise(store, specs[key], Code("1"), execution, partition=partition)
            made[built.label] = built
    chats = chats_of(recipe)
    assert chats["nano"] != chats["super"] == chats["ultra"]
    tokens = {
        name: made[f"problems/corpus_tokens[{chats[name]}]"].table("corpus")
        for name in ("nano", "super")
    }
    assert set(tokens["nano"]["row_id"].to_pylist()) == set(tokens["super"]["row_id"].to_pylist())
    assert tokens["nano"]["text_ids"].to_pylist() != tokens["super"]["text_ids"].to_pylist()
    parent, trained = made["nano/parent"].path(), made["nano/sft_reasoning"].path()
    for name in FILES:
        if (parent / name).is_file():
            assert (parent / name).read_bytes() == (trained / name).read_bytes()
    assert Chat.load(trained).digest == chats["nano"]
    metrics = made["nano/sft_reasoning"].metrics
    print({name: round(value, 3) for name, value in metrics.items() if "loss" in name})


def needed(specs: dict[str, Spec], wanted: tuple[str, ...]) -> list[str]:
    """The wanted assets and all that they are made from, inputs first."""
    placed: dict[str, None] = {}

    def place(key: str) -> None:
        for source in specs[key].reads():
            if source not in placed:
                place(source)
        placed.setdefault(key)

    for key in wanted:
        place(key)
    return list(placed)
