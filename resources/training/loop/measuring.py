"""What a run's steps and a model's losses are measured as: tables, and means over batches.

Knows step records and objectives; nothing of optimizers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from resources.training.objectives import Loss

if TYPE_CHECKING:
    import pyarrow as pa

Batch = dict[str, Any]
Objective = Callable[[nn.Module, Batch], Loss]


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The micro-batch with its tensors on `device`."""
    if device.type == "cpu":
        return batch
    return {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}


def metrics_table(history: Sequence[Mapping[str, float]], stage: str) -> pa.Table:
    """Rows of `training_metrics` (one a step and metric) from a list of step records."""
    import pyarrow as pa

    rows = [
        (stage, int(record["step"]), int(record["tokens"]), name, float(value))
        for record in history
        for name, value in record.items()
        if name not in ("step", "tokens")
    ]
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[]] * 5
    types = [pa.string(), pa.int64(), pa.int64(), pa.string(), pa.float64()]
    names = ["stage", "step", "tokens", "metric", "value"]
    return pa.table([pa.array(c, t) for c, t in zip(columns, types, strict=True)], names=names)


def events_table(events: Sequence[Mapping[str, Any]], stage: str) -> pa.Table:
    """Rows of `training_events`: what happened to a run besides its steps, in order.

    Columns: stage, step, event (`diverged`, `optimizer reinitialised`), detail (text).
    """
    import pyarrow as pa

    detail = [
        ", ".join(f"{k}: {v}" for k, v in event.items() if k not in ("step", "event"))
        for event in events
    ]
    return pa.table(
        {
            "stage": pa.array([stage] * len(events), pa.string()),
            "step": pa.array([int(event["step"]) for event in events], pa.int64()),
            "event": pa.array([str(event["event"]) for event in events], pa.string()),
            "detail": pa.array(detail, pa.string()),
        }
    )


def measured_steps(shares: Sequence[float], steps: int) -> list[int]:
    """The steps (from 1) before the last at which a run has passed the given shares of its steps.

    >>> measured_steps([0.1, 0.25, 0.5, 1.0], 10)
    [1, 2, 5]
    """
    return sorted({max(1, round(share * steps)) for share in shares} - {steps})


@torch.no_grad()
def evaluate(
    model: nn.Module, micro_batches: Sequence[Batch], objective: Objective
) -> dict[str, float]:
    """`loss` and metrics of an objective over micro-batches that share one `total`."""
    training, device = model.training, next(model.parameters()).device
    model.eval()
    sums: dict[str, float] = {}
    for batch in micro_batches:
        loss = objective(model, to_device(batch, device))
        for name, value in {"loss": loss.loss, **loss.metrics}.items():
            sums[name] = sums.get(name, 0.0) + float(value)
    model.train(training)
    return sums
