"""What each term of distillation is worth on the tiny family: KL and accuracy after recovery.

    heirloom run --recipe tiny && python benchmarks/recovery_ablations.py [--home DIR] [MODEL ...]

Distils a home's searched model from its parent with different losses, several seeds each, on the
home's corpus and on one that the parent was not made from (worked math of one and two steps alone),
and prints Markdown: KL to the parent on the answers of documents drawn anew (the tokens that carry
loss) and greedy accuracy, thinking off, on the held-out problems by depth. Intervals are 95 %
bootstraps over seeds and over documents or problems at once; differences to the first loss are
paired by both.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from puzzle_ablations import DEPTHS, Bench

from assets.problems.corpus import DEPTHS as DEPTHS_OF
from assets.problems.corpus import STYLES
from assets.recovery.distill import distil
from resources.chat.chat import Chat
from resources.execution import Execution
from resources.models.loading import load
from resources.parents.documents import encode, problems
from resources.recipe.sections.supervised import Distillation
from resources.store import home as homes
from resources.training.data.examples import Examples
from resources.training.data.packing import collate_packed
from warehouse.store import Store

TERMS = ("kl_weight", "lm_weight", "hidden_weight", "layer_weight")
LOSSES = {
    "KL + cosine of the final states": (1.0, 0.0, 1.0, 0.0),
    "KL + cosine of every layer": (1.0, 0.0, 0.0, 1.0),
    "KL": (1.0, 0.0, 0.0, 0.0),
    "KL + next-token loss": (1.0, 1.0, 0.0, 0.0),
    "next-token loss": (0.0, 1.0, 0.0, 0.0),
}
DOCUMENTS = 6000  # of a corpus that is drawn here
UNSEEN = 512  # documents that KL is measured on
ROWS = 64  # of them at once
DRAWS = 2000


class Corpus:
    """What distillation reads of a corpus artifact."""

    def __init__(self, key: str, table: pa.Table) -> None:
        self.key, self.whole, self.rows = key, table, table.num_rows

    def batches(
        self, name: str, columns: Sequence[str], batch_size: int
    ) -> Iterator[pa.RecordBatch]:
        """Its rows."""
        yield from self.whole.select(columns).to_batches(batch_size)


def documents(
    folder: Path,
    seed: str,
    styles: Any,
    domains: Sequence[str],
    depths: Any,
    count: int = DOCUMENTS,
) -> Corpus:
    """Documents drawn like a corpus's, but from other problems."""
    drawn = problems(styles, dict.fromkeys(domains, 1.0), depths, seed=seed)
    pairs = [next(drawn) for _ in range(count)]
    texts = encode(Chat.load(folder), pairs, rng=Random(seed), thinks=False)
    table = pa.table(
        {
            "text_ids": pa.array([text.ids for text in texts], pa.list_(pa.int32())),
            "loss_mask": pa.array([text.mask for text in texts], pa.list_(pa.bool_())),
        }
    )
    return Corpus(seed, table)


def unseen(bench: Bench) -> Examples:
    """What KL is measured on: distillation may have read any of the home's documents."""
    domains = bench.corpus.manifest["recipe"]["domains"]
    drawn = documents(
        bench.parent_folder, "unseen documents", STYLES, domains, DEPTHS_OF, count=UNSEEN
    )
    return Examples.from_table(drawn.whole)


def corpora(bench: Bench) -> list[Corpus]:
    """The corpora to distil on: the home's, and a narrower world than the parent's."""
    return [
        Corpus("the home's corpus", bench.corpus.table("corpus")),
        documents(
            bench.parent_folder,
            "worked math of one and two steps",
            {"worked": 1.0},
            ["math"],
            {"worked": {1: 0.5, 2: 0.5}},
        ),
    ]


@torch.inference_mode()
def kl(parent: Any, model: Any, examples: Examples) -> np.ndarray:
    """Forward KL to the parent of each document, nats a token over those that carry loss."""
    found = []
    for start in range(0, len(examples), ROWS):
        rows = [examples[i] for i in range(start, min(start + ROWS, len(examples)))]
        width = max(len(ids) for ids, _ in rows)
        # A document a row: padding on the right, which causal attention never sees.
        batch = collate_packed(rows, [[row] for row in range(len(rows))], width, pad_id=0)
        teacher, student = (
            torch.log_softmax(each(batch["input_ids"]).logits, -1) for each in (parent, model)
        )
        each_token = (teacher.exp() * (teacher - student)).sum(-1) * batch["weights"]
        found.append((each_token.sum(1) / batch["weights"].sum(1)).numpy())
    return np.concatenate(found).astype(float)


def distilled(
    bench: Bench, corpus: Any, weights: Sequence[float], seed: int, tokens: int | None
) -> Any:
    """The searched model after distillation with these weights."""
    fused = bench.store.current(f"{bench.model}/fused")
    inputs = {
        "student": fused or bench.current("assembled"),
        "teacher": bench.current("parent"),
        "architecture": fused or bench.current("architecture"),
        "corpus": corpus,
    }
    section = Distillation.model_validate(bench.current("distilled").manifest["recipe"])
    recipe = section.model_dump(mode="json") | dict(zip(TERMS, weights, strict=True))
    recipe |= {"seed": seed, "asset_key": f"{bench.model}/distilled", "measure_at": []}
    recipe |= {"tokens": tokens or recipe["tokens"]}
    with tempfile.TemporaryDirectory(dir=bench.work) as folder:
        output = distil(Path(folder), inputs, recipe, Execution(threads=torch.get_num_threads()))
        return load(output.files[""], dtype="float32")


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of `[seeds, items]` and its 95 % interval over draws of seeds and of items."""
    draw = np.random.default_rng(1)
    seeds, items = values.shape
    means = [
        values[np.ix_(draw.integers(0, seeds, seeds), draw.integers(0, items, items))].mean()
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def difference(values: np.ndarray, reference: np.ndarray, form: str, scale: float = 1.0) -> str:
    """How far values are from the reference's, pair by pair; noise where the interval holds 0."""
    if np.array_equal(values, reference):
        return "same"
    mean, low, high = (scale * each for each in interval(values - reference))
    verdict = ", noise" if low <= 0 <= high else ""
    return f"{mean:+{form}} ({low:+{form}} to {high:+{form}}){verdict}"


def measure(
    bench: Bench, corpus: Any, held_out: Examples, seeds: int, tokens: int | None
) -> list[str]:
    """The Markdown table of one model and corpus."""
    untrained = load(
        (bench.store.current(f"{bench.model}/fused") or bench.current("assembled")).path()
    )
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    depths: list[int | None] = []

    def of(models: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        answers = [bench.accuracy(model) for model in models]
        order = sorted(answers[0])
        depths[:] = [answers[0][each][0] for each in order]
        right = np.array([[each[problem][1] for problem in order] for each in answers])
        return np.stack([kl(bench.parent, model, held_out) for model in models]), right

    for name, weights in LOSSES.items():
        found[name] = of([distilled(bench, corpus, weights, seed, tokens) for seed in range(seeds)])
    for name, model in (("not trained", untrained), ("parent", bench.parent)):
        far, right = of([model])
        found[name] = np.repeat(far, seeds, axis=0), np.repeat(right, seeds, axis=0)
    return table(bench, corpus.key, found, depths)


def table(
    bench: Bench,
    corpus: str,
    found: Mapping[str, tuple[np.ndarray, np.ndarray]],
    depths: Sequence[int | None],
) -> list[str]:
    """Rows of Markdown."""
    first, (far, right) = next(iter(found.items()))
    lines = [
        f"### {bench.model}, {corpus}",
        "",
        f"{right.shape[0]} seeds; KL on {far.shape[1]} unseen documents drawn like the home's "
        f"corpus, accuracy on {right.shape[1]} problems.",
        "",
        f"| loss | KL to the parent | against {first} | accuracy, % | "
        + " | ".join(f"k={depth}" for depth in DEPTHS)
        + f" | against {first} |",
        "|---|---|---|---|" + "---|" * len(DEPTHS) + "---|",
    ]
    for name, (far, right) in found.items():
        mean, low, high = interval(far)
        accuracy = [100 * each for each in interval(right)]
        by_depth = [
            f"{100 * right[:, [depth == k for depth in depths]].mean():.0f}" for k in DEPTHS
        ]
        lines.append(
            f"| {name} | {mean:.4f} ({low:.4f} to {high:.4f}) | "
            f"{difference(far, found[first][0], '.4f')} | "
            f"{accuracy[0]:.1f} ({accuracy[1]:.1f} to {accuracy[2]:.1f}) | "
            + " | ".join(by_depth)
            + f" | {difference(right, found[first][1], '.1f', 100)} |"
        )
    return [*lines, ""]


def main() -> int:
    """Print the tables of the models asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=["super", "ultra"])
    parser.add_argument("--home")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tokens", type=int, help="to train on (default: the home's recipe's)")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    store = Store(homes.find(chosen.home).path)
    for model in chosen.models:
        with tempfile.TemporaryDirectory() as work:
            bench = Bench(store, model, Path(work))
            held_out = unseen(bench)
            for corpus in corpora(bench):
                began = time.monotonic()
                print(
                    "\n".join(measure(bench, corpus, held_out, chosen.seeds, chosen.tokens)),
                    flush=True,
                )
                print(f"({time.monotonic() - began:.0f} s)\n", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
