"""What a replace-1-block score costs, against one plain forward pass over the same samples.

    python benchmarks/scoring_cost.py [--repeats 3] [--threads 1] [MODEL ...]

Scores every layer and pair of variants of the bundled tiny parents, from a library that is only
initialised; after every layer the parent's plain forward pass to logits takes its turn, so that
both meet the same load. Prints a Markdown table: seconds a child (reading the library, the parent's
own passes and writing the score cache included) as a ratio to the seconds of the forward pass,
which has the batch size that suits it best.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import torch
from safetensors.torch import save_file

from assets.puzzle.calibration import Sequences, sequences
from assets.puzzle.halves import ATTENTION, FFN, Library, file_name, new_half, parent_half, trained
from assets.puzzle.library import initialise
from assets.puzzle.scoring.build import variant_pairs
from assets.puzzle.scoring.cache import ScoreCache
from assets.puzzle.scoring.data import BATCH_TOKENS, Batch
from assets.puzzle.scoring.replacements import Replacement, score
from assets.puzzle.scoring.tables import PARENT
from resources.chat.chat import Chat
from resources.models.loading import load
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from resources.parents.documents import encode, problems

BUNDLED = Path(__file__).parents[1] / "resources" / "models" / "bundled"
VARIANTS = {ATTENTION: ["full", "kv_1", "noop"], FFN: ["full", "ratio_75", "ratio_50", "noop"]}
MODELS = ("super", "ultra")
TOKENS, LENGTH = 2048, 256
SIZES = (1, 2, 4, 8)  # sequences a batch of the plain forward pass: the quickest counts


def corpus(documents: int = 1000) -> pa.Table:
    """Texts of the kind that the bundled parents have read."""
    drawn = problems({"direct": 1.0}, {"math": 1.0}, {"direct": {1: 0.5, 2: 0.5}}, seed="scoring")
    texts = encode(
        Chat.load(BUNDLED / "tokenizer"),
        [next(drawn) for _ in range(documents)],
        rng=Random("scoring"),
        thinks=False,
    )
    return pa.table({"text_ids": pa.array([text.ids for text in texts], pa.list_(pa.int32()))})


def initialised(parent: HeterogeneousDecoderForCausalLM, folder: Path) -> None:
    """Writes a library of untrained children."""
    for layer in range(parent.config.num_hidden_layers):
        for kind, variants in VARIANTS.items():
            source = parent_half(parent, layer, kind)
            for variant in filter(trained, variants):
                half = new_half(parent, layer, kind, variant)
                if kind == ATTENTION:
                    initialise.pool_attention(half, source)
                else:
                    initialise.initialise_ffn(
                        half, source, np.arange(parent.config.intermediate_size)
                    )
                file = folder / file_name(layer, kind, variant)
                file.parent.mkdir(parents=True, exist_ok=True)
                save_file(half.state_dict(), file)


@torch.inference_mode()
def forward_seconds(
    parent: HeterogeneousDecoderForCausalLM, sequences: Sequences, size: int
) -> float:
    """Seconds of the plain forward pass to logits, `size` sequences at a time."""
    began = time.perf_counter()
    for batch in sequences.batches(size):
        hidden, context = batch.context(parent)
        parent.logits(parent.run(hidden, context))
    return time.perf_counter() - began


def measure(
    parent: HeterogeneousDecoderForCausalLM,
    library: Library,
    children: Sequence[Replacement],
    data: Sequences,
    cache: ScoreCache,
) -> tuple[float, float]:
    """Seconds of a plain forward pass and of a child, over all of `data`."""
    batches = [Batch(part) for part in data.batches(BATCH_TOKENS // LENGTH)]
    size = min(SIZES, key=lambda size: min(forward_seconds(parent, data, size) for _ in range(3)))
    forwards: list[float] = []
    calls = itertools.count(1)

    def take_turn(*_: object) -> None:
        if next(calls) % len(batches) == 0:
            forwards.append(forward_seconds(parent, data, size))

    began = time.perf_counter()
    score(library, children, batches, ["kl"], cache=cache, progress=take_turn)
    taken = time.perf_counter() - began - sum(forwards)
    return statistics.mean(forwards), taken / len(children)


def row(name: str, texts: pa.Table, repeats: int, folder: Path) -> list[str]:
    """The cells of a model's row."""
    parent = load(BUNDLED / name, dtype="float32")
    initialised(parent, folder / name)
    data = sequences(texts, "score", tokens=TOKENS, sequence_length=LENGTH, seed=0)
    children = [
        Replacement((layer,), *pair)
        for layer in range(parent.config.num_hidden_layers)
        for pair in variant_pairs(*VARIANTS.values())
        if pair != PARENT
    ]
    times = [
        measure(
            parent,
            Library(parent, folder / name),
            children,
            data,
            ScoreCache(folder / f"{name}_{number}", name, ["kl"], 1),
        )
        for number in range(repeats)
    ]
    ratios = [child / forward for forward, child in times]
    return [
        name,
        str(parent.config.num_hidden_layers),
        str(len(children)),
        f"{data.tokens:,}",
        *(f"{statistics.median(column):.4f}" for column in zip(*times, strict=True)),
        f"**{statistics.median(ratios):.2f}**",
        f"{min(ratios):.2f} to {max(ratios):.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS, metavar="MODEL")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    texts = corpus()
    print(f"{platform.processor() or platform.machine()}, {arguments.threads} thread(s), float32\n")
    heads = ["parent", "layers", "children", "tokens", "forward s", "s a child", "ratio", "range"]
    print("| " + " | ".join(heads) + " |")
    print("|" + "---|" * len(heads))
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            cells = row(name, texts, arguments.repeats, Path(folder))
            print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
