"""Pictures of the Puzzle stage as small PNGs: strips, heatmaps, fronts, scatters.

Knows plain lists and arrays; knows nothing of artifacts or models.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

ATTENTION_COLOR = "#3b6ea5"
FFN_COLOR = "#c8702a"
CHOSEN_COLOR = "#b1339b"
MARKERS = "os^vDPX<>p"  # of the points that stand beside a front or a cloud
CROWDED = 50  # layers from which on numbers in bars are written upright
LETTERS = 14  # of a title's font, an inch
WIDEST = 16.0  # inches; with more than 50 layers columns become narrower


def architecture_strip(
    title: str, attention: Sequence[float], ffn: Sequence[float], marks: Sequence[bool] = ()
) -> bytes:
    """One column a layer: attention kept (share of the parent's KV heads) above FFN kept (width).

    Args:
        attention, ffn: a share per layer; above 1 for a fused FFN, which is written in its bar.
        marks: layers to outline, such as fused ones.
    """
    width = _width(4.0, 0.28 * len(attention) + 1.2)
    figure, axes = _figure(width, 2.6, rows=2)
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
                upright = 90 if len(shares) > CROWDED else 0
                axis.text(
                    layer,
                    0.5,
                    f"{share:.1f}x",
                    ha="center",
                    va="center",
                    fontsize=6,
                    rotation=upright,
                )
        axis.set_ylabel(name, fontsize=8)
        axis.set_yticks([0, 1])
        axis.set_xlim(-0.6, len(shares) - 0.4)
        axis.tick_params(labelsize=7)
    axes[0].set_xticks([])
    # Over the whole picture and in as many lines as it takes: few layers make a narrow strip.
    figure.suptitle(textwrap.fill(title, int(width * LETTERS)), fontsize=9)
    axes[1].set_xlabel("layer", fontsize=8)
    return _png(figure)


def score_heatmap(title: str, variants: Sequence[str], values: np.ndarray) -> bytes:
    """Replace-1-block scores `[variants, layers]` (nats) on a logarithmic colour scale."""
    from matplotlib.colors import LogNorm

    wide = min(_width(4.5, 0.22 * values.shape[1] + 2.2), 10.5)
    figure, axes = _figure(wide, 0.13 * len(variants) + 1.4, rows=1)
    positive = values[values > 0]
    low, high = (positive.min(), positive.max()) if positive.size else (1e-6, 1.0)
    shown = np.where(values > 0, values, np.nan)
    norm = LogNorm(low, max(high, low * 1.01))
    image = axes[0].imshow(shown, norm=norm, aspect="auto", cmap="viridis", interpolation="none")
    axes[0].set_yticks(range(len(variants)), variants, fontsize=6)
    axes[0].tick_params(axis="x", labelsize=7)
    axes[0].set_xlabel("layer", fontsize=8)
    axes[0].set_title(title, fontsize=9)
    figure.colorbar(image, ax=axes[0], aspect=30, pad=0.01).ax.tick_params(labelsize=6)
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


def pareto_front(
    title: str,
    column: str,
    values: Sequence[float],
    objectives: Sequence[float],
    chosen: tuple[float, float],
    others: Mapping[str, tuple[float, float]] | None = None,
) -> bytes:
    """The least objective at bounds on a column, the choice, and what else was chosen how.

    The steps are those of an upper bound, or of a lower one where the objective rises with the
    column, as it does with throughput.

    Args:
        values, objectives: the front's points, in any order.
        chosen, others: (column's value, objective).
    """
    figure, axes = _figure(5.6, 3.6, rows=1)
    order = np.argsort(values, kind="stable")
    front = np.asarray(values, float)[order], np.asarray(objectives, float)[order]
    where = "pre" if front[1][-1] > front[1][0] else "post"
    axes[0].step(*front, where=where, color=ATTENTION_COLOR, linewidth=1.2)
    axes[0].plot(*front, "o", color=ATTENTION_COLOR, markersize=3.5, label="front")
    _marks(axes[0], others or {})
    axes[0].plot(*chosen, "*", color=CHOSEN_COLOR, markersize=13, label="chosen")
    shown = [*objectives, chosen[1], *(y for _, y in (others or {}).values())]
    if min(shown) > 0 and max(shown) > 30 * min(shown):
        axes[0].set_yscale("log")
    _label(axes[0], title, column.replace("_", " "), "objective (sum of scores)")
    _engineering(axes[0].xaxis)
    return _png(figure)


def predicted_vs_measured(
    title: str, names: Sequence[str], predicted: Sequence[float], measured: Sequence[float]
) -> bytes:
    """Predicted as a share of measured, a line a quantity, with both numbers written beside it.

    Quantities may have different units. One that was measured as 0 has no share: only its numbers
    are shown.
    """
    from matplotlib.ticker import EngFormatter, PercentFormatter

    figure, axes = _figure(6.4, 0.3 * len(names) + 1.2, rows=1)
    number = EngFormatter(places=2, sep="")
    places = np.arange(len(names))
    known = np.asarray(measured, float) != 0
    ratios = np.asarray(predicted, float)[known] / np.asarray(measured, float)[known]
    axes[0].axvline(1, color="#888888", linewidth=1)
    axes[0].hlines(places[known], 1, ratios, color=FFN_COLOR, linewidth=5, alpha=0.4)
    axes[0].plot(ratios, places[known], "o", color=FFN_COLOR, markersize=5)
    axes[0].set_yticks(places, names, fontsize=7)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    reach = max(float(np.abs(ratios - 1).max()) if ratios.size else 0.0, 0.05) * 1.2
    axes[0].set_xlim(1 - reach, 1 + reach)
    axes[0].xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if reach > 0.2 else 1))
    numbers = axes[0].secondary_yaxis("right")
    texts = [f"{number(p)} → {number(m)}" for p, m in zip(predicted, measured, strict=True)]
    numbers.set_yticks(places, texts, fontsize=7)
    numbers.tick_params(length=0)
    _label(axes[0], title, "predicted, share of measured (right: predicted → measured)", "")
    axes[0].tick_params(axis="y", labelsize=7)
    return _png(figure)


def scatter(
    title: str,
    xlabel: str,
    ylabel: str,
    x: Sequence[float],
    y: Sequence[float],
    marks: Mapping[str, tuple[float, float]] | None = None,
) -> bytes:
    """A cloud of points with some named ones; dashed: y equals x.

    Axes are logarithmic where all values are positive and span more than a factor of 30.
    """
    figure, axes = _figure(4.8, 4.0, rows=1)
    axes[0].plot(x, y, ".", color=ATTENTION_COLOR, alpha=0.5, markersize=4, label=_points(len(x)))
    _marks(axes[0], marks or {})
    xs = [*x, *(mark[0] for mark in (marks or {}).values())]
    ys = [*y, *(mark[1] for mark in (marks or {}).values())]
    if min(xs + ys) > 0 and max(max(xs) / min(xs), max(ys) / min(ys)) > 30:
        axes[0].set_xscale("log")
        axes[0].set_yscale("log")
    low, high = max(min(xs), min(ys)), min(max(xs), max(ys))
    if low < high:
        axes[0].plot([low, high], [low, high], "--", color="#888888", linewidth=1, zorder=0)
    _label(axes[0], title, xlabel, ylabel)
    return _png(figure)


def _points(count: int) -> str:
    """So many points, as a legend says it.

    >>> _points(1), _points(1200)
    ('1 point', '1,200 points')
    """
    return "1 point" if count == 1 else f"{count:,} points"


def _marks(axis: Any, marks: Mapping[str, tuple[float, float]]) -> None:
    from matplotlib import colormaps

    for place, (name, point) in enumerate(marks.items()):
        color = colormaps["Dark2"](place % 8)
        axis.plot(*point, MARKERS[place % len(MARKERS)], color=color, markersize=6, label=name)


def _label(axis: Any, title: str, xlabel: str, ylabel: str) -> None:
    axis.set_title(title, fontsize=9)
    axis.set_xlabel(xlabel, fontsize=8)
    axis.set_ylabel(ylabel, fontsize=8)
    axis.tick_params(which="both", labelsize=7)
    axis.grid(alpha=0.25, linewidth=0.5)
    if axis.get_legend_handles_labels()[1]:
        axis.legend(fontsize=7, framealpha=0.8)


def _engineering(axis: Any) -> None:
    """Tick labels such as 1.2M, without the offset text that is easily overlooked."""
    from matplotlib.ticker import EngFormatter

    axis.set_major_formatter(EngFormatter(sep=""))


def _width(least: float, wanted: float) -> float:
    return min(max(least, wanted), WIDEST)


def _figure(width: float, height: float, rows: int) -> tuple[Any, list[Any]]:
    # Without pyplot: no global state, no display, safe in threads.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, squeeze=False)
    return figure, [row[0] for row in axes]


def _png(figure: Any) -> bytes:
    """The figure in 256 colours: a third of the bytes, and no date or version among them."""
    from PIL import Image

    figure.canvas.draw()
    image = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    buffer = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
