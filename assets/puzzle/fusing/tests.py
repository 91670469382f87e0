"""What fusing a run does: to the KL, in four forms of the run, and to the time of a token.

Knows models, sequences and clocks; knows nothing of recipes or of how runs are chosen.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from assets.puzzle.calibration import Sequences
from assets.puzzle.costs.bench import Setting, model_seconds
from assets.puzzle.fusion import fuse, reversed_order
from assets.puzzle.intervals import intervals
from assets.puzzle.scoring.build import model_kl
from resources.machine import hardware, using_threads
from resources.models.modeling import HeterogeneousDecoderForCausalLM

ROUNDS = 7  # of latency, each timing every model once

TEST_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("run", pa.list_(pa.int64())),
        *(
            (name, pa.float64())
            for name in (
                "kl_sequential",
                "kl_reversed",
                "kl_parallel",
                "kl_last_norm",
                "ci_low",
                "ci_high",
                "last_norm_ci_low",
                "last_norm_ci_high",
            )
        ),
        ("samples", pa.int64()),
    ]
)


def pretests(
    name: str,
    parent: HeterogeneousDecoderForCausalLM,
    model: HeterogeneousDecoderForCausalLM,
    runs: Sequence[Sequence[int]],
    held: Sequence[int],
    data: Sequences,
    seed: int,
) -> pa.Table:
    """A row a run: KL to the parent (nats a token) with this run alone put in another form.

    `kl_sequential` is the model as it is, `kl_reversed` has the run's layers in reverse order,
    `kl_parallel` the run fused, `kl_last_norm` fused with its last norm for all. The intervals are
    of paired differences over `samples` sequences: `ci` of parallel minus sequential,
    `last_norm_ci` of last norm minus parallel.

    Args:
        runs: in the model's layers; the table's `run` lists the parent's.
        held: for each layer of the parent, the model's layer that holds it.
    """
    rows = []
    sequential = model_kl(parent, model, data) if runs else np.zeros(0)
    for run in runs:
        reverse = model_kl(parent, reversed_order(model, run), data)
        parallel = model_kl(parent, fuse(model, [run]), data)
        last = model_kl(parent, fuse(model, [run], norms="last"), data)
        low, high = intervals(parallel - sequential, seed)
        last_low, last_high = intervals(last - parallel, seed)
        rows.append(
            {
                "model": name,
                "run": [layer for layer, index in enumerate(held) if index in run],
                "kl_sequential": sequential.mean(),
                "kl_reversed": reverse.mean(),
                "kl_parallel": parallel.mean(),
                "kl_last_norm": last.mean(),
                "ci_low": low,
                "ci_high": high,
                "last_norm_ci_low": last_low,
                "last_norm_ci_high": last_high,
                "samples": len(sequential),
            }
        )
    return pa.Table.from_pylist(rows, schema=TEST_SCHEMA)


def latency(
    models: Mapping[str, HeterogeneousDecoderForCausalLM],
    *,
    tokens: int,
    seed: int,
    threads: int | None = None,
) -> dict[str, Any]:
    """Seconds of a prefill of `tokens` tokens and of decoding the next one, by model.

    Medians over rounds in which the models take turns, for one sequence, in the models' dtype:
    `prefill_seconds_<name>`, `decode_seconds_<name>` and `latency_setting`.
    """
    device, dtype = next((model.device, model.dtype) for model in models.values())
    setting = Setting(
        device=str(device),
        dtype=str(dtype).removeprefix("torch."),
        prefill=tokens,
        decode=1,
        repeats=1,
        seed=seed,
    )
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    with using_threads(threads) as used:
        for _ in range(ROUNDS):
            for name, model in models.items():
                taken[name].append(model_seconds(model, 1, setting))
    about = {"tokens": tokens, "dtype": setting.dtype, "threads": used}
    return {
        f"{phase}_seconds_{name}": statistics.median(pair[place] for pair in pairs)
        for name, pairs in taken.items()
        for place, phase in enumerate(("prefill", "decode"))
    } | {"latency_setting": about | {"hardware": hardware(device)}}
