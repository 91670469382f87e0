"""Prompts that the model's context has no room for: they are in the rows, and teach nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.rl import checks
from assets.rl.grpo import train_policy_gradient
from assets.rl.rpo_online import train_rpo_online
from assets.rl_data.pass_rates import build_pass_rates
from assets.rl_data.preference_pairs import build_preference_pairs
from assets.rl_data.preference_prompts import build_preference_prompts
from assets.rl_data.ranked_pairs import ranked_pairs
from assets.sft_data.generate import generate
from assets.sft_data.verify import verify
from resources.engines.protocol import NO_ROOM, Completion
from resources.verifiers.attempts import Attempt, Prompt
from resources.verifiers.verdict import Verdict
from tests.assets.rl import support
from tests.assets.rl.test_training import GRPO, ROUND, RPO
from warehouse.rows import with_ids
from warehouse.store import Artifact, Output, Store

WHY = "the model's context has no room for the prompt"  # 1,024 tokens of the model here
Rows = list[dict[str, Any]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def problems(store: Store, count: int, long: int) -> Artifact:
    """`problems/math`, the first questions of which are too long."""
    table = support.problems(store, "math", count).table("problems")
    asked = table["question"].to_pylist()
    asked[:long] = [f"{each} {'1+1? ' * 900}" for each in asked[:long]]
    place = table.column_names.index("question")
    table = table.set_column(place, "question", pa.array(asked)).drop(["row_id", "parents"])
    rows = with_ids(table, "problems/math", ["question"])
    return support.publish(store, "problems/math", Output(tables={"problems": rows}), long=long)


def prompts(store: Store, count: int, long: int) -> Artifact:
    inputs = {"problems_math": problems(store, count, long)}
    build = build_preference_prompts
    recipe = {"domains": {"math": count}}
    return support.build(store, "rl_data/preference_prompts", build, inputs, recipe)


def long_ones(artifact: Artifact, table: str, asked: Artifact) -> Rows:
    """The rows of a table that are of questions which are too long."""
    found = asked.table("problems" if "problems" in asked.key else "prompts").to_pylist()
    key = "row_id" if "problems" in asked.key else "problem_id"
    ids = {row[key] for row in found if len(row["question"]) > 4000}
    return [row for row in artifact.table(table).to_pylist() if row["problem_id"] in ids]


@pytest.mark.parametrize(
    ("fn", "recipe"), [(train_policy_gradient, GRPO), (train_rpo_online, RPO)], ids=["grpo", "rpo"]
)
def test_what_is_not_answered_is_a_row_and_no_lesson(
    store: Store, fn: Any, recipe: dict[str, Any], tmp_path: Path, tiny_llama: Path
) -> None:
    inputs = {
        "model": support.checkpoint(store, "ultra/sft", tiny_llama),
        "prompts": prompts(store, 4, 1),
        **(
            {"reward_model": support.reward_model(store, tiny_llama, tmp_path)}
            if fn != train_policy_gradient
            else {}
        ),
    }
    made = support.build(store, "ultra/rl", fn, inputs, {**recipe, "prompts": 4})
    without = long_ones(made, "rollouts", inputs["prompts"])
    assert len(without) == recipe["samples"] * len(made.table("rollouts")) / 16
    assert {(row["verdict"], row["reward"], row["finish_reason"]) for row in without} == {
        ("unknown", None, NO_ROOM)
    }
    assert all(WHY in row["evidence"] for row in without)
    shares = [
        r["value"] for r in made.table("training_metrics").to_pylist() if r["metric"] == "no_room"
    ]
    assert shares and set(shares) == {0.25}
    assert checks.rollouts_complete(made, inputs).passed


def test_a_step_without_any_answer_is_one_line(store: Store, tiny_llama: Path) -> None:
    model = support.checkpoint(store, "ultra/sft", tiny_llama)
    inputs = {"model": model, "prompts": prompts(store, 4, 4)}
    with pytest.raises(ValueError, match=f"{WHY}, one of [0-9,]+ tokens, nor for any other"):
        support.build(store, "ultra/rl", train_policy_gradient, inputs, GRPO)


def test_pass_rates_and_pairs_leave_it_out(store: Store, tmp_path: Path, tiny_llama: Path) -> None:
    model = support.checkpoint(store, "ultra/sft", tiny_llama)
    asked = problems(store, 4, 1)
    recipe = {**support.SAMPLING, "domains": ["math"], "prompts": 4, "samples": 2}
    rates = support.build(
        store, "rl_data/pass_rates", build_pass_rates, {"model": model, "problems_math": asked},
        {**recipe, "discard_at": 0.75},
    )  # fmt: skip
    (row,) = long_ones(rates, "pass_rates", asked)
    assert (row["pass_rate"], row["unknown"], row["kept"]) == (None, 2, False)

    given = {"model": model, "prompts": prompts(store, 4, 1)}
    given["reward_model"] = support.reward_model(store, tiny_llama, tmp_path)
    pairs = support.build(
        store, "rl_data/pairs", build_preference_pairs, given,
        {**recipe, "model": "ultra", "rounds": [ROUND]},
    )  # fmt: skip
    assert not long_ones(pairs, "preferences", given["prompts"])
    assert len(long_ones(pairs, "generations", given["prompts"])) == 2


def test_ranked_pairs_compare_answers_alone() -> None:
    problem = {"row_id": b"0123456789abcdef", "domain": "math", "question": "1+1?"}
    nothing = Completion("", [], NO_ROOM, 2000, 0, None, 0.0)
    silent = [
        Attempt(Prompt(problem, mode), nothing, Verdict("unknown", "")) for mode in ("on", "off")
    ]
    assert not silent[1].follows_toggle
    assert ranked_pairs(silent, lambda text: [1]) == []


def test_answers_for_sft_are_unknown_not_incorrect(store: Store, tiny_llama: Path) -> None:
    teacher = support.checkpoint(store, "parents/teacher", tiny_llama)
    inputs = {"problems": problems(store, 3, 1), "teacher": teacher}
    recipe = {"domain": "math", "prompts": 3, "samples_on": 2, "samples_off": 0}
    recipe["generation"] = support.SAMPLING
    made = support.build(store, "sft_data/math_generations", generate, inputs, recipe)
    assert made.metrics["generations"] == 6
    given = {"problems": inputs["problems"], "generations": made}
    judged = support.build(store, "sft_data/math_verdicts", verify, given, {"domain": "math"})
    ids = {row["row_id"] for row in long_ones(made, "generations", inputs["problems"])}
    rows = [r for r in judged.table("verdicts").to_pylist() if r["generation_id"] in ids]
    assert len(rows) == 2 and all(row["verdict"] == "unknown" for row in rows)
    assert all(WHY in row["evidence"] for row in rows)
