"""Training curves as small PNG images. Knows numbers and labels only."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

MAX_POINTS = 400


def curve(
    steps: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    title: str = "",
    x_label: str = "optimizer step",
) -> bytes:
    """One panel a series over the same steps, as PNG bytes (below 60 kB).

    Long runs are thinned to 400 points a line; a panel draws single points when there are few.
    """
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(series) + 0.4, 2.8), dpi=80, layout="constrained")
    stride = max(1, -(-len(steps) // MAX_POINTS))
    for place, (name, values) in enumerate(series.items(), start=1):
        if len(values) != len(steps):
            raise ValueError(f"series {name!r} has {len(values)} points for {len(steps)} steps")
        axes = figure.add_subplot(1, len(series), place)
        marker = "o" if len(steps) <= 20 else ""
        axes.plot(list(steps)[::stride], list(values)[::stride], lw=1.3, marker=marker, ms=3)
        axes.set_title(name.replace("_", " "), fontsize=9)
        axes.set_xlabel(x_label, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    if title:
        figure.suptitle(title, fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
