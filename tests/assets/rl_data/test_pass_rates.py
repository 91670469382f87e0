"""Pass rates count unknown apart, prompts are dropped with a reason, plans use what was kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from assets.rl_data import checks
from assets.rl_data.curriculum import build_curriculum
from assets.rl_data.instruction_prompts import build_instruction_prompts
from assets.rl_data.pass_rates import Tally, build_pass_rates, count
from assets.rl_data.prompts import build_prompts
from resources.engines.protocol import Completion
from resources.verifiers.attempts import Attempt, Prompt
from resources.verifiers.verdict import Value, Verdict
from tests.assets.rl import support
from warehouse.store import Output, Store


def attempts(name: str, verdicts: Sequence[Value], reason: str = "stop") -> list[Attempt]:
    problem = {"row_id": name.encode().ljust(16, b"."), "domain": "math"}
    completion = Completion("text", [1], reason, 1, 1, None, 0.0)
    return [
        Attempt(Prompt(problem, "on", index), completion, Verdict(verdict, ""))
        for index, verdict in enumerate(verdicts)
    ]


def tallied(made: Sequence[Attempt]) -> dict[bytes, Tally]:
    tallies: dict[bytes, Tally] = {}
    for one in made:
        problem = one.prompt.problem
        tallies.setdefault(problem["row_id"], Tally(problem["domain"])).add(one)
    return tallies


def test_unknown_is_neither_right_nor_wrong() -> None:
    made = [
        *attempts("half", ["correct", "incorrect", "unknown", "unknown"]),
        *attempts("easy", ["correct", "correct", "correct", "incorrect"]),
        *attempts("dark", ["unknown", "unknown"], "length"),
        *attempts("cut", ["incorrect"] * 8, "length"),
        *attempts("lucky", ["correct", *["unknown"] * 7]),
        *attempts("most", ["correct", "incorrect", "incorrect", "unknown"]),
    ]
    half, easy, dark, cut, lucky, most = count(tallied(made), 0.75).to_pylist()
    assert (half["pass_rate"], half["unknown"], half["kept"]) == (None, 2, False)
    assert (cut["pass_rate"], cut["kept"], cut["reason"]) == (0.0, False, "truncated")
    assert (lucky["pass_rate"], lucky["kept"], lucky["reason"]) == (None, False, "unjudged")
    assert (most["pass_rate"], most["kept"], most["reason"]) == (1 / 3, True, "")
    assert (easy["pass_rate"], easy["kept"]) == (0.75, False)
    assert (dark["pass_rate"], dark["truncated"], dark["kept"]) == (None, 2, False)


def test_pass_rates_are_sampled_once_and_checked(tmp_path: Path, tiny_llama: Path) -> None:
    store = Store(tmp_path)
    inputs = {
        "model": support.checkpoint(store, "super/sft", tiny_llama),
        "problems_math": support.problems(store, "math", 8),
        "problems_science": support.problems(store, "science", 8),
    }
    recipe = {
        **support.SAMPLING,
        "domains": ["math", "science"],
        "prompts": 6,
        "samples": 4,
        "discard_at": 0.75,
    }
    made = support.build(store, "rl_data/pass_rates", build_pass_rates, inputs, recipe)
    for check in (checks.pass_rates_valid, checks.samples_complete):
        assert check(made, inputs).passed, check(made, inputs).description
    assert support.column(made, "pass_rates", "domain").count("math") == 3
    (took,) = made.observations["requests"]
    assert (took["role"], took["asked"], took["cached"]) == ("pass_rates", 24, 0)
    more = support.build(
        store, "rl_data/pass_rates", build_pass_rates, inputs, {**recipe, "samples": 5}
    )
    (took,) = more.observations["requests"]
    assert (took["requests"], took["asked"], took["cached"]) == (30, 6, 24)
    generation = more.table("generations").to_pylist()[0]
    assert generation["parents"][0]["row_id"] == generation["problem_id"]


def test_prompts_keep_the_hard_and_explain_the_rest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    problems = support.problems(store, "math", 6)
    ids = support.column(problems, "problems", "row_id")
    verdicts: list[list[Value]] = [["correct"] * n + ["incorrect"] * (8 - n) for n in range(3, 8)]
    made = [
        attempt
        for key, result in zip(ids, [*verdicts, ["unknown"] * 8], strict=True)
        for attempt in (
            Attempt(
                Prompt({"row_id": key, "domain": "math"}, "on", a.prompt.sample_index),
                a.completion,
                a.verdict,
            )
            for a in attempts("", result)
        )
    ]
    rates = support.publish(
        store, "rl_data/pass_rates", Output(tables={"pass_rates": count(tallied(made), 0.75)})
    )
    inputs = {"pass_rates": rates, "problems_math": problems}
    recipe = {"domains": ["math"], "discard_at": 0.75}
    kept = support.build(store, "rl_data/prompts", build_prompts, inputs, recipe)
    assert sorted(support.column(kept, "prompts", "pass_rate")) == [3 / 8, 4 / 8, 5 / 8]
    reasons = sorted(support.column(kept, "dropped", "reason"))
    assert reasons == ["too easy", "too easy", "unverifiable"]
    assert "6 of 8 judged samples correct; kept below 0.75" in support.column(
        kept, "dropped", "evidence"
    )
    assert checks.kept_below_discard(kept, inputs).passed
    assert checks.prompts_not_empty(kept, inputs).passed

    plan = support.build(
        store,
        "ultra/curriculum",
        build_curriculum,
        {"prompts": kept},
        {"model": "ultra", "steps": 4, "prompts_per_step": 2, "method": "transport", "sigma": 0.15},
    )
    assert checks.curriculum_is_full(plan, {"prompts": kept}).passed
    assert checks.curriculum_gets_harder(plan, {"prompts": kept}).passed
    assert plan.metrics["distinct_prompts"] == 3


def test_instruction_prompts_are_new_and_cover_every_number_of_constraints(tmp_path: Path) -> None:
    store = Store(tmp_path)
    inputs = {
        "problems": support.problems(store, "instructions", 40),
        "held_out": support.problems(store, "instructions", 20, held_out=True),
    }
    made = support.build(
        store,
        "rl_data/instruction_prompts",
        build_instruction_prompts,
        inputs,
        {"prompts": 40, "max_constraints": 3},
    )
    known = set(support.column(inputs["problems"], "problems", "question"))
    assert not known & set(support.column(made, "prompts", "question"))
    assert set(support.column(made, "prompts", "difficulty")) == {1, 2, 3}
    assert support.column(made, "prompts", "problem_id") == sorted(
        support.column(made, "prompts", "problem_id")
    ) or set(support.column(made, "prompts", "problem_id")) == set(
        support.column(made, "problems", "row_id")
    )
    assert checks.no_held_out_overlap(made, inputs).passed


def test_a_missing_domain_is_named(tmp_path: Path) -> None:
    from assets.rl_data.problem_rows import by_domain

    store = Store(tmp_path)
    with pytest.raises(ValueError, match="domain 'code' has no input named problems_code"):
        by_domain({"problems_math": support.problems(store, "math", 2)}, ["code"])


def test_what_has_no_known_answer_is_not_drawn_to_be_judged(tmp_path: Path) -> None:
    from assets.rl_data.problem_rows import by_domain, draw_evenly

    store = Store(tmp_path)
    problems = support.problems(store, "math", 4)
    table = problems.table("problems")
    answers = table["expected_answer"].to_pylist()
    place = table.column_names.index("expected_answer")
    table = table.set_column(place, "expected_answer", [["", *answers[1:]]])
    made = support.publish(store, problems.key, Output(tables={"problems": table}))
    inputs = {"problems_math": made}
    assert len(by_domain(inputs, ["math"])["math"]) == 4
    drawn = draw_evenly(inputs, ["math"], 4, 1)
    assert sorted(row["expected_answer"] for row in drawn) == sorted(answers[1:])
