"""Predicted against measured: what the costs say of the chosen model, and what it really needs.

Counts and times the whole assembled model beside its costs (`predicted.py`). A time is compared on
the hardware of the profile only. Knows tables and checkpoints, nothing of the search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from assets.puzzle.costs.closed_form import DTYPES, TIMED_AS
from assets.puzzle.costs.predicted import Quantity, Row, chosen_rows, predict
from assets.puzzle.costs.profile import rest
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from assets.puzzle.costs.bench import Setting
    from resources.execution import Execution
    from resources.models.modeling import HeterogeneousDecoderForCausalLM

UNITS = {
    "parameters": "parameters",
    "weight_bytes": "bytes",
    "kv_bytes_per_token": "bytes a token",
    "activation_bytes": "bytes",
    "prefill_seconds": "s",
    "decode_seconds": "s",
}


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
    predicted = predict(chosen, shared, profile)
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
    measured = measure(model, chosen[0]["prefill_length"], list(rest(profile)), setting, why_not)
    rows = compared(recipe["model"], predicted, measured)
    known = [row for row in rows if row["ratio"] is not None]
    return Output(
        tables={"predicted_costs": pa.Table.from_pylist(rows, schema=SCHEMA)},
        metrics={f"{label(row)} ratio".replace(" ", "_"): row["ratio"] for row in reversed(known)},
        observations={"not_measured": why_not, "hardware": machine["hardware"]},
        images={"predicted_costs": _picture(recipe["model"], machine["hardware"], known)},
    )


def compared(
    model: str, predicted: Mapping[Quantity, float], measured: Mapping[Quantity, float]
) -> list[Row]:
    """The `predicted_costs` rows of a model; measured and ratio are None where nothing was."""
    rows: list[Row] = [
        {
            "model": model,
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
    return rows


def _picture(model: str, hardware: str, known: Sequence[Row]) -> bytes:
    from assets.puzzle.pictures import predicted_vs_measured

    return predicted_vs_measured(
        f"{model}: predicted and measured on {hardware}",
        [label(row) for row in known],
        [row["predicted"] for row in known],
        [row["measured"] for row in known],
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
) -> dict[Quantity, float]:
    """Counts and times of a real model, by (quantity, batch), less what `why_not` names.

    Activations are those of a prefill of one sequence of `context` tokens.
    """
    from assets.puzzle.costs.bench import model_seconds
    from resources.machine import using_threads

    found: dict[Quantity, float] = {("parameters", None): float(model.num_parameters())}
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
