"""GRPO, RLOO and both RPO stages: they learn, resume exactly, and refuse a wrong engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from assets.rl import checks, rollouts
from assets.rl.experience import Experience
from assets.rl.grpo import EngineMismatchError, check_engine, train_policy_gradient
from assets.rl.rpo_offline import train_rpo_offline
from assets.rl.rpo_online import train_rpo_online
from resources.chat.chat import Chat
from resources.models import loading
from resources.training.checks import loss_finite
from tests.assets.rl import support
from warehouse.store import Artifact, Store

COMMON: dict[str, Any] = {
    **support.OPTIMIZER,
    **support.SAMPLING,
    "model": "ultra",
    "prompts_per_step": 4,
    "samples": 4,
    "clip": [0.2, 0.2],
    "reasoning": ["on", "off"],
    "reward": {"accuracy": 1.0, "format": 0.2},
}
GRPO = {
    **COMMON,
    "method": "grpo",
    "stage": "grpo",
    "steps": 3,
    "updates_per_rollout": 2,
    "kl_beta": 1e-3,
}
RLOO = {
    **COMMON,
    "method": "rloo",
    "stage": "rloo",
    "steps": 3,
    "updates_per_rollout": 1,
    "kl_beta": 1e-3,
}
ROUND = {"domains": {"math": 1.0}, "reasoning": ["on", "off"]}
RPO = {
    **COMMON,
    "stage": "rpo",
    "steps": 2,
    "rounds": [ROUND, ROUND],
    "prompts": 6,
    "beta": 1e-5,
    "eta": 3.0,
    "form": "backward",
    "learning_rate": 3e-3,
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def inputs(store: Store, tmp_path: Path, tiny_llama: Path) -> dict[str, Artifact]:
    return {
        "model": support.checkpoint(store, "ultra/sft", tiny_llama),
        "prompts": support.prompts(store, {"math": 6}),
        "reward_model": support.reward_model(store, tiny_llama, tmp_path),
    }


def without(inputs: dict[str, Artifact], name: str) -> dict[str, Artifact]:
    return {key: value for key, value in inputs.items() if key != name}


def prefer_even(made: Sequence[rollouts.Rollout]) -> list[rollouts.Rollout]:
    """A reward that a random model can learn: the share of tokens with an even id."""
    return [
        replace(one, reward=sum(token % 2 == 0 for token in one.tokens.response) / 12)
        for one in made
    ]


@pytest.mark.parametrize("recipe", [GRPO, RLOO], ids=["grpo", "rloo"])
def test_policy_gradient_raises_a_learnable_reward(
    store: Store,
    inputs: dict[str, Artifact],
    recipe: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rollouts, "verifier_reward", lambda weights: prefer_even)
    longer = {**recipe, "steps": 8, "kl_beta": 0.0, "learning_rate": 3e-2}
    made = support.build(
        store, "ultra/rl", train_policy_gradient, without(inputs, "reward_model"), longer
    )
    assert made.metrics["reward_last"] > made.metrics["reward_first"] + 0.1
    assert made.metrics["largest_engine_error"] < 1e-4


def test_artifact_keeps_every_rollout_and_passes_its_checks(
    store: Store, inputs: dict[str, Artifact]
) -> None:
    made = support.build(
        store, "ultra/grpo", train_policy_gradient, without(inputs, "reward_model"), GRPO
    )
    for check in (loss_finite, checks.rollouts_complete, checks.engine_agrees):
        assert check(made, inputs).passed, check(made, inputs).description
    rows = made.table("rollouts").to_pylist()
    assert len(rows) == 3 * 4 * 4
    assert len({row["policy_version"] for row in rows}) == 3
    metrics = {row["metric"] for row in made.table("training_metrics").to_pylist()}
    assert metrics >= {"reward", "kl", "clip_fraction", "gradient_norm", "engine_error"}
    before, after = loading.load(inputs["model"].path()), loading.load(made.path())
    assert not torch.equal(before.lm_head.weight, after.lm_head.weight)
    Chat.load(made.path())


class Killed(RuntimeError):
    pass


@pytest.mark.parametrize(
    ("name", "recipe", "fn"),
    [
        ("grpo", GRPO, train_policy_gradient),
        ("rlhf", {**GRPO, "rounds": [ROUND], "prompts": 6}, train_policy_gradient),
        ("rpo", RPO, train_rpo_online),
    ],
)
def test_a_killed_run_continues_exactly(
    store: Store,
    inputs: dict[str, Artifact],
    name: str,
    recipe: dict[str, Any],
    fn: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = without(inputs, "reward_model") if name == "grpo" else inputs
    whole = support.build(store, f"ultra/{name}", fn, used, recipe, version="undisturbed")
    add = Experience.add
    calls = []

    def killed(self: Experience, *args: Any) -> None:
        calls.append(args)
        if len(calls) in (2, 4):  # once before the step is recorded, once in the step after
            raise Killed
        add(self, *args)

    monkeypatch.setattr(Experience, "add", killed)
    for _ in range(2):
        with pytest.raises(Killed):
            support.build(store, f"ultra/{name}", fn, used, recipe)
    again = support.build(store, f"ultra/{name}", fn, used, recipe)
    assert again.data_version == whole.data_version


def test_reward_model_stage_scores_and_still_verifies(
    store: Store, inputs: dict[str, Artifact]
) -> None:
    recipe = {**GRPO, "rounds": [ROUND], "prompts": 6, "stage": "rlhf"}
    made = support.build(store, "ultra/rlhf", train_policy_gradient, inputs, recipe)
    rows = made.table("rollouts").to_pylist()
    assert all(row["reward"] == row["reward_model"] for row in rows)
    assert {row["reward_accuracy"] for row in rows} <= {0.0, 1.0}
    assert len({row["reward"] for row in rows}) > 8


def test_online_rpo_resets_its_reference_and_checks_out(
    store: Store, inputs: dict[str, Artifact]
) -> None:
    made = support.build(store, "super/rpo", train_rpo_online, inputs, RPO)
    for check in (loss_finite, checks.rollouts_complete, checks.engine_agrees):
        assert check(made, inputs).passed, check(made, inputs).description
    margins = {
        row["step"]: row["value"]
        for row in made.table("training_metrics").to_pylist()
        if row["metric"] == "margin"
    }
    assert margins[1] == pytest.approx(0, abs=1e-4)  # policy = reference at an iteration's start
    assert margins[3] == pytest.approx(0, abs=1e-4)
    assert abs(margins[2]) > 1e-3


def test_offline_rpo_learns_its_pairs_in_rounds(store: Store, inputs: dict[str, Artifact]) -> None:
    from assets.rl_data.preference_pairs import build_preference_pairs

    recipe = {**RPO, "beta": 0.1, "eta": 1.0, "steps": 6, "batch_size": 4}
    pairs = support.build(store, "nano/preference_pairs", build_preference_pairs, inputs, recipe)
    used = {"model": inputs["model"], "prompts": inputs["prompts"], "pairs": pairs}
    made = support.build(store, "nano/rpo", train_rpo_offline, used, recipe)
    assert loss_finite(made, used).passed
    assert checks.preferences_learned(made, used).passed
    assert made.metrics["margin_first"] == pytest.approx(0, abs=1e-4)
    stages = set(support.column(made, "training_metrics", "stage"))
    assert stages == {"rpo_round_1", "rpo_round_2"}


def test_an_engine_with_other_weights_is_refused() -> None:
    logprobs = torch.tensor([-1.0, -2.0, -0.5])
    check_engine(logprobs, logprobs + 0.01)
    with pytest.raises(EngineMismatchError, match=r"differ by 0\.200 nats a token"):
        check_engine(logprobs, logprobs + torch.tensor([0.2, -0.2, 0.2]))
    with pytest.raises(EngineMismatchError):
        check_engine(logprobs, logprobs * float("nan"))
