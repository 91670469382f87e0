"""The curriculum plan: exact allotment, monotone batches, and the written rule's known flaw."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.rl_data.curriculum import draw_slots, plan

LEVELS = np.arange(6) / 8


def pool(counts: list[int]) -> pa.Table:
    rates = np.repeat(LEVELS[: len(counts)], counts)
    ids = [index.to_bytes(16, "big") for index in range(len(rates))]
    return pa.table({"problem_id": pa.array(ids, pa.binary(16)), "pass_rate": rates})


def means(table: pa.Table) -> np.ndarray:
    grouped = table.group_by("step").aggregate([("pass_rate", "mean")]).sort_by("step")
    return grouped["pass_rate_mean"].to_numpy()


POOLS = {
    "uniform": [600] * 6,
    "hard": [2000, 800, 400, 200, 120, 80],
    "easy": [80, 120, 200, 400, 800, 2000],
}


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("sigma", [0.15, 0.30])
def test_transport_is_monotone_and_uses_every_prompt_once(name: str, sigma: float) -> None:
    table = pool(POOLS[name])
    made = plan(table, 72, "transport", sigma)
    assert sorted(made["problem_id"].to_pylist()) == sorted(table["problem_id"].to_pylist())
    assert set(np.unique(made["step"].to_numpy(), return_counts=True)[1]) == {72, 3600 % 72 or 72}
    assert np.diff(means(made)).max() < 0.025
    assert means(made)[0] - means(made)[-1] > 0.1


@pytest.mark.parametrize("name", ["uniform", "easy"])
def test_paper_rule_turns_easy_again_at_the_end(name: str) -> None:
    table = pool(POOLS[name])
    made = plan(table, 72, "paper", 0.15)
    assert sorted(made["problem_id"].to_pylist()) == sorted(table["problem_id"].to_pylist())
    course = means(made)
    assert course[0] == pytest.approx(0.54, abs=0.01)
    assert course[-1] > course.min() + 0.1
    assert np.diff(course).max() > 0.05


def test_measured_course_of_both_rules() -> None:
    """The published study: 36,000 prompts, uniform over six levels, batches of 72."""
    table = pool([6000] * 6)
    quarters = [0, 125, 250, 375, 499]
    exact = means(plan(table, 72, "transport", 0.15))[quarters]
    assert exact == pytest.approx([0.56, 0.47, 0.31, 0.16, 0.06], abs=0.02)
    literal = means(plan(table, 72, "paper", 0.15))[quarters]
    assert literal == pytest.approx([0.54, 0.45, 0.31, 0.12, 0.63], abs=0.02)


@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(lambda c: sum(c) > 0),
    batch=st.integers(1, 30),
    sigma=st.sampled_from([0.01, 0.15, 2.0]),
    method=st.sampled_from(["transport", "paper"]),
)
@settings(max_examples=60, deadline=None)
def test_any_pool_is_allotted_exactly(
    counts: list[int], batch: int, sigma: float, method: str
) -> None:
    table = pool(counts)
    made = plan(table, batch, method, sigma, seed=3)
    assert sorted(made["problem_id"].to_pylist()) == sorted(table["problem_id"].to_pylist())
    sizes = np.bincount(made["step"].to_numpy())
    assert (sizes[:-1] == batch).all() and 0 < sizes[-1] <= batch
    rate_of = dict(
        zip(table["problem_id"].to_pylist(), table["pass_rate"].to_pylist(), strict=True)
    )
    assert [rate_of[key] for key in made["problem_id"].to_pylist()] == made["pass_rate"].to_pylist()


def test_plan_is_seeded() -> None:
    table = pool([20] * 6)
    assert plan(table, 8, seed=1).equals(plan(table, 8, seed=1))
    assert not plan(table, 8, seed=1).equals(plan(table, 8, seed=2))


def test_refusals_say_what_is_wrong() -> None:
    table = pool([4])
    with pytest.raises(ValueError, match="batch_size is 0"):
        plan(table, 0)
    with pytest.raises(ValueError, match="sigma"):
        plan(table, 2, sigma=0)
    with pytest.raises(ValueError, match="unknown curriculum method"):
        plan(table, 2, "random")
    with pytest.raises(ValueError, match="lacks column"):
        plan(table.drop_columns(["pass_rate"]), 2)
    with pytest.raises(ValueError, match="outside"):
        plan(pa.table({"problem_id": ["a"], "pass_rate": [1.5]}), 1)


@pytest.mark.parametrize("slots", [5, 24, 60])
def test_slots_are_filled_evenly_over_difficulty(slots: int) -> None:
    table = pool([4] * 6)
    drawn = draw_slots(table, slots, seed=0)
    assert drawn.num_rows == slots
    uses = drawn.group_by("problem_id").aggregate([("pass_rate", "count")])["pass_rate_count"]
    assert max(uses.to_pylist()) <= -(-slots // 24)
