"""Tiny random parents and corpora for the Puzzle tests."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from assets.puzzle.calibration import Sequences, sequences
from assets.puzzle.halves import Library
from assets.puzzle.scoring.build import pair_scores
from assets.puzzle.scoring.data import Batch
from assets.puzzle.scoring.replacements import score
from resources.checkout import CHECKOUT
from resources.models.config import HeterogeneousDecoderConfig
from resources.models.modeling import HeterogeneousDecoderForCausalLM

VOCABULARY = 64
TOKENIZER = CHECKOUT / "resources" / "models" / "bundled" / "tokenizer"


def parent(
    layers: int = 3,
    *,
    blocks: Sequence[dict[str, Any]] | None = None,
    dtype: torch.dtype = torch.float64,
    seed: int = 0,
    **changes: Any,
) -> HeterogeneousDecoderForCausalLM:
    """A random model with weights large enough that every part shows in the output."""
    torch.manual_seed(seed)
    values = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 4,
        "block_configs": blocks,
    }
    model = HeterogeneousDecoderForCausalLM(HeterogeneousDecoderConfig(**values | changes)).to(
        dtype
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("norm.weight"):
                weight.copy_(0.5 + torch.rand_like(weight))
            else:
                weight.copy_(torch.randn_like(weight) * 0.3)
    return model.eval().requires_grad_(False)


def corpus(documents: int = 100, seed: int = 0) -> pa.Table:
    """Random documents of 20 to 60 tokens."""
    draw = np.random.default_rng(seed)
    texts = [draw.integers(0, VOCABULARY, draw.integers(20, 60)).tolist() for _ in range(documents)]
    return pa.table({"text_ids": pa.array(texts, pa.list_(pa.int32()))})


def data(tokens: int = 128, length: int = 32, share: str = "train") -> Sequences:
    """Packed sequences of a random corpus."""
    return sequences(corpus(), share, tokens=tokens, sequence_length=length, seed=0)


def logits(model: HeterogeneousDecoderForCausalLM, batch: Sequences) -> torch.Tensor:
    """The model's logits on packed sequences."""
    with torch.no_grad():
        hidden, context = batch.context(model)
        return model.logits(model.run(hidden, context))


def replacement_kl(
    library: Library, pairs: Sequence[tuple[str, str]], batch: Sequences
) -> np.ndarray:
    """Mean KL(parent ‖ parent with one block replaced) per sequence, `[layers, pairs, N]`, nats."""
    wanted = np.ones((library.parent.config.num_hidden_layers, len(pairs)), bool)
    scored = functools.partial(score, library, batches=[Batch(batch)], metrics=["kl"])
    values: np.ndarray = pair_scores(scored, None, pairs, wanted)[:, :, 0]
    return values
