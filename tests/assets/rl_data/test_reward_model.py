"""Ranked pairs, the reward model's loss and training, and preference pairs from its scores."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from assets.rl_data import checks
from assets.rl_data.preference_pairs import build_preference_pairs
from assets.rl_data.ranked_pairs import break_toggle, ranked_pairs
from assets.rl_data.reward_model import pair_loss, train_reward_model
from resources.engines.protocol import Completion
from resources.models import loading, reward
from resources.models.errors import CheckpointError
from resources.verifiers.attempts import Attempt, Prompt
from resources.verifiers.reasoning import follows_toggle
from resources.verifiers.verdict import Value, Verdict
from tests.assets.rl import support
from warehouse.store import Store

ON, OFF = "<think>\n1+1=2\n</think>\n\n\\boxed{2}", "\\boxed{2}"


def attempt(text: str, reasoning: str, verdict: Value) -> Attempt:
    problem = {"row_id": b"0123456789abcdef", "domain": "math", "question": "1+1?"}
    completion = Completion(text, [ord(c) % 7 for c in text], "stop", 1, len(text), None, 0.0)
    return Attempt(Prompt(problem, reasoning), completion, Verdict(verdict, ""))


def test_pairs_are_correct_over_incorrect_and_obeying_over_breaking() -> None:
    made = ranked_pairs(
        [
            attempt(ON, "on", "correct"),
            attempt(ON.replace("{2}", "{3}"), "on", "incorrect"),
            attempt(OFF, "off", "correct"),
        ],
        lambda text: [1, 2, 3],
    )
    found = [(p.kind, p.prompt.reasoning, p.chosen.text, p.rejected.text) for p in made]
    assert found == [
        ("correctness", "on", ON, ON.replace("{2}", "{3}")),
        ("toggle", "on", ON, OFF),
        ("toggle", "off", OFF, ON),
    ]


@pytest.mark.parametrize(("text", "mode"), [(ON, "on"), (OFF, "off")])
def test_broken_toggle_breaks_the_toggle(text: str, mode: str) -> None:
    assert follows_toggle(text, mode)
    assert not follows_toggle(break_toggle(text, mode), mode)


def test_pair_loss_by_hand() -> None:
    class Fixed(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return torch.tensor([2.0, 0.0, 1.0, 1.0])

    loss = pair_loss(Fixed(), {"input_ids": None, "lengths": None, "total": 2})
    by_hand = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(1))) / 2
    assert float(loss.loss) == pytest.approx(by_hand)
    assert float(loss.metrics["pair_accuracy"]) == 0.5


def test_scores_do_not_depend_on_padding_or_batch(tiny_llama: Path, tmp_path: Path) -> None:
    model = reward.RewardModel(loading.load(tiny_llama))
    torch.nn.init.normal_(model.head.weight)
    sequences = [[1, 2, 3], [4, 5, 6, 7, 8, 9], [10, 11]]
    together = reward.score(model, sequences)
    alone = [reward.score(model, [one])[0] for one in sequences]
    assert together == pytest.approx(alone, abs=1e-3)
    reward.save(model, tmp_path / "saved", tiny_llama)
    assert reward.score(reward.load(tmp_path / "saved"), sequences) == pytest.approx(together)
    with pytest.raises(CheckpointError, match="no reward model"):
        reward.load(tiny_llama)


def test_reward_model_learns_the_toggle_and_makes_pairs(tmp_path: Path, tiny_llama: Path) -> None:
    store = Store(tmp_path)
    model = support.checkpoint(store, "super/sft", tiny_llama)
    inputs = {"model": model, "problems_math": support.problems(store, "math", 24)}
    recipe = {
        **support.OPTIMIZER,
        **support.SAMPLING,
        "domains": ["math"],
        "prompts": 24,
        "samples": 2,
        "epochs": 6,
        "tokens": None,
        "batch_tokens": 2048,
        "sequence_length": 256,
        "learning_rate": 3e-3,
    }
    trained = support.build(store, "rl_data/reward_model", train_reward_model, inputs, recipe)
    assert trained.metrics["loss_first"] == pytest.approx(math.log(2), abs=1e-3)
    assert trained.metrics["loss_last"] < 0.4
    assert trained.metrics["toggle_accuracy"] > 0.5
    assert checks.pairs_valid(trained, inputs).passed
    assert checks.reward_model_ranks(trained, inputs).passed

    prompts = support.prompts(store, {"math": 6, "instructions": 4})
    inputs = {"model": model, "prompts": prompts, "reward_model": trained}
    rounds = [
        {"domains": {"math": 1.0}, "reasoning": ["on", "off"]},
        {"domains": {"instructions": 1.0}, "reasoning": ["on"]},
    ]
    pairs = support.build(
        store,
        "nano/preference_pairs",
        build_preference_pairs,
        inputs,
        {**support.SAMPLING, "rounds": rounds, "prompts": 4, "samples": 3},
    )
    assert checks.pairs_valid(pairs, inputs).passed
    assert checks.every_round_has_pairs(pairs, inputs).passed
    rows = pairs.table("preferences").to_pylist()
    assert {(row["round"], row["domain"]) for row in rows} == {(0, "math"), (1, "instructions")}
    assert {row["reasoning"] for row in rows if row["round"] == 1} == {"on"}
    assert len({row["row_id"] for row in rows}) == len(rows)
