"""Replace-1-block scores: what one changed layer does to the parent's predictions.

Attention and FFN variants are scored jointly, each pair by its own forward pass (Puzzle, arXiv
2411.19146 §3), unless a prescreen leaves it at the sum of its halves' scores. Reads artifacts and
makes tables; the forward passes are in `replacements.py`, what is measured in `metrics.py`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.puzzle.scoring.prescreen import compose, halves, survivors
from assets.puzzle.scoring.tables import PARENT, Measured, block_scores, heatmaps, run_scores
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import torch

    from assets.puzzle.calibration import Sequences
    from assets.puzzle.halves import Library
    from assets.puzzle.scoring.data import Batch
    from assets.puzzle.scoring.replacements import Replacement
    from resources.execution import Execution
    from resources.models.modeling import HeterogeneousDecoderForCausalLM


def score_blocks(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """Tables `block_scores`, every metric of every layer and variant pair, and `run_scores`, of
    every run that `fused_runs` names.

    Inputs: parent, corpus, block_library (all its partitions). Recipe: the scores section, and
    attention and ffn (variant names). A prescreen ranks by the first metric. Intervals are a
    bootstrap over `samples` sequences, or problems. Scores are kept by content in the home's
    cache: a killed run goes on, and a library that changed is scored where it changed.

    Raises:
        FileNotFoundError, ValueError: a layer lacks a variant, or its weights are not finite.
    """
    from assets.puzzle.calibration import mixed
    from assets.puzzle.opening import open_library
    from assets.puzzle.scoring.data import score_sets
    from resources.models.precision import TF32

    began = time.monotonic()
    library = open_library(inputs, recipe, execution.device)
    columns = ["text_ids", "loss_mask"] if "task" in recipe["metrics"] else ["text_ids"]
    corpus = inputs["corpus"]
    sets = score_sets(corpus.table("corpus", columns=columns), recipe, windows=mixed(corpus))
    # What weights are loaded in is in their digests; how they are multiplied is not.
    version = inputs["parent"].data_version + (f" {TF32}" if recipe.get("dtype") == TF32 else "")
    pairs = variant_pairs(recipe["attention"], recipe["ffn"])
    runs = fused_runs(recipe["fused_runs"], library.parent.config.num_hidden_layers)
    measured, computed = _measured(library, version, sets, pairs, runs, workdir, recipe, execution)
    model, seed = recipe["model"], recipe["seed"]
    tables = {"block_scores": block_scores(model, pairs, measured, seed)}
    if runs:
        tables["run_scores"] = run_scores(model, runs, measured, seed)
    return Output(
        tables=tables,
        metrics={
            **{f"median_{each.metric}": each.median(pairs) for each in measured},
            "scores": float(sum(table.num_rows for table in tables.values())),
            "tokens": float(sum(b.sequences.tokens for batches in sets.values() for b in batches)),
        },
        observations={"seconds": time.monotonic() - began, "sequences_computed": computed},
        images=heatmaps(model, pairs, measured),
    )


def _measured(
    library: Library,
    version: str,
    sets: Mapping[str, Sequence[Batch]],
    pairs: Sequence[tuple[str, str]],
    runs: Sequence[Replacement],
    workdir: Path,
    recipe: Mapping[str, Any],
    execution: Execution,
) -> tuple[list[Measured], int]:
    """Every metric of pairs and runs, set by set, and how many sequences were not in the cache.

    Args:
        version: of the parent, under which scores are kept.
        sets: batches of tokens by the name of their set.
    """
    from assets.puzzle.scoring.cache import ScoreCache
    from assets.puzzle.scoring.data import leading
    from assets.puzzle.scoring.metrics import set_of
    from assets.puzzle.scoring.replacements import TOGETHER, score

    names, prescreen = recipe["metrics"], recipe["prescreen"]
    together = execution.micro_batch * recipe["sequence_length"]
    if library.parent.device.type == "cpu":
        together = min(together, TOGETHER)
    layers = library.parent.config.num_hidden_layers
    folder = execution.cache("scores", workdir)
    report = _reports(execution.progress, len(sets) * (1 + bool(runs)) + bool(prescreen))
    kept = None if prescreen else np.ones((layers, len(pairs)), bool)
    measured: list[Measured] = []
    computed = 0
    # The first metric's set comes first: a prescreen ranks there.
    for name in sorted(sets, key=lambda name: name != set_of(names[0])):
        batches, metrics = sets[name], [metric for metric in names if set_of(metric) == name]
        cache = ScoreCache(folder, version, metrics, recipe["k"])
        scored = functools.partial(
            score,
            library,
            batches=batches,
            metrics=metrics,
            k=recipe["k"],
            together=together,
            cache=cache,
        )
        if kept is None:
            single = np.tile(halves(pairs), (layers, 1))
            values = pair_scores(scored, next(report), pairs, single)
            first = values[:, :, metrics.index(names[0]), : leading(batches, prescreen["tokens"])]
            kept = survivors(compose(first.mean(-1), pairs), pairs, prescreen["keep"])
        values = pair_scores(scored, next(report), pairs, kept)
        if not kept.all():
            values = np.where(kept[..., None, None], values, compose(values, pairs))
        of_runs = scored(runs, progress=next(report)) if runs else values[0, :0]
        measured += [
            Measured(metric, values[:, :, place], kept, of_runs[:, place])
            for place, metric in enumerate(metrics)
        ]
        computed += cache.computed
    return measured, computed


def variant_pairs(attention: Sequence[str], ffn: Sequence[str]) -> list[tuple[str, str]]:
    """Every (attention, ffn) combination, in the order given."""
    return [(a, f) for a in attention for f in ffn]


def fused_runs(section: Mapping[str, Any] | None, layers: int) -> list[Replacement]:
    """Every run of the section's `lengths` and `ffn` variants in a model of `layers` layers.

    No run begins at layer 0, which keeps its attention.

    Raises:
        ValueError: a length that no run of the model has, or an FFN that cannot be fused.
    """
    from assets.puzzle.scoring.replacements import Replacement

    if section is None:
        return []
    if "linear" in section["ffn"]:
        raise ValueError("fused_runs.ffn: a linear FFN cannot be fused; leave 'linear' out")
    longest = max(section["lengths"])
    if longest >= layers:
        raise ValueError(
            f"fused_runs.lengths: no run of {longest} layers after layer 0 in a model of {layers}"
        )
    return [
        Replacement(tuple(range(first, first + length)), "noop", ffn)
        for length in section["lengths"]
        for first in range(1, layers - length + 1)
        for ffn in section["ffn"]
    ]


def pair_scores(
    scored: Callable[..., np.ndarray],
    progress: Callable[[str, float], Any] | None,
    pairs: Sequence[tuple[str, str]],
    wanted: np.ndarray,
) -> np.ndarray:
    """Values `[layers, pairs, metrics, N]` of the pairs `wanted` `[layers, pairs]`, else 0.

    The pair (full, full) is the parent itself: 0 without being run.

    Args:
        scored: gives the values `[replacements, metrics, N]` of replacements.
    """
    from assets.puzzle.scoring.replacements import Replacement

    places = [(i, j) for i, j in np.argwhere(wanted).tolist() if pairs[j] != PARENT]
    found = scored([Replacement((i,), *pairs[j]) for i, j in places], progress=progress)
    values = np.zeros((*wanted.shape, *found.shape[1:]))
    for place, value in zip(places, found, strict=True):
        values[place] = value
    return values


def log_probabilities(model: HeterogeneousDecoderForCausalLM, state: torch.Tensor) -> torch.Tensor:
    """Log-probabilities `[B, T, V]` (float32 or better) from the last layer's state."""
    import torch

    logits = model.logits(state)
    return torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)


def divergence(reference: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """KL(reference ‖ other) per token `[B, T]` in nats, from log-probabilities `[B, T, V]`."""
    return (reference.exp() * (reference - other)).sum(dim=-1)


def model_kl(
    parent: HeterogeneousDecoderForCausalLM,
    model: HeterogeneousDecoderForCausalLM,
    data: Sequences,
    batch: int = 8,
) -> np.ndarray:
    """Mean KL(parent ‖ model) of each sequence, `[N]`, nats a token."""
    import torch

    parts = []
    with torch.inference_mode():
        for part in data.batches(batch):
            states = []
            for each in (parent, model):
                states.append(each.run(*part.context(each)))
            for rows in zip(*states, strict=True):  # logits of one sequence at a time
                logs = [
                    log_probabilities(each, row)
                    for each, row in zip((parent, model), rows, strict=True)
                ]
                parts.append(float(divergence(*logs).mean()))
    return np.array(parts)


def _reports(
    progress: Callable[[str, float], Any] | None, calls: int
) -> Iterator[Callable[[str, float], Any] | None]:
    """The progress callable of each of `calls` pieces of work of like size, one after the other."""
    for call in range(calls):
        yield None if progress is None else functools.partial(_report, progress, call, calls)


def _report(
    progress: Callable[[str, float], Any], call: int, calls: int, text: str, share: float
) -> None:
    progress(text, (call + share) / calls)
