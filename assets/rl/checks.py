"""Checks of the RL checkpoints and their rollouts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from resources.verifiers import obedience
from warehouse.store import Artifact, CheckResult

LARGEST_ENGINE_ERROR = 0.05  # nats a token, as in training


def rollouts_complete(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every step has prompts x samples rollouts, with finite rewards and advantages."""
    recipe = artifact.manifest["recipe"]
    wanted = recipe["prompts_per_step"] * recipe["samples"]
    steps = recipe["steps"] * len(recipe.get("rounds", [None]))
    rows = artifact.table("rollouts", ["step", "reward", "advantage"]).to_pylist()
    sizes = Counter(row["step"] for row in rows)
    wrong = sum(
        not math.isfinite(row["advantage"])
        or (row["reward"] is not None and not math.isfinite(row["reward"]))
        for row in rows
    )
    return CheckResult(
        "rollouts_complete",
        not wrong and sizes == Counter(dict.fromkeys(range(steps), wanted)),
        f"{len(rows)} rollouts in {len(sizes)} steps (expected {steps} x {wanted}), "
        f"{wrong} without a finite reward",
        {"unscored": sum(row["reward"] is None for row in rows)},
    )


def engine_agrees(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Trainer and engine agreed about the sampled tokens' log-probabilities in every step."""
    error = artifact.metrics["largest_engine_error"]
    return CheckResult(
        "engine_agrees",
        error <= LARGEST_ENGINE_ERROR,
        f"largest mean difference {error:.2e} nats a token",
        {"largest_engine_error": error},
    )


def toggle_obeyed(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """The share of the last rollouts that obey the reasoning toggle (a warning when it is low)."""
    return obedience.toggle_obeyed(artifact.metrics["follows_toggle_last"], "the last rollouts")


def reward_rose(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """The mean reward of the last quarter is above the first's (a warning otherwise).

    With a curriculum prompts get harder, so that a level reward is progress too.
    """
    first, last = artifact.metrics["reward_first"], artifact.metrics["reward_last"]
    return CheckResult(
        "reward_rose", last > first, f"mean reward {first:.3f} to {last:.3f}", blocking=False
    )


def preferences_learned(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Training brought the policy nearer to the rewards' preferences (a warning otherwise)."""
    first, last = artifact.metrics["rpo_loss_first"], artifact.metrics["rpo_loss_last"]
    accuracy = artifact.metrics["preference_accuracy_last"]
    return CheckResult(
        "preferences_learned",
        last < first,
        f"RPO loss {first:.4f} to {last:.4f}, preference accuracy {accuracy:.1%}",
        blocking=False,
    )
