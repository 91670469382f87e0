"""Cost profiles: measured seconds of every variant on one machine, as an asset and as a file.

A profile is measured here, or read from a JSON file that `heirloom profile` wrote on another
machine, so that a laptop can search for an H200. A pair of variants is taken to need the sum of
its two sub-blocks' seconds. Knows tables and recipes; the measuring is in `measuring.py`, the
file's format in `profile_file.py`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from assets.puzzle.costs.closed_form import COST_SCHEMA, DTYPES, TIMED_AS, cost_rows
from assets.puzzle.costs.profile_file import Profile, ProfileError, differences
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution
    from resources.models.accounting import Shape
    from resources.models.config import HeterogeneousDecoderConfig


def measure_profile(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """The profile of this machine: tables `block_costs`, `non_block_seconds`, `sub_block_seconds`,
    `profile_machine`.

    Input: parent (its configuration). Recipe: batches, prefill, decode, blocks, repeats, attention,
    ffn, dtype_bytes. Where a time came out below 0 within its noise it is 0, and the observations
    name it.

    Blocks of one-byte numbers are timed in bfloat16, an upper bound of their time, and the
    observations say so.

    Raises:
        ProfileError: `dtype_bytes` stands for no dtype.
        TimingError: something does not fit into memory, or its time drowns in noise.
    """
    from assets.puzzle.costs.bench import Setting
    from assets.puzzle.costs.measuring import measure
    from resources.models.loading import read_config

    config = read_config(inputs["parent"].path())
    dtype = TIMED_AS.get(recipe["dtype_bytes"])
    if dtype is None:
        raise ProfileError(
            f"blocks of {recipe['dtype_bytes']} bytes a value cannot be timed: take dtype_bytes "
            f"{', '.join(map(str, TIMED_AS))}, or give costs.profile a file"
        )
    setting = Setting(
        device=execution.device,
        dtype=dtype,
        prefill=recipe["prefill"],
        decode=recipe["decode"],
        blocks=recipe["blocks"],
        repeats=recipe["repeats"],
        threads=execution.threads,
        seed=recipe["seed"],
    )
    began = time.monotonic()
    profile = measure(
        config,
        recipe["attention"],
        recipe["ffn"],
        recipe["batches"],
        setting,
        execution.progress,
    )
    observations: dict[str, Any] = {"timing_seconds": time.monotonic() - began}
    if dtype != DTYPES[recipe["dtype_bytes"]]:
        observations["timed_as"] = f"{dtype}, for {DTYPES[recipe['dtype_bytes']]}"
    return _output(profile, config, recipe, observations)


def read_profile(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """The profile of another machine, from its source file; tables and recipe as in
    `measure_profile`, less blocks and repeats.

    Raises:
        ProfileError: it was made for another shape, dtype or lengths, or lacks a variant or batch.
    """
    from resources.models.accounting import Shape
    from resources.models.loading import read_config

    config = read_config(inputs["parent"].path())
    path = execution.file
    profile = Profile.read(path)
    wrong = differences(profile, Shape.of(config.to_dict()), recipe)
    if wrong:
        raise ProfileError(
            f"{path} does not fit {inputs['parent'].key}: {'; '.join(wrong)}; make one with "
            "`heirloom profile` for this parent and these settings"
        )
    return _output(profile, config, recipe, {"file": str(path)})


def tables(
    profile: Profile, model: str, shape: Shape, layers: int, recipe: Mapping[str, Any]
) -> dict[str, pa.Table]:
    """A profile as tables: `block_costs` has a row a layer, pair of variants and batch.

    Its `memory_bytes` is for that batch at prefill + decode tokens.
    """
    machine = profile.machine
    times = {
        (row.kind, row.variant, row.batch): (row.prefill_seconds, row.decode_seconds)
        for row in profile.sub_blocks
    }
    lengths = {"prefill_length": profile.prefill_length, "decode_length": profile.decode_length}
    measured = lengths | {
        "dtype": machine.dtype,
        "hardware": machine.hardware,
        "engine": machine.engine,
    }
    rows = []
    for batch in recipe["batches"]:
        sizes = {
            "dtype_bytes": recipe["dtype_bytes"],
            "batch": batch,
            "context": sum(lengths.values()),
        }
        for row in cost_rows(shape, layers, recipe["attention"], recipe["ffn"], sizes):
            halves = [times[kind, row[kind], batch] for kind in ("attention", "ffn")]
            prefill, decode = (sum(pair) for pair in zip(*halves, strict=True))
            seconds = {"prefill_seconds": prefill, "decode_seconds": decode, "batch": batch}
            rows.append({"model": model, **row, **seconds, **measured})
    kept = [row for row in profile.non_block if row.batch in recipe["batches"]]
    settings = {"blocks": profile.blocks, "repeats": profile.repeats}
    return {
        "block_costs": pa.Table.from_pylist(rows, schema=COST_SCHEMA),
        "non_block_seconds": pa.Table.from_pylist(
            [{"model": model, **row.model_dump(), **lengths} for row in kept]
        ),
        "sub_block_seconds": pa.Table.from_pylist(
            [{"model": model, **row.model_dump()} for row in profile.sub_blocks],
            schema=SUB_BLOCK_SCHEMA,
        ),
        "profile_machine": pa.Table.from_pylist(
            [{"model": model, **machine.model_dump(), **settings}], schema=MACHINE_SCHEMA
        ),
    }


SUB_BLOCK_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("kind", pa.string()),
        ("variant", pa.string()),
        ("batch", pa.int64()),
        ("prefill_seconds", pa.float64()),
        ("decode_seconds", pa.float64()),
        ("prefill_noise", pa.float64()),
        ("decode_noise", pa.float64()),
        ("clamped", pa.list_(pa.string())),
    ]
)
MACHINE_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("hardware", pa.string()),
        ("torch", pa.string()),
        ("dtype", pa.string()),
        ("engine", pa.string()),
        ("threads", pa.int64()),
        ("blocks", pa.int64()),
        ("repeats", pa.int64()),
    ]
)


def seconds(
    profile: Artifact | Mapping[str, pa.Table],
) -> dict[tuple[str, str], dict[int, tuple[float, float]]]:
    """(attention, ffn) -> batch -> (prefill, decode) seconds of one layer, from a cost profile."""
    found: dict[tuple[str, str], dict[int, tuple[float, float]]] = {}
    for row in _table(profile, "block_costs").to_pylist():
        if row["prefill_seconds"] is None:
            raise ProfileError(
                "the block costs hold no measured seconds: give a cost profile (costs.profile)"
            )
        pair = found.setdefault((row["attention"], row["ffn"]), {})
        pair[row["batch"]] = (row["prefill_seconds"], row["decode_seconds"])
    return found


def rest(profile: Artifact | Mapping[str, pa.Table]) -> dict[int, tuple[float, float]]:
    """Batch -> (prefill, decode) seconds of the model besides its blocks."""
    return {
        row["batch"]: (row["prefill_seconds"], row["decode_seconds"])
        for row in _table(profile, "non_block_seconds").to_pylist()
    }


def _table(profile: Artifact | Mapping[str, pa.Table], name: str) -> pa.Table:
    return profile.table(name) if isinstance(profile, Artifact) else profile[name]


def _output(
    profile: Profile,
    config: HeterogeneousDecoderConfig,
    recipe: Mapping[str, Any],
    observations: dict[str, Any],
) -> Output:
    from resources.models.accounting import Shape

    shape, layers = Shape.of(config.to_dict()), config.num_hidden_layers
    made = tables(profile, recipe["model"], shape, layers, recipe)
    full, other = seconds(made)["full", "full"], rest(made)
    clamped = [row for row in profile.sub_blocks if row.clamped]
    metrics = {
        f"parent_{phase}_seconds_batch_{batch}": other[batch][place] + layers * full[batch][place]
        for batch in recipe["batches"]
        for place, phase in enumerate(("prefill", "decode"))
    }
    return Output(
        tables=made,
        metrics=metrics | {"clamped": float(len(clamped))},
        observations=observations
        | profile.machine.model_dump()
        | {
            "clamped_to_0": [f"{row.kind} {row.variant}, batch {row.batch}" for row in clamped],
        },
    )
