"""Orders prompts from easy to hard into batches, by pass rate.

Knows pass rates and batch sizes; does not know what the prompts ask or who will train on them.
Two rules (Llama-Nemotron, arXiv 2505.00949 section 5): `paper` is the written rule taken
literally; `transport` allots the same Gaussian targets exactly, so every prompt is used once and
the batches never drift back to easy prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from resources.execution import Execution

Method = Literal["transport", "paper"]
_IPF_ROUNDS = 10_000
_IPF_TOLERANCE = 1e-9


def plan(
    pass_rates: pa.Table,
    batch_size: int,
    method: str = "transport",
    sigma: float = 0.15,
    seed: int = 0,
) -> pa.Table:
    """Allot every row of `pass_rates` to a training step, easy steps first.

    `pass_rates` has columns `problem_id` and `pass_rate` (share of samples that were correct, in
    [0, 1]); each row is used exactly once. The Gaussian target of step t is centred on a pass rate
    that falls linearly from the highest to the lowest one present; `sigma` is its width, in units
    of pass rate. Rows are shuffled inside a step. The last step is short when `batch_size` does
    not divide the number of rows.

    Returns columns `step` (int32, from 0), `problem_id`, `pass_rate` (float64).
    Raises ValueError for a missing column, a pass rate outside [0, 1], or impossible settings.
    """
    import numpy as np
    import pyarrow as pa

    rates = _checked(pass_rates, batch_size, method, sigma)
    levels, level_of = np.unique(rates, return_inverse=True)
    counts = np.bincount(level_of, minlength=len(levels))
    sizes = _batch_sizes(len(rates), batch_size)
    allot = _transport if method == "transport" else _paper
    allotment = allot(levels, counts, sizes, sigma)

    rng = np.random.default_rng(seed)
    pools = [
        list(rng.permutation(np.flatnonzero(level_of == level))) for level in range(len(levels))
    ]
    order: list[int] = []
    steps: list[int] = []
    for step, row in enumerate(allotment):
        batch = [pools[level].pop(0) for level, count in enumerate(row) for _ in range(count)]
        order.extend(int(index) for index in rng.permutation(batch))
        steps.extend([step] * len(batch))
    chosen = pa.array(order, pa.int64())
    return pa.table(
        {
            "step": pa.array(steps, pa.int32()),
            "problem_id": pass_rates["problem_id"].combine_chunks().take(chosen),
            "pass_rate": pass_rates["pass_rate"].cast(pa.float64()).combine_chunks().take(chosen),
        }
    )


def _checked(pass_rates: pa.Table, batch_size: int, method: str, sigma: float) -> np.ndarray:
    """The pass rates, once all that `plan` was given can be meant; ValueError otherwise."""
    import numpy as np
    import pyarrow as pa

    missing = {"problem_id", "pass_rate"} - set(pass_rates.column_names)
    if missing:
        raise ValueError(
            f"pass_rates lacks column {sorted(missing)}; it needs problem_id, pass_rate"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    if not sigma > 0:
        raise ValueError(f"sigma is {sigma}; the width of the target must be positive")
    if method not in ("transport", "paper"):
        raise ValueError(f"unknown curriculum method {method!r}; known: transport, paper")
    if pass_rates["pass_rate"].null_count:
        raise ValueError(
            "pass_rate is null for some problems (all of their samples are unknown); "
            "drop them before planning"
        )
    rates: np.ndarray = pass_rates["pass_rate"].cast(pa.float64()).to_numpy()
    if len(rates) and not (np.isfinite(rates).all() and rates.min() >= 0 and rates.max() <= 1):
        raise ValueError("a pass rate is outside [0, 1]")
    return rates


def _batch_sizes(rows: int, batch_size: int) -> list[int]:
    full, rest = divmod(rows, batch_size)
    return [batch_size] * full + ([rest] if rest else [])


def _centres(levels: np.ndarray, steps: int) -> np.ndarray:
    import numpy as np

    return np.linspace(levels[-1], levels[0], steps) if steps > 1 else levels[-1:]


def _transport(
    levels: np.ndarray, counts: np.ndarray, sizes: Sequence[int], sigma: float
) -> list[list[int]]:
    """The plan nearest to the Gaussian kernel whose rows are `sizes` and columns are `counts`.

    Iterative proportional fitting (Sinkhorn) in the log domain on
    K[t, v] = exp(-(v - mu_t)^2 / (2 sigma^2)). The fitted rows form an exponential family with
    parameter mu_t / sigma^2, so the mean pass rate falls from step to step; integers are then
    made by carrying what rounding owes to the next step.
    """
    import numpy as np

    if not sizes:
        return []
    kernel = -((levels[None, :] - _centres(levels, len(sizes))[:, None]) ** 2) / (2 * sigma**2)
    rows, columns = np.asarray(sizes, float), counts.astype(float)
    column_scale = np.zeros(len(levels))
    for _ in range(_IPF_ROUNDS):
        row_scale = np.log(rows) - _logsumexp(kernel + column_scale, axis=1)
        fitted = np.exp(kernel + row_scale[:, None] + column_scale)
        error = np.abs(fitted.sum(axis=0) - columns).max()
        if error < _IPF_TOLERANCE * rows.sum():
            break
        column_scale = np.log(columns) - _logsumexp(kernel + row_scale[:, None], axis=0)
    wanted = np.cumsum(fitted, axis=0)
    used = np.zeros(len(levels), int)
    allotment: list[list[int]] = []
    for step, size in enumerate(sizes):
        given = _round(wanted[step] - used, size, counts - used)
        used += given
        allotment.append(given.tolist())
    return allotment


def _logsumexp(values: np.ndarray, axis: int) -> np.ndarray:
    import numpy as np

    top = values.max(axis=axis, keepdims=True)
    return np.log(np.exp(values - top).sum(axis=axis)) + top.squeeze(axis)


def _paper(
    levels: np.ndarray, counts: np.ndarray, sizes: Sequence[int], sigma: float
) -> list[list[int]]:
    """The written rule: Gaussian targets capped by what is left, then the largest pools fill up."""
    import numpy as np

    left = counts.copy()
    allotment: list[list[int]] = []
    for centre, size in zip(_centres(levels, len(sizes)), sizes, strict=True):
        weights = np.exp(-((levels - centre) ** 2) / (2 * sigma**2))
        target = _round(size * weights / weights.sum(), size, np.full(len(levels), size))
        given = np.minimum(target, left)
        for _ in range(size - int(given.sum())):
            given[int(np.argmax(left - given))] += 1
        left -= given
        allotment.append(given.tolist())
    return allotment


def _round(wanted: np.ndarray, size: int, available: np.ndarray) -> np.ndarray:
    """Integers near `wanted` that sum to `size` and stay within `available` (largest remainder)."""
    import numpy as np

    given = np.clip(np.floor(wanted + 1e-9), 0, available).astype(int)
    while (short := size - int(given.sum())) != 0:
        owed = wanted - given
        if short > 0:
            given[int(np.argmax(np.where(given < available, owed, -np.inf)))] += 1
        else:
            given[int(np.argmin(np.where(given > 0, owed, np.inf)))] -= 1
    return given


def draw_slots(pass_rates: pa.Table, slots: int, seed: int) -> pa.Table:
    """Exactly `slots` rows of `pass_rates`: whole copies first, then an even draw by difficulty.

    Training asks for a fixed number of prompts. When fewer were kept, prompts come again; when
    more were kept, the draw takes every n-th one in order of pass rate so that no difficulty is
    lost.
    """
    import numpy as np
    import pyarrow as pa

    rows = pass_rates.num_rows
    if rows == 0:
        raise ValueError("no prompt was kept: every problem was too easy or could not be verified")
    rng = np.random.default_rng(seed)
    copies, rest = divmod(slots, rows)
    shuffled = rng.permutation(rows)
    rates = pass_rates["pass_rate"].to_numpy()[shuffled]
    by_rate = shuffled[np.argsort(rates, kind="stable")]
    extra = by_rate[(np.arange(rest) * rows) // max(rest, 1)]
    chosen = np.concatenate([np.tile(np.arange(rows), copies), np.sort(extra)])
    return pass_rates.take(pa.array(chosen, pa.int64()))


def build_curriculum(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """The batches of a model's GRPO run: `steps` batches of `prompts_per_step` kept prompts."""
    import numpy as np
    import pyarrow as pa

    kept = inputs["prompts"].table("prompts", ["problem_id", "pass_rate"])
    steps, batch = int(recipe["steps"]), int(recipe["prompts_per_step"])
    pool = draw_slots(kept, steps * batch, recipe["seed"])
    table = plan(pool, batch, recipe["method"], recipe["sigma"], recipe["seed"])
    model = pa.array([recipe["model"]] * table.num_rows, pa.string())
    table = table.add_column(0, "model", model)
    rates = table["pass_rate"].to_numpy().reshape(steps, batch).mean(axis=1)
    return Output(
        tables={"curriculum": table},
        metrics={
            "pass_rate_first": float(rates[0]),
            "pass_rate_last": float(rates[-1]),
            "largest_rise": float(np.diff(rates).max()) if steps > 1 else 0.0,
            "distinct_prompts": float(len(set(table["problem_id"].to_pylist()))),
        },
    )
