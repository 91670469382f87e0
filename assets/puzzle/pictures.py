"""Pictures of the Puzzle stage as small PNGs: architecture strip, score heatmap, dependency matrix.

Knows plain lists and arrays; knows nothing of artifacts or models.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

ATTENTION_COLOR = "#3b6ea5"
FFN_COLOR = "#c8702a"


def architecture_strip(
    title: str, attention: Sequence[float], ffn: Sequence[float], marks: Sequence[bool] = ()
) -> bytes:
    """One column a layer: attention kept (share of the parent's KV heads) above FFN kept (width).

    Args:
        attention, ffn: a share per layer; above 1 for a fused FFN, which is written in its bar.
        marks: layers to outline, such as fused ones.
    """
    figure, axes = _figure(max(4.0, 0.28 * len(attention) + 1.2), 2.6, rows=2)
    for axis, shares, color, name in (
        (axes[0], attention, ATTENTION_COLOR, "attention"),
        (axes[1], ffn, FFN_COLOR, "FFN"),
    ):
        layers = range(len(shares))
        axis.bar(layers, [1] * len(shares), color="#eeeeee", width=0.85)
        edges = ["black" if layer < len(marks) and marks[layer] else color for layer in layers]
        axis.bar(layers, np.minimum(shares, 1), color=color, edgecolor=edges, width=0.85)
        for layer, share in enumerate(shares):
            if share > 1:
                axis.text(layer, 0.5, f"{share:.1f}x", ha="center", va="center", fontsize=6)
        axis.set_ylabel(name, fontsize=8)
        axis.set_yticks([0, 1])
        axis.set_xlim(-0.6, len(shares) - 0.4)
        axis.tick_params(labelsize=7)
    axes[0].set_xticks([])
    axes[0].set_title(title, fontsize=9)
    axes[1].set_xlabel("layer", fontsize=8)
    return _png(figure)


def score_heatmap(title: str, variants: Sequence[str], values: np.ndarray) -> bytes:
    """Replace-1-block scores `[variants, layers]` (nats) on a logarithmic colour scale."""
    from matplotlib.colors import LogNorm

    figure, axes = _figure(
        max(4.5, 0.22 * values.shape[1] + 2.2), 0.22 * len(variants) + 1.2, rows=1
    )
    positive = values[values > 0]
    low, high = (positive.min(), positive.max()) if positive.size else (1e-6, 1.0)
    shown = np.where(values > 0, values, np.nan)
    norm = LogNorm(low, max(high, low * 1.01))
    image = axes[0].imshow(shown, norm=norm, aspect="auto", cmap="viridis")
    axes[0].set_yticks(range(len(variants)), variants, fontsize=6)
    axes[0].tick_params(axis="x", labelsize=7)
    axes[0].set_xlabel("layer", fontsize=8)
    axes[0].set_title(title, fontsize=9)
    figure.colorbar(image, ax=axes[0]).ax.tick_params(labelsize=6)
    return _png(figure)


def dependency_matrix(title: str, values: np.ndarray) -> bytes:
    """Matrix `[L, L]`: row i removed, column j's contribution changed (cosine distance)."""
    figure, axes = _figure(4.2, 3.6, rows=1)
    shown = np.where(np.triu(np.ones_like(values), 1) > 0, values, np.nan)
    image = axes[0].imshow(shown, cmap="magma_r", vmin=0)
    axes[0].set_xlabel("layer", fontsize=8)
    axes[0].set_ylabel("removed layer", fontsize=8)
    axes[0].tick_params(labelsize=7)
    axes[0].set_title(title, fontsize=9)
    figure.colorbar(image, ax=axes[0]).ax.tick_params(labelsize=6)
    return _png(figure)


def _figure(width: float, height: float, rows: int) -> tuple[Any, list[Any]]:
    # Without pyplot: no global state, no display, safe in threads.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, squeeze=False)
    return figure, [row[0] for row in axes]


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    # No date and version in the file, so that the same plot gives the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
