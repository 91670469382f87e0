"""A byte tokenizer, two-layer models and small artifacts in a real store, made in milliseconds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from resources.chat.llama3 import CHAT_TEMPLATE, SPECIAL_TOKENS
from resources.execution import Execution
from warehouse.rows import PARENTS, with_ids
from warehouse.store import Artifact, Output, Request, Store

TRAINING: dict[str, Any] = {
    "tokens": 2000,
    "epochs": None,
    "batch_tokens": 200,
    "sequence_length": 100,
    "learning_rate": 1e-2,
    "schedule": "cosine",
    "warmup_ratio": 0.1,
    "min_learning_rate": 1e-3,
    "weight_decay": 0.01,
    "betas": [0.9, 0.95],
    "gradient_clipping": 1.0,
}
EXECUTION = Execution(threads=1, micro_batch=1)

_VERSIONS = itertools.count()


class Killed(Exception):
    """What the tests raise where a real run would have been killed."""


def kill_after(step: int) -> Execution:
    """Execution settings under which training dies once it has reported `step`."""

    def progress(message: str, fraction: float) -> None:
        if message.startswith(f"step {step}/"):
            raise Killed

    return EXECUTION.but(progress=progress, save_every_seconds=0.0)


def tokenizer_in(folder: Path) -> Path:
    """One token a byte, and the special tokens of the chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    tokens.add_special_tokens(list(SPECIAL_TOKENS))
    made = PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<|eot_id|>")
    made.chat_template = CHAT_TEMPLATE
    made.save_pretrained(folder)
    return folder


def checkpoint_in(folder: Path, seed: int, like: Path | None = None, **shape: Any) -> Path:
    """A random two-layer model with the byte tokenizer; what it shares with `like` is copied."""
    from resources.models.config import HeterogeneousDecoderConfig
    from resources.models.loading import load, save
    from resources.models.modeling import HeterogeneousDecoderForCausalLM

    torch.manual_seed(seed)
    sizes = {
        "vocab_size": 260,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 256,
        "initializer_range": 0.2,
    }
    model = HeterogeneousDecoderForCausalLM(HeterogeneousDecoderConfig(**{**sizes, **shape}))
    if like is not None:
        model.load_state_dict(load(like).state_dict(), strict=False)
    save(model, folder, tokenizer_in(folder.parent / f"tokenizer_{folder.name}"))
    return folder


def publish(store: Store, key: str, output: Output) -> Artifact:
    """An artifact with the given content, never one that the store knows already."""
    version = str(next(_VERSIONS))
    return store.build(Request(key, None, lambda *_: output, {}, {}, 0, code_version=version))


def build(
    store: Store,
    key: str,
    fn: Callable[..., Output],
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution = EXECUTION,
) -> Artifact:
    """An artifact built through the store's door."""
    settings = execution.but(home=store.home)
    return store.build(
        Request(key, None, fn, inputs, recipe, 3, code_version="1"), execution=settings
    )


def corpus_table(documents: int = 40) -> pa.Table:
    """Counting sequences: predictable, so that training has something to learn."""
    generator = np.random.default_rng(0)
    lists = [
        [(int(start) + i) % 64 for i in range(int(length))]
        for start, length in zip(
            generator.integers(0, 64, documents), generator.integers(5, 60, documents), strict=True
        )
    ]
    table = pa.table(
        {
            "text_ids": pa.array(lists, pa.list_(pa.int32())),
            "loss_mask": pa.array([[True] * len(ids) for ids in lists], pa.list_(pa.bool_())),
            "kind": ["sequence"] * documents,
            "domain": ["math"] * documents,
        }
    )
    return with_ids(table, "problems/corpus", ["text_ids"])


def samples_table(key: str, domain: str, questions: int, modes: list[str]) -> pa.Table:
    """SFT samples that echo their question, one a question and mode, each with a problem parent."""
    rows = [(number, mode) for number in range(questions) for mode in modes]
    table = pa.table(
        {
            "domain": [domain] * len(rows),
            "input": [[{"role": "user", "content": f"{domain} {n}?"}] for n, _ in rows],
            "output": [f"<think>\n{n}\n</think>\n\n{n}" if m == "on" else f"{n}" for n, m in rows],
            "category": [domain] * len(rows),
            "license": ["apache-2.0"] * len(rows),
            "reasoning": [mode for _, mode in rows],
            "generator": ["teacher"] * len(rows),
            "version": ["1"] * len(rows),
            "system_prompt": [f"detailed thinking {mode}" for _, mode in rows],
            "tokens": pa.array([1] * len(rows), pa.int64()),
        }
    )
    problem = domain.encode().ljust(15, b".")
    parents = [
        [{"row_id": problem + bytes([n]), "asset_key": f"problems/{domain}"}] for n, _ in rows
    ]
    return with_ids(table, key, ["input", "output", "reasoning"], pa.array(parents, PARENTS))
