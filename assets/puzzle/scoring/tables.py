"""Scores as the tables `block_scores` and `run_scores`, and as heatmaps; knows arrays and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from assets.puzzle.intervals import intervals

if TYPE_CHECKING:
    from assets.puzzle.scoring.replacements import Replacement

EXACT, COMPOSED = "exact", "composed"
PARENT = ("full", "full")
MEANINGS = {
    "kl": "KL to the parent (nats a token)",
    "kl_long": "KL to the parent on long contexts (nats a token)",
    "lm_loss": "loss above the parent's (nats a token)",
    "hidden_cosine": "cosine distance of the last hidden state",
    "hidden_mse": "normalised error of the last hidden state",
    "top_k": "share of tokens outside the parent's most likely",
    "task": "share of problems no longer answered",
}


@dataclass(frozen=True)
class Measured:
    """One metric: `values` `[layers, pairs, N]`, which `[layers, pairs]` are `exact` (the others
    are composed), and the values `[runs, N]` of fused runs."""

    metric: str
    values: np.ndarray
    exact: np.ndarray
    runs: np.ndarray

    def median(self, pairs: Sequence[tuple[str, str]]) -> float:
        """The median score of what is not the parent itself; 0 where nothing else is."""
        replaced = self.values[:, [pair != PARENT for pair in pairs]].mean(axis=-1)
        return float(np.median(replaced)) if replaced.size else 0.0


def block_scores(
    model: str, pairs: Sequence[tuple[str, str]], measured: Sequence[Measured], seed: int
) -> pa.Table:
    """The `block_scores` rows: metric by metric, layer by layer, in the order of the pairs.

    `source` tells `exact` scores from `composed` ones, which are sums of their halves' scores.
    """
    tables = []
    for each in measured:
        layers, count, _ = each.values.shape
        tables.append(
            pa.table(
                {
                    "model": [model] * (layers * count),
                    "layer": np.repeat(np.arange(layers), count),
                    "attention": [attention for attention, _ in pairs] * layers,
                    "ffn": [ffn for _, ffn in pairs] * layers,
                    **_values(each.metric, each.values.reshape(layers * count, -1), seed),
                    "source": np.where(each.exact.ravel(), EXACT, COMPOSED),
                }
            )
        )
    return pa.concat_tables(tables)


def run_scores(
    model: str, runs: Sequence[Replacement], measured: Sequence[Measured], seed: int
) -> pa.Table:
    """The `run_scores` rows: metric by metric, in the order of the runs."""
    return pa.concat_tables(
        pa.table(
            {
                "model": [model] * len(runs),
                "layers": pa.array([run.layers for run in runs], pa.list_(pa.int64())),
                "ffn": [run.ffn for run in runs],
                **_values(each.metric, each.runs, seed),
            }
        )
        for each in measured
    )


def heatmaps(
    model: str, pairs: Sequence[tuple[str, str]], measured: Sequence[Measured]
) -> dict[str, bytes]:
    """A picture of each metric, `block_scores` the first one's, `block_scores_<metric>` another."""
    from assets.puzzle.pictures import score_heatmap

    names = [f"{attention} / {ffn}" for attention, ffn in pairs]
    return {
        f"block_scores_{each.metric}" if number else "block_scores": score_heatmap(
            f"{model}: {MEANINGS[each.metric]}, one block replaced",
            names,
            each.values.mean(axis=-1).T,
        )
        for number, each in enumerate(measured)
    }


def _values(metric: str, values: np.ndarray, seed: int) -> Mapping[str, Any]:
    """The columns that come of values `[rows, N]`."""
    rows, samples = values.shape
    low, high = intervals(values, seed)
    return {
        "metric": [metric] * rows,
        "value": values.mean(axis=-1),
        "ci_low": low,
        "ci_high": high,
        "samples": np.full(rows, samples),
    }
