"""What every block variant costs: parameters and bytes, in closed form.

Deterministic columns only: seconds are null here, and filled in the rows of a cost profile
(`profile.py`). Knows the parent's shape; knows nothing of scores or limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution
    from resources.models.accounting import Shape

DTYPES = {1: "float8", 2: "bfloat16", 4: "float32"}
# One-byte kernels are an engine's own, so bfloat16 stands for them, and bounds their time from
# above.
TIMED_AS = {1: "bfloat16", 2: "bfloat16", 4: "float32"}


def block_costs(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """Tables `block_costs` (a row a layer and variant pair) and `non_block_costs` (one row).

    Input: parent. Recipe: attention and ffn (variant names), dtype_bytes, batch (sequences),
    context (tokens).
    """
    from resources.models.accounting import Shape
    from resources.models.loading import read_config

    config = read_config(inputs["parent"].path())
    shape = Shape.of(config.to_dict())
    model = recipe["model"]
    rows = cost_rows(shape, config.num_hidden_layers, recipe["attention"], recipe["ffn"], recipe)
    rest = non_block_costs(shape, recipe)
    full = [row for row in rows if (row["attention"], row["ffn"]) == ("full", "full")]
    totals = {
        column: float(rest[column] + sum(row[column] for row in full))
        for column in ("parameters", "weight_bytes", "kv_bytes_per_token", "memory_bytes")
    }
    dtype = DTYPES.get(recipe["dtype_bytes"], f"{8 * recipe['dtype_bytes']} bits")
    described = [
        {
            "model": model,
            **row,
            "batch": recipe["batch"],
            "prefill_length": recipe["context"],
            "dtype": dtype,
        }
        for row in rows
    ]
    return Output(
        tables={
            "block_costs": pa.Table.from_pylist(described, schema=COST_SCHEMA),
            "non_block_costs": pa.Table.from_pylist([{"model": model, **rest}]),
        },
        metrics={f"parent_{column}": value for column, value in totals.items()}
        | {"rows": float(len(rows))},
    )


COST_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("layer", pa.int64()),
        ("attention", pa.string()),
        ("ffn", pa.string()),
        ("parameters", pa.int64()),
        ("weight_bytes", pa.int64()),
        ("kv_bytes_per_token", pa.int64()),
        ("activation_bytes", pa.int64()),
        ("memory_bytes", pa.int64()),
        ("prefill_seconds", pa.float64()),
        ("decode_seconds", pa.float64()),
        ("batch", pa.int64()),
        ("prefill_length", pa.int64()),
        ("decode_length", pa.int64()),
        ("dtype", pa.string()),
        ("hardware", pa.string()),
        ("engine", pa.string()),
    ]
)


def cost_rows(
    shape: Shape,
    layers: int,
    attention: Sequence[str],
    ffn: Sequence[str],
    recipe: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """The cost of each variant pair in each layer, in the order of layers, attention and ffn.

    Activations are for a prefill of one sequence of `context` tokens. Memory is weights plus keys
    and values of `batch` sequences of `context` tokens: layers run one after another and share
    their working memory, which `non_block_costs` therefore counts once.
    """
    from resources.models import accounting

    size, batch, context = recipe["dtype_bytes"], recipe["batch"], recipe["context"]
    variants = []
    for name in attention:
        for width in ffn:
            parameters = accounting.block_parameters(shape, name, width)
            weights = accounting.weight_bytes(parameters, size)
            keys = accounting.kv_bytes_per_token(shape, name, size)
            kept = accounting.kv_tokens(shape, name, context)
            working = accounting.activation_bytes(shape, name, width, context, size)
            variants.append(
                {
                    "attention": name,
                    "ffn": width,
                    "parameters": parameters,
                    "weight_bytes": weights,
                    "kv_bytes_per_token": keys,
                    "activation_bytes": working,
                    "memory_bytes": weights + batch * kept * keys,
                }
            )
    return [{"layer": layer, **variant} for layer in range(layers) for variant in variants]


def non_block_costs(shape: Shape, recipe: Mapping[str, Any]) -> dict[str, int]:
    """What the model costs besides its blocks: embeddings, head, final norm, working memory.

    The working memory is that of the parent's largest block, an upper bound for any choice.
    """
    from resources.models import accounting

    size = recipe["dtype_bytes"]
    parameters = accounting.shared_parameters(shape)
    weights = accounting.weight_bytes(parameters, size)
    working = accounting.activation_bytes(shape, "full", "full", recipe["context"], size)
    return {
        "parameters": parameters,
        "weight_bytes": weights,
        "kv_bytes_per_token": 0,
        "activation_bytes": 0,
        "memory_bytes": weights + working,
    }
