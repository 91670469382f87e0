"""Fused runs in the search: what a run of attention-free layers costs as one layer with a wide FFN.

A run competes with the single layers it covers as a many-to-one row of the candidates. Knows
tables, shapes and how an architecture's rows number its layers; knows no weights and no solver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.models.accounting import Shape

SUMMED = ("parameters", "weight_bytes", "kv_bytes_per_token", "memory_bytes")
TIMES = ("prefill_seconds", "decode_seconds", "time_to_first_token", "latency_seconds")


def candidate_rows(
    run_scores: pa.Table,
    pair_rows: Mapping[tuple[int, str, str], Mapping[str, Any]],
    shape: Shape,
    context: int,
    seconds: Mapping[str, Mapping[str, float]] | None = None,
) -> list[dict[str, Any]]:
    """A candidate for every scored run: layer (a list), variant `fused/<ffn>`, its metric, costs.

    Parameters and bytes are the sums over the run's layers less what fusing saves: one norm, and
    one bias of the down projection, are left of n. Working memory is counted once for the whole
    model, for the parent's largest block, so what a fused FFN needs beyond it is added to the run's
    memory: an upper bound once several runs are chosen. Times are those of the one wide FFN where
    `seconds` has it, else the sums of the layers' times, with which a run is never faster than its
    layers. Runs of the first layer are left out: a model begins with an attention.

    Args:
        run_scores: rows of the table of that name, of one metric.
        pair_rows: cost rows of single layers by (layer, attention, ffn), among them those without
            attention that the runs are made of; times may be missing or null.
        context: tokens of the prefill that working memory is counted for.
        seconds: the columns of `TIMES` for a layer that is an FFN alone, by the FFN's variant; a
            run's is named by `wide_ffn`.

    Raises:
        ValueError: a layer of a run has no cost row without attention, or its FFN is linear.
    """
    rows = []
    for run in run_scores.select(["layers", "ffn", "metric", "value"]).to_pylist():
        layers, ffn = [int(layer) for layer in run["layers"]], run["ffn"]
        if layers[0] == 0:
            continue
        singles = []
        for layer in layers:
            if (layer, "noop", ffn) not in pair_rows:
                raise ValueError(
                    f"run {layers}, FFN {ffn!r}: layer {layer} has no cost without attention; add "
                    "'noop' to library.attention, or leave the run out of scores.fused_runs"
                )
            singles.append(pair_rows[layer, "noop", ffn])
        wide = wide_ffn(ffn, len(layers))
        rows.append(
            {
                "layer": layers,
                "variant": f"fused/{ffn}",
                "attention": "noop",
                "ffn": ffn,
                run["metric"]: run["value"],
                **_sizes(singles, ffn, shape, context),
                **_times(singles, (seconds or {}).get(wide)),
            }
        )
    return rows


def wide_ffn(ffn: str, count: int) -> str:
    """The variant name of an FFN as wide as `count` of the given variant together.

    ValueError for a linear FFN, which cannot be fused.

    >>> wide_ffn("full", 2), wide_ffn("ratio_50", 3), wide_ffn("noop", 4)
    ('ratio_200', 'ratio_150', 'noop')
    """
    if ffn == "noop":
        return ffn
    if ffn == "linear":
        raise ValueError("FFN 'linear' has no width, so a run of it cannot be one wide FFN")
    percent = 100.0 if ffn == "full" else float(ffn.removeprefix("ratio_"))
    return f"ratio_{count * percent:.10g}"


def layer_indices(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """For each row of an `architectures` table in layer order, the assembled model's layer.

    Rows in succession with the same `fused_into` are one layer there.

    Raises:
        ValueError: `fused_into` of a row is not the index that the rows before it lead to.
    """
    indices: list[int] = []
    for place, row in enumerate(rows):
        into, before = row["fused_into"], rows[place - 1]["fused_into"] if place else None
        index = indices[-1] if indices else -1
        indices.append(index if into is not None and into == before else index + 1)
        if into not in (None, indices[-1]):
            raise ValueError(
                f"architecture, layer {row['layer']}: fused_into is {into}, but the layers before "
                f"it make {indices[-1]} the next index"
            )
    return indices


def _sizes(
    singles: Sequence[Mapping[str, Any]], ffn: str, shape: Shape, context: int
) -> dict[str, int]:
    from resources.models import accounting
    from resources.models.variants import parse_ffn

    single = parse_ffn(ffn, shape.intermediate_size)
    width = len(singles) * (single["intermediate_size"] or 0)
    wide: Any = {"kind": single["kind"], "intermediate_size": width or None}
    sizes = {column: sum(row[column] for row in singles) for column in SUMMED}
    size = sizes["weight_bytes"] // max(sizes["parameters"], 1)
    saved = len(singles) * accounting.ffn_parameters(shape, single)
    saved -= accounting.ffn_parameters(shape, wide)
    working = accounting.activation_bytes(shape, "noop", wide, context, size)
    counted = accounting.activation_bytes(shape, "full", "full", context, size)
    sizes["parameters"] -= saved
    sizes["weight_bytes"] -= saved * size
    sizes["memory_bytes"] += max(working - counted, 0) - saved * size
    return sizes | {"activation_bytes": working}


def _times(
    singles: Sequence[Mapping[str, Any]], measured: Mapping[str, float] | None
) -> dict[str, float | None]:
    times: dict[str, float | None] = {}
    for column in (name for name in TIMES if name in singles[0]):
        values = [row[column] for row in singles]
        times[column] = None if None in values else sum(values)
        if measured is not None:
            times[column] = measured[column]
    return times
