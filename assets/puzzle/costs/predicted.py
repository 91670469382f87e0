"""What the costs say of a whole model: the sums over its blocks, and what it needs besides them.

Finds each layer's cost row by the sizes that its variant's name stands for. Knows tables of costs
and shapes; measures nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from assets.puzzle.costs.profile import rest, seconds
from warehouse.store import Artifact

if TYPE_CHECKING:
    from resources.models.accounting import Shape

Row = dict[str, Any]
Quantity = tuple[str, int | None]  # its name, and the batch where it depends on one


class PredictionError(ValueError):
    """A model cannot be compared with a cost table; the message names the layer."""


def chosen_rows(
    blocks: Sequence[Mapping[str, Any]], costs: Sequence[Row], shape: Shape
) -> list[Row]:
    """The cost row of each layer of a model, found by the sizes that its variant's name stands for.

    A layer that a search fused is an attention-free variant wider than the parent's FFN: its row is
    made from the same closed forms.

    Raises:
        PredictionError: a layer whose sizes no variant of the costs has.
    """
    from resources.models.accounting import blocks_of

    names = list(dict.fromkeys((row["attention"], row["ffn"]) for row in costs))
    sizes = [_sizes(block) for block in blocks_of(shape, names)]
    by_name = {(row["attention"], row["ffn"]): row for row in costs}
    by_size = {size: by_name[name] for size, name in zip(sizes, names, strict=True)}
    found = []
    for layer, block in enumerate(blocks):
        row = by_size.get(_sizes(block)) or _fused_row(block, costs[0], shape)
        if row is None:
            raise PredictionError(
                f"layer {layer}, attention {block['attention']}, FFN {block['ffn']}: the block "
                "costs have no such variant; compare the assembled model, before fusion"
            )
        found.append({**row, "layer": layer})
    return found


def _fused_row(block: Mapping[str, Any], like: Row, shape: Shape) -> Row | None:
    from resources.models import accounting
    from resources.models.variants import ffn_name

    width = block["ffn"]["intermediate_size"] or 0
    if block["attention"]["kind"] != "noop" or width <= shape.intermediate_size:
        return None
    size = like["weight_bytes"] // like["parameters"] if like["parameters"] else 2
    parameters = accounting.block_parameters(shape, block["attention"], block["ffn"])
    working = accounting.activation_bytes(
        shape, block["attention"], block["ffn"], like["prefill_length"], size
    )
    return {
        "attention": "noop",
        "ffn": ffn_name(block["ffn"], shape.intermediate_size),
        "parameters": parameters,
        "weight_bytes": accounting.weight_bytes(parameters, size),
        "kv_bytes_per_token": 0,
        "activation_bytes": working,
        "prefill_length": like["prefill_length"],
    }


def _seconds(
    times: Mapping[tuple[str, str], Mapping[int, tuple[float, float]]], row: Row
) -> Mapping[int, tuple[float, float]]:
    found = times.get((row["attention"], row["ffn"]))
    if found is None:
        raise PredictionError(
            f"layer {row['layer']}: the cost profile has no seconds of {row['attention']}/"
            f"{row['ffn']}; measure that width too"
        )
    return found


def _sizes(block: Mapping[str, Any]) -> tuple[Any, ...]:
    attention, ffn = block["attention"], block["ffn"]
    return (
        attention["kind"],
        attention["num_key_value_heads"],
        ffn["kind"],
        ffn["intermediate_size"],
    )


def predict(
    chosen: Sequence[Row], shared: Mapping[str, Any], profile: Artifact
) -> dict[Quantity, float]:
    """What the costs say of the whole model, in the units of `report.UNITS`.

    Args:
        chosen: the cost row of each layer.
        shared: the row of what the model costs besides its blocks.

    Raises:
        PredictionError: the profile has no seconds of a layer's variants.
    """
    predicted: dict[Quantity, float] = {
        (name, None): float(shared[name] + sum(row[name] for row in chosen))
        for name in ("parameters", "weight_bytes", "kv_bytes_per_token")
    }
    predicted["activation_bytes", None] = float(max(row["activation_bytes"] for row in chosen))
    times = seconds(profile)
    for batch, other in rest(profile).items():
        pairs = [_seconds(times, row)[batch] for row in chosen]
        for place, name in enumerate(("prefill_seconds", "decode_seconds")):
            predicted[name, batch] = other[place] + math.fsum(pair[place] for pair in pairs)
    return predicted
