"""Predicted against measured: what the costs say of the chosen model, and what it really needs.

Sums the chosen blocks and the rest, then counts and times the whole assembled model. A time is
compared on the hardware of the profile only. Knows tables and checkpoints, nothing of the search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from assets.puzzle.costs.closed_form import DTYPES, TIMED_AS
from assets.puzzle.costs.profile import rest, seconds
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from assets.puzzle.costs.bench import Setting
    from resources.execution import Execution
    from resources.models.accounting import Shape
    from resources.models.modeling import HeterogeneousDecoderForCausalLM

UNITS = {
    "parameters": "parameters",
    "weight_bytes": "bytes",
    "kv_bytes_per_token": "bytes a token",
    "activation_bytes": "bytes",
    "prefill_seconds": "s",
    "decode_seconds": "s",
}
Row = dict[str, Any]


class PredictionError(ValueError):
    """A model cannot be compared with a cost table; the message names the layer."""


def compare_costs(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """Table `predicted_costs`: a row a quantity (and batch), ratio = predicted / measured.

    Inputs: parent, assembled, block_costs, cost_profile. Recipe: dtype_bytes, repeats. Threads are
    those of the profile. What is not measured here is null, and the observations say why.

    Raises:
        PredictionError: a layer of the model is none of the variants in the costs.
    """
    from assets.puzzle.costs.bench import Setting
    from assets.puzzle.pictures import predicted_vs_measured
    from resources.models.accounting import Shape
    from resources.models.loading import load, read_config

    shape = Shape.of(read_config(inputs["parent"].path()).to_dict())
    folder, device = inputs["assembled"].path(), execution.device
    costs = inputs["block_costs"].table("block_costs").to_pylist()
    chosen = chosen_rows(read_config(folder).block_configs or [], costs, shape)
    [shared] = inputs["block_costs"].table("non_block_costs").to_pylist()
    profile = inputs["cost_profile"]
    [machine] = profile.table("profile_machine").to_pylist()
    lengths = profile.table("non_block_seconds").to_pylist()[0]
    times, others = seconds(profile), rest(profile)

    predicted: dict[tuple[str, int | None], float] = {
        (name, None): float(shared[name] + sum(row[name] for row in chosen))
        for name in ("parameters", "weight_bytes", "kv_bytes_per_token")
    }
    predicted["activation_bytes", None] = float(max(row["activation_bytes"] for row in chosen))
    for batch, other in others.items():
        pairs = [_seconds(times, row)[batch] for row in chosen]
        for place, name in enumerate(("prefill_seconds", "decode_seconds")):
            predicted[name, batch] = other[place] + math.fsum(pair[place] for pair in pairs)

    dtype = DTYPES.get(recipe["dtype_bytes"], "")
    runs_as = TIMED_AS.get(recipe["dtype_bytes"], "bfloat16")
    setting = Setting(
        device=device,
        dtype=runs_as,
        prefill=lengths["prefill_length"],
        decode=lengths["decode_length"],
        repeats=recipe["repeats"],
        threads=machine["threads"],
        seed=recipe["seed"],
    )
    why_not = reasons(machine, dtype, device)
    model = load(folder, device=device, dtype=runs_as)
    measured = measure(model, chosen[0]["prefill_length"], list(others), setting, why_not)
    name = recipe["model"]
    rows = [
        {
            "model": name,
            "quantity": quantity,
            "batch": batch,
            "predicted": value,
            "measured": measured.get((quantity, batch)),
            "unit": UNITS[quantity],
        }
        for (quantity, batch), value in predicted.items()
    ]
    for row in rows:
        row["ratio"] = row["predicted"] / row["measured"] if row["measured"] else None
    known = [row for row in rows if row["ratio"] is not None]
    labels = [label(row) for row in known]
    return Output(
        tables={"predicted_costs": pa.Table.from_pylist(rows, schema=SCHEMA)},
        metrics={f"{label(row)} ratio".replace(" ", "_"): row["ratio"] for row in reversed(known)},
        observations={"not_measured": why_not, "hardware": machine["hardware"]},
        images={
            "predicted_costs": predicted_vs_measured(
                f"{name}: predicted and measured on {machine['hardware']}",
                labels,
                [row["predicted"] for row in known],
                [row["measured"] for row in known],
            )
        },
    )


SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("quantity", pa.string()),
        ("batch", pa.int64()),
        ("predicted", pa.float64()),
        ("measured", pa.float64()),
        ("ratio", pa.float64()),
        ("unit", pa.string()),
    ]
)


def label(row: Mapping[str, Any]) -> str:
    """A row's name: its quantity, and the batch where it has one.

    >>> label({"quantity": "decode_seconds", "batch": 8})
    'decode_seconds batch 8'
    """
    return row["quantity"] + ("" if row["batch"] is None else f" batch {row['batch']}")


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


def reasons(machine: Mapping[str, Any], dtype: str, device: str) -> dict[str, str]:
    """What cannot be measured here, and why: `seconds`, `activation_bytes`, `bytes`."""
    from resources.machine import ENGINE, hardware

    found: dict[str, str] = {}
    here = hardware(device)
    if dtype not in TIMED_AS.values():
        found |= dict.fromkeys(
            ("bytes", "activation_bytes"), f"this engine does not run {dtype or 'that'}"
        )
    if device == "cpu":
        found["activation_bytes"] = "peak memory of tensors is counted on a GPU only"
    if machine["hardware"] != here:
        found["seconds"] = f"the profile is of {machine['hardware']}, this machine is {here}"
    elif machine["engine"] != ENGINE:
        found["seconds"] = f"the profile is of engine {machine['engine']}, here it is {ENGINE}"
    return found


def measure(
    model: HeterogeneousDecoderForCausalLM,
    context: int,
    batches: Sequence[int],
    setting: Setting,
    why_not: Mapping[str, str],
) -> dict[tuple[str, int | None], float]:
    """Counts and times of a real model, by (quantity, batch), less what `why_not` names.

    Activations are those of a prefill of one sequence of `context` tokens.
    """
    from assets.puzzle.costs.bench import model_seconds
    from resources.machine import using_threads

    found: dict[tuple[str, int | None], float] = {
        ("parameters", None): float(model.num_parameters())
    }
    if "bytes" not in why_not:
        weights = (weight.numel() * weight.element_size() for weight in model.parameters())
        found["weight_bytes", None] = float(sum(weights))
        found["kv_bytes_per_token", None] = kv_bytes_per_token(model)
    if "activation_bytes" not in why_not:
        found["activation_bytes", None] = float(peak_activation(model, context))
    if "seconds" not in why_not:
        with using_threads(setting.threads):
            for batch in batches:
                prefill, decode = model_seconds(model, batch, setting)
                found["prefill_seconds", batch], found["decode_seconds", batch] = prefill, decode
    return found


def kv_bytes_per_token(model: HeterogeneousDecoderForCausalLM) -> float:
    """Bytes of the real key and value tensors that a few tokens leave in the cache, per token."""
    import torch

    tokens = 4
    with torch.inference_mode():
        ids = torch.zeros(1, tokens, dtype=torch.long, device=model.device)
        cache: Any = model(ids, use_cache=True).past_key_values
    held = [x for layer in cache.layers for x in (layer.keys, layer.values) if x is not None]
    return sum(x.numel() * x.element_size() for x in held) / tokens


def peak_activation(model: HeterogeneousDecoderForCausalLM, context: int) -> int:
    """Peak bytes that the layers allocate on a GPU for a prefill of one sequence, cache aside."""
    import torch

    with torch.inference_mode():
        ids = torch.zeros(1, context, dtype=torch.long, device=model.device)
        tables = model.context(ids)
        torch.cuda.synchronize(model.device)
        before = torch.cuda.memory_allocated(model.device)
        torch.cuda.reset_peak_memory_stats(model.device)
        model.run(model.embed(ids), tables)
        torch.cuda.synchronize(model.device)
        return int(torch.cuda.max_memory_allocated(model.device)) - before
