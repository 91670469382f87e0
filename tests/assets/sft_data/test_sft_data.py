"""Answers, verdicts and samples as artifacts: paid once, judged, dropped with reasons, no leaks."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.sft_data import assets, checks
from assets.sft_data.generate import draw, generate
from assets.sft_data.select import select
from assets.sft_data.verify import verify
from resources.recipe.loading import load as load_recipe
from resources.recipe.sections.roles import Openai, Role
from resources.tasks import generate as tasks
from resources.verifiers.programs import sandbox
from tests.resources.answering import Answering
from tests.resources.engines.server.hostile import Hostile, always, plain, said, send, serving
from tests.resources.training import tiny_family as tiny
from warehouse.rows import parents_of, with_ids
from warehouse.store import Artifact, Output, Store

DOMAINS = ("math", "science", "tools", "instructions")
GENERATION = {"temperature": 0.6, "top_p": 0.95, "max_new_tokens": 4}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def problems(store: Store, key: str, found: list[tasks.Problem], split: str) -> Artifact:
    rows = with_ids(tasks.table(found, split=split), key, ["domain", "question"])
    return tiny.publish(store, key, Output(tables={"problems": rows}))


def drawn(domain: str, count: int, *, held_out: bool = False) -> list[tasks.Problem]:
    depths = {1: 1.0} if domain == "instructions" else {1: 1.0, 2: 1.0, 3: 1.0}
    made = tasks.stream(domain, depths=depths, seed=1, held_out=held_out)
    return tasks.distinct(made, count, seen=set())


def answers(store: Store, key: str, source: Artifact, made: list[dict[str, Any]]) -> Artifact:
    """Generations as given: problem_id, reasoning, sample_index, response, finish_reason."""
    count = len(made)
    table = pa.table(
        {
            **{name: [row[name] for row in made] for name in ("reasoning", "sample_index")},
            "problem_id": pa.array([row["problem_id"] for row in made], pa.binary(16)),
            "response": [row["response"] for row in made],
            "finish_reason": [row.get("finish_reason", "stop") for row in made],
            "role": ["assistant"] * count,
            "model": ["parents/teacher"] * count,
            "model_version": ["v"] * count,
            "temperature": [0.6] * count,
            "top_p": [0.95] * count,
            "prompt_tokens": [5] * count,
            "completion_tokens": [9] * count,
            "domain": ["math"] * count,
        }
    )
    parents = parents_of([[row["problem_id"]] for row in made], [[source.key]] * count)
    rows = with_ids(table, key, ["reasoning", "response"], parents, "sample_index")
    return tiny.publish(store, key, Output(tables={"generations": rows}))


def test_answers_are_paid_for_once_and_in_both_modes(store: Store, tmp_path: Path) -> None:
    source = problems(store, "problems/math", drawn("math", 6), "train")
    teacher = tiny.checkpoint_in(tmp_path / "teacher", seed=1)
    instruct = tiny.checkpoint_in(tmp_path / "instruct", seed=2)
    inputs = {
        "problems": source,
        "teacher": tiny.publish(store, "parents/teacher", Output(files={"": teacher})),
        "instruct": tiny.publish(store, "super/parent", Output(files={"": instruct})),
    }
    recipe = {"domain": "math", "prompts": 4, "samples_on": 2, "samples_off": 1}
    recipe = recipe | {"generation": GENERATION}
    execution = tiny.EXECUTION.but(requests=tmp_path / "requests")
    made = tiny.build(store, "sft_data/math_generations", generate, inputs, recipe, execution)
    rows = made.table("generations").to_pylist()
    asked = Counter((row["model"], row["reasoning"]) for row in rows)
    assert asked == {("parents/teacher", "on"): 8, ("super/parent", "off"): 4}
    assert len({row["row_id"] for row in rows}) == 12
    assert {row["parents"][0]["row_id"] for row in rows} == {row["problem_id"] for row in rows}
    assert checks.every_prompt_answered(made, inputs).passed
    assert taken(made) == {"teacher": (8, 8, 0), "off": (4, 4, 0)}

    more = recipe | {"samples_off": 2}
    grown = tiny.build(store, "sft_data/math_generations", generate, inputs, more, execution)
    assert taken(grown) == {"teacher": (8, 0, 8), "off": (8, 4, 4)}
    tokens = {row["role"]: row["completion_tokens"] for row in grown.observations["requests"]}
    assert sum(tokens.values()) == sum(
        row["completion_tokens"] for row in grown.table("generations").to_pylist()
    )


def test_a_served_model_answers_where_the_recipe_says_so(store: Store, tmp_path: Path) -> None:
    source = problems(store, "problems/math", drawn("math", 6), "train")
    teacher = {"model": "m", "thinking": {"on": {"think": True}, "off": {}}}
    recipe = {"domain": "math", "prompts": 4, "samples_on": 2, "samples_off": 1, "teacher": teacher}
    recipe = recipe | {"generation": GENERATION}
    key = "sft_data/math_generations"
    answer = said("4", message={"reasoning_content": "2+2"})
    with serving(always(lambda handler: send(handler, 200, answer))) as server:
        role = Role(model="m", engine=Openai(openai=server.url))
        execution = tiny.EXECUTION.but(requests=tmp_path / "requests", roles={"teacher": role})
        inputs = {"problems": source}
        made = tiny.build(store, key, generate, inputs, recipe, execution)
    rows = made.table("generations").to_pylist()
    assert {(row["model"], row["model_version"]) for row in rows} == {("m", "unversioned")}
    assert {row["response"] for row in rows} == {"<think>\n2+2\n</think>\n\n4"}
    assert Counter("chat_template_kwargs" in body for body in server.bodies) == {True: 8, False: 4}
    first, second = made.observations["requests"]
    assert (first["role"], first["requests"], second["requests"]) == ("teacher", 8, 4)
    assert first["engine"]["content_addressed"] is False
    assert first["engine"]["servers"][f"{server.url}/v1"]["model"] == "m"
    execution = tiny.EXECUTION.but(requests=tmp_path / "requests", engine="replay")
    again = tiny.build(store, key, generate, inputs, {**recipe, "prompts": 3}, execution)
    assert len(again.table("generations")) == 9, "the record answers where nobody is there"


def test_an_asset_is_not_made_of_requests_that_nobody_answered(
    store: Store, tmp_path: Path
) -> None:
    source = problems(store, "problems/math", drawn("math", 6), "train")
    recipe = {"domain": "math", "prompts": 4, "samples_on": 2, "samples_off": 0}
    recipe |= {"generation": GENERATION, "teacher": {"model": "m"}}

    def refuses(_: Hostile, handler: Answering, __: Any, n: int) -> bool:
        if n == 3:
            send(handler, 400, {"error": "too long"})
        return n == 3

    with serving(plain(behave=refuses)) as server:
        role = Role(model="m", engine=Openai(openai=server.url))
        execution = tiny.EXECUTION.but(requests=tmp_path / "requests", roles={"teacher": role})
        with pytest.raises(ValueError, match=r"1 of 8 requests .*the last: HTTP 400: too long"):
            tiny.build(store, "sft_data/g", generate, {"problems": source}, recipe, execution)
        tiny.build(store, "sft_data/g", generate, {"problems": source}, recipe, execution)
    assert len(server.asked) == 9, "what was answered is kept"


def taken(made: Artifact) -> dict[str, tuple[int, int, int]]:
    rows = made.observations["requests"]
    return {row["role"]: (row["requests"], row["asked"], row["cached"]) for row in rows}


def test_another_problem_leaves_the_draw_as_it_was(store: Store) -> None:
    found = drawn("math", 40)
    before = problems(store, "problems/math", found[:39], "train")
    after = problems(store, "problems/math", found, "train")
    chosen = [
        {*draw(p, {"prompts": 10, "seed": 5})["question"].to_pylist()} for p in (before, after)
    ]
    assert len(chosen[0] & chosen[1]) >= 9


def test_every_domain_is_judged_by_its_verifier(store: Store) -> None:
    try:
        sandbox.shared()
        domains = (*DOMAINS, "code")
    except sandbox.SandboxUnavailable:
        domains = DOMAINS
    for domain in domains:
        found = drawn(domain, 4)
        source = problems(store, f"problems/{domain}", found, "train")
        answer_of = {p.question: p for p in found}
        made = []
        for row in source.table("problems").to_pylist():
            worked = answer_of[row["question"]]
            right = f"<think>\n{worked.thinking}\n</think>\n\n{worked.answer}"
            for index, text in enumerate((right, "<think>\nno\n</think>\n\n")):
                ask = {"problem_id": row["row_id"], "reasoning": "on", "sample_index": index}
                made.append(ask | {"response": text})
        given = answers(store, f"sft_data/{domain}_generations", source, made)
        inputs = {"generations": given, "problems": source}
        judged = tiny.build(
            store, f"sft_data/{domain}_verdicts", verify, inputs, {"domain": domain}
        )
        rows = judged.table("verdicts").to_pylist()
        assert Counter(row["verdict"] for row in rows) == {"correct": 4, "incorrect": 4}, rows
        assert checks.every_generation_judged(judged, inputs).passed
        assert checks.few_unknown(judged, inputs).passed


THOUGHT = "we take what is given and go on step by step until all of it is used and what is so"


def on(text: str, thinking: str = THOUGHT) -> str:
    return f"<think>\n{thinking}\n</think>\n\n{text}"


@pytest.fixture
def selected(store: Store) -> tuple[Artifact, dict[str, Artifact], dict[str, bytes]]:
    """Three training problems and one that is held out too, with one response of each kind."""
    held = drawn("math", 5, held_out=True)
    found = drawn("math", 3)
    source = problems(store, "problems/math", [*found, held[0]], "train")
    held_out = problems(store, "problems/held_out", held, "held_out")
    rows = {row["question"]: row for row in source.table("problems").to_pylist()}
    asked_about = dict(zip("abch", [*found, held[0]], strict=True))
    ids = {name: rows[p.question]["row_id"] for name, p in asked_about.items()}
    right = {name: f"\\boxed{{{p.expected_answer}}}" for name, p in asked_about.items()}
    made = [
        ("a", "on", 0, on(right["a"]), "stop"),
        ("a", "on", 1, on(right["a"]), "stop"),  # a duplicate
        ("a", "on", 2, on(right["a"], THOUGHT.replace("so", "it")), "stop"),
        ("a", "on", 3, on("\\boxed{77}"), "stop"),  # wrong
        ("a", "on", 4, on(right["a"]), "length"),
        ("a", "on", 5, right["a"], "stop"),  # does not think
        ("a", "off", 0, right["a"], "stop"),
        ("a", "off", 1, on(right["a"]), "stop"),  # thinks
        ("b", "off", 0, right["b"], "stop"),  # no reasoning-on sample
        ("h", "on", 0, on(right["h"]), "stop"),  # held out
    ]
    asked = [
        {
            "problem_id": ids[name],
            "reasoning": mode,
            "sample_index": index,
            "response": text,
            "finish_reason": reason,
        }
        for name, mode, index, text, reason in made
    ]
    given = answers(store, "sft_data/math_generations", source, asked)
    inputs = {"generations": given, "problems": source}
    judged = tiny.build(store, "sft_data/math_verdicts", verify, inputs, {"domain": "math"})
    inputs |= {"verdicts": judged, "held_out": held_out}
    recipe = {"domain": "math", "samples_on": 6, "samples_off": 2}
    return tiny.build(store, "sft_data/math", select, inputs, recipe), inputs, ids


def test_only_right_new_obedient_paired_samples_are_kept(
    selected: tuple[Artifact, dict[str, Artifact], dict[str, bytes]],
) -> None:
    made, inputs, ids = selected
    samples = made.table("sft_samples").to_pylist()
    assert Counter(row["reasoning"] for row in samples) == {"on": 2, "off": 1}
    assert {row["system_prompt"] for row in samples} == {
        "detailed thinking on",
        "detailed thinking off",
    }
    for row in samples:
        assert row["problem_id"] == ids["a"]
        assert [turn["role"] for turn in row["input"]] == ["user"]
        assert [p["asset_key"] for p in row["parents"]] == [
            "sft_data/math_generations",
            "problems/math",
        ]
    dropped = made.table("dropped").to_pylist()
    assert Counter(row["reason"] for row in dropped) == {
        "contaminated": 1,
        "truncated": 1,
        "incorrect": 1,
        "disobeys_toggle": 2,
        "duplicate": 1,
        "unpaired": 1,
    }
    assert all(row["evidence"] for row in dropped)
    by_reason = {row["reason"]: row for row in dropped}
    held_ids = inputs["held_out"].table("problems", ["row_id"])["row_id"].to_pylist()
    assert by_reason["contaminated"]["matched_row_id"] in held_ids
    generations = inputs["generations"].table("generations").to_pylist()
    first = next(r for r in generations if r["sample_index"] == 0 and r["problem_id"] == ids["a"]
                 and r["reasoning"] == "on")  # fmt: skip
    assert by_reason["duplicate"]["matched_row_id"] == first["row_id"]
    assert made.metrics["samples"] == 3 and made.metrics["dropped_disobeys_toggle"] == 2


def test_answers_are_filtered_where_the_recipe_says_so(
    store: Store, selected: tuple[Artifact, dict[str, Artifact], dict[str, bytes]]
) -> None:
    _, inputs, _ = selected
    recipe = {"domain": "math", "samples_on": 6, "samples_off": 2, "filters": {"too_long": 9}}
    made = tiny.build(store, "sft_data/math", select, inputs, recipe)
    assert checks.nothing_lost(made, inputs).passed
    lost = [row for row in made.table("dropped").to_pylist() if row["reason"] == "too_long"]
    assert len(lost) == 3 and all("words, at most 9" in row["evidence"] for row in lost)


def test_near_duplicates_are_dropped_where_the_recipe_says_so(
    store: Store, selected: tuple[Artifact, dict[str, Artifact], dict[str, bytes]]
) -> None:
    """Answers to one question that differ in a word of thinking; never on against off."""
    before, inputs, _ = selected
    assert "duplicates" not in before.manifest["tables"]
    recipe = {"domain": "math", "samples_on": 6, "samples_off": 2, "deduplicate": {"near": 0.7}}
    made = tiny.build(store, "sft_data/math", select, inputs, recipe)
    assert checks.nothing_lost(made, inputs).passed
    samples = made.table("sft_samples").to_pylist()
    assert Counter(row["reasoning"] for row in samples) == {"on": 1, "off": 1}
    kept, lost = made.table("duplicates").to_pylist()
    assert (kept["kept"], lost["kept"], lost["method"]) == (True, False, "minhash")
    assert kept["member"] == kept["cluster"] == lost["cluster"]
    (row,) = (r for r in made.table("dropped").to_pylist() if r["row_id"] == lost["member"])
    assert row["matched_row_id"] == kept["member"] and row["reason"] == "duplicate"
    assert f"shares {lost['similarity']:.3f} of its shingles with" in row["evidence"]


def test_the_checks_pass_on_good_data_and_see_bad_data(
    store: Store, selected: tuple[Artifact, dict[str, Artifact], dict[str, bytes]]
) -> None:
    made, inputs, _ = selected
    for check in (checks.toggle_obeyed, checks.no_held_out_overlap, checks.no_empty_domain,
                  checks.nothing_lost):  # fmt: skip
        result = check(made, inputs)
        assert result.passed, result.description
    table = made.table("sft_samples")
    question = inputs["held_out"].table("problems", ["question"])["question"][0].as_py()
    spoiled = pa.table(
        {
            **{name: table[name] for name in table.column_names},
            "output": ["<think>\na\n</think>\n\nb"] * table.num_rows,
            "input": pa.array(
                [[{"role": "user", "content": question.upper()}]] * table.num_rows,
                table.schema.field("input").type,
            ),
        }
    )
    tables = {"sft_samples": spoiled, "dropped": made.table("dropped").slice(1)}
    bad = tiny.build(
        store,
        "sft_data/bad",
        lambda *_: Output(tables=tables),
        {},
        {"samples_on": 1, "samples_off": 1},
    )
    for check in (checks.toggle_obeyed, checks.no_held_out_overlap, checks.nothing_lost):
        assert not check(bad, inputs).passed, check.__name__


def test_a_held_out_composition_is_not_trained_on(store: Store) -> None:
    """Above depth 1 the composition is held out, whatever the numbers are."""
    stream = tasks.stream("math", depths={3: 1.0}, seed=2, held_out=True)
    by_composition: dict[str, list[tasks.Problem]] = {}
    for problem in islice(stream, 400):
        by_composition.setdefault(problem.composition, []).append(problem)
    twin = next(pair for pair in by_composition.values() if len({p.question for p in pair}) > 1)
    train, held = twin[0], next(p for p in twin if p.question != twin[0].question)
    source = problems(store, "problems/math", [train], "train")
    row = source.table("problems").to_pylist()[0]
    given = answers(
        store,
        "sft_data/math_generations",
        source,
        [
            {
                "problem_id": row["row_id"],
                "reasoning": "on",
                "sample_index": 0,
                "response": on(f"\\boxed{{{train.expected_answer}}}"),
            }
        ],
    )
    inputs = {"generations": given, "problems": source}
    inputs["verdicts"] = tiny.build(
        store, "sft_data/math_verdicts", verify, inputs, {"domain": "math"}
    )
    inputs["held_out"] = problems(store, "problems/held_out", [held], "held_out")
    made = tiny.build(store, "sft_data/math", select, inputs, {"domain": "math", "samples_on": 1,
                                                               "samples_off": 0})  # fmt: skip
    assert made.table("sft_samples").num_rows == 0
    assert "composition" in made.table("dropped").to_pylist()[0]["evidence"]
    assert not checks.no_empty_domain(made, inputs).passed


def test_specs_make_three_assets_a_domain() -> None:
    recipe = load_recipe("tiny", check_paths=False)
    specs = {spec.key: spec for spec in assets.specs(recipe)}
    assert len(specs) == 3 * len(recipe.family.sft_data)
    for domain in recipe.family.sft_data:
        assert specs[f"sft_data/{domain}"].inputs["verdicts"] == f"sft_data/{domain}_verdicts"
        json.dumps(dict(specs[f"sft_data/{domain}_generations"].recipe))
