"""Rewards, advantages within groups, and what happens to undecided responses."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.rl.batches import Tokens
from assets.rl.rollouts import (
    Rollout,
    collect,
    rollout_table,
    summary,
    verifier_reward,
    with_advantages,
)
from assets.rl.slots import passes, plan_slots
from resources.chat.chat import Chat
from resources.engines.protocol import Completion, Sampling
from resources.engines.transformers import TransformersEngine
from resources.models import loading
from resources.verifiers.attempts import Attempt, Prompt
from resources.verifiers.verdict import Verdict
from tests.assets.rl import support
from warehouse.store import Store


def rollout(group: int, accuracy: float | None, reward: float | None = None) -> Rollout:
    problem = {"row_id": bytes([group]) * 16, "domain": "math"}
    completion = Completion("text", [5], "stop", 1, 1, [-1.0], 0.0)
    attempt = Attempt(Prompt(problem, "off"), completion, Verdict("correct", ""))
    return Rollout(attempt, group, Tokens([1], [5]), [-1.0], accuracy, 1.0, reward=reward)


def test_verifier_reward_weighs_accuracy_and_format() -> None:
    made = verifier_reward({"accuracy": 1.0, "format": 0.2})(
        [rollout(0, 1.0), rollout(0, 0.0), rollout(0, None)]
    )
    assert [one.reward for one in made] == [1.2, 0.2, None]


def test_undecided_responses_leave_their_group() -> None:
    rewards = [(0, 1.0), (0, 0.0), (0, None), (1, 1.0), (1, None), (2, 1.0), (2, 1.0)]
    made = with_advantages([rollout(g, r, r) for g, r in rewards], "rloo")
    assert [one.advantage for one in made] == pytest.approx([1.0, -1.0, 0, 0, 0, 0, 0])
    equal = with_advantages([rollout(0, 0.0, 0.2)] * 7, "grpo")
    assert [one.advantage for one in equal] == [0.0] * 7
    grpo = with_advantages([rollout(g, r, r) for g, r in rewards], "grpo")
    assert grpo[0].advantage == pytest.approx(0.7071, abs=1e-3)


def test_collected_rollouts_carry_exact_tokens_and_logprobs(
    tmp_path: Path, tiny_llama: Path
) -> None:
    from assets.rl.batches import response_logprobs
    from resources.tasks.drawing import prompt_rows

    store = Store(tmp_path)
    rows = prompt_rows(support.prompts(store, {"math": 3}).table("prompts"))
    model, chat = loading.load(tiny_llama), Chat.load(tiny_llama)
    slots = [(rows[0], "on"), (rows[1], "off"), (rows[0], "on")]
    made = collect(
        TransformersEngine(model, chat, "v"),
        slots,
        2,
        Sampling(1.0, max_new_tokens=8),
        verifier_reward({"accuracy": 1.0, "format": 0.2}),
    )
    assert [one.group for one in made] == [0, 0, 1, 1, 2, 2]
    # The same prompt in two slots goes on counting, so no two of its responses are the same draw.
    assert [one.attempt.prompt.sample_index for one in made] == [0, 1, 0, 1, 2, 3]
    for one, logprobs in zip(
        made, response_logprobs(model, [one.tokens for one in made]), strict=True
    ):
        assert logprobs.tolist() == pytest.approx(one.engine_logprobs, abs=1e-4)
    table = rollout_table(made, "ultra/grpo", "ultra", "grpo", 0, "v")
    assert len(set(table["row_id"].to_pylist())) == 6
    assert table["parents"].to_pylist()[0][0]["asset_key"] == "problems/math"
    assert set(summary(made)) >= {"reward", "accuracy_on", "accuracy_off", "truncated"}


def test_passes_use_every_row_before_any_again() -> None:
    batches = list(passes(list(range(5)), 4, 3, [1]))
    flat = [row for batch in batches for row in batch]
    assert sorted(flat[:5]) == sorted(flat[5:10]) == list(range(5))
    assert batches == list(passes(list(range(5)), 4, 3, [1]))


def test_plans_protect_the_off_mode(tmp_path: Path) -> None:
    inputs = {"prompts": support.prompts(Store(tmp_path), {"math": 6})}
    recipe = {"seed": 1, "steps": 5, "prompts_per_step": 8, "reasoning": ["on", "off"]}
    for share, off in ((None, 4), (0.25, 2), (0.01, 1)):
        plan = plan_slots(inputs, {**recipe, "off_share": share})
        assert [sum(mode == "off" for _, mode in step) for step in plan] == [off] * 5
    only = plan_slots(inputs, {**recipe, "reasoning": ["on"]})
    assert {mode for step in only for _, mode in step} == {"on"}


def test_rounds_draw_from_their_own_domains(tmp_path: Path) -> None:
    inputs = {"prompts": support.prompts(Store(tmp_path), {"math": 6, "instructions": 6})}
    rounds = [
        {"domains": {"math": 1.0}, "reasoning": ["on"]},
        {"domains": {"instructions": 1.0}, "reasoning": ["off"]},
    ]
    recipe = {"seed": 1, "steps": 2, "prompts_per_step": 3, "prompts": 4, "rounds": rounds}
    plan = plan_slots(inputs, recipe)
    asked = [{(problem["domain"], mode) for problem, mode in step} for step in plan]
    assert asked == [{("math", "on")}] * 2 + [{("instructions", "off")}] * 2
