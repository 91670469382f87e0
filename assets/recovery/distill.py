"""Recovery by distillation: the searched model learns its parent's output distribution.

The teacher stays in memory and its logits are computed batch by batch, so nothing is truncated.
Source: arXiv 2411.19146 §5 (global knowledge distillation), arXiv 2505.00949 §2.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from assets.recovery import corpus
from resources.models.loading import load, save
from resources.training.fit import fit, forward
from resources.training.loop import Batch, Objective
from resources.training.objectives import Loss, distillation, hidden_cosine
from warehouse.store import Artifact, Output


def distil(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Mapping[str, Any],
) -> Output:
    """Train `inputs["student"]` towards `inputs["teacher"]` on `inputs["corpus"]`.

    Loss: KL at `temperature` in `direction`, plus `hidden_weight` times the cosine distance of the
    final hidden states. The key metric is the KL divergence on held-out documents, in nats a token.
    """
    device = str(execution.get("device") or "cpu")
    teacher = load(inputs["teacher"].path(), device=device).requires_grad_(False)
    student = load(inputs["student"].path(), device=device)
    if teacher.config.vocab_size != student.config.vocab_size:
        raise ValueError(
            f"teacher {inputs['teacher'].key} has a vocabulary of {teacher.config.vocab_size}, "
            f"student {inputs['student'].key} one of {student.config.vocab_size}; distillation "
            "compares logits, so they must share a tokenizer"
        )
    if recipe["hidden_weight"] and teacher.config.hidden_size != student.config.hidden_size:
        raise ValueError(
            f"hidden_weight is {recipe['hidden_weight']}, but teacher and student have hidden "
            f"sizes {teacher.config.hidden_size} and {student.config.hidden_size}; set it to 0"
        )
    training, held_out = corpus.read(inputs["corpus"], recipe)
    fitted = fit(
        student,
        training,
        held_out,
        towards(teacher, recipe),
        recipe,
        workdir,
        execution,
        stage="distillation",
        measure=f"kl_{recipe['direction']}",
    )
    folder = workdir / "model"
    save(student, folder, inputs["student"].path())
    return Output(
        tables={"training_metrics": fitted.table, "training_events": fitted.events},
        files={"": folder},
        metrics=fitted.metrics,
        observations=fitted.observations,
        images=fitted.images,
    )


def towards(teacher: nn.Module, recipe: Mapping[str, Any]) -> Objective:
    """The distillation objective for a fixed teacher."""
    weight = float(recipe["hidden_weight"])

    def objective(model: nn.Module, batch: Batch) -> Loss:
        with torch.no_grad():
            target = forward(teacher, batch, output_hidden_states=weight > 0)
        output = forward(model, batch, output_hidden_states=weight > 0)
        weights, total = batch["weights"], batch["total"]
        loss = distillation(
            output.logits,
            target.logits,
            weights,
            total,
            float(recipe["temperature"]),
            recipe["direction"],
        )
        if not weight:
            return loss
        hidden = hidden_cosine(output.hidden_states[-1], target.hidden_states[-1], weights, total)
        return Loss(loss.loss + weight * hidden.loss, {**loss.metrics, **hidden.metrics})

    return objective
