"""Drafts get feedback, edits and a choice, each as rows; the gain is by truth, or there is none."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from assets.catalog import all_specs
from assets.evaluation.page.sections import edited
from assets.sft_data.feedback_edit import checks
from assets.sft_data.feedback_edit.gain import Case, gains
from resources.costs.budget import predict
from resources.recipe.errors import RecipeError
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.store.building import Code, materialise
from tests.assets.sft_data.own_recipe import MODEL
from tests.resources.answering import Answering
from tests.resources.engines.server.hostile import Body, Hostile, plain, said, send, serving
from tests.resources.training import tiny_family as tiny
from warehouse import catalog
from warehouse.store import Artifact, Store

# The draft, its edit, and what the selector says where the draft stands first, and last. The truth
# is 3. What is no number is the whole reply.
PROBLEMS: dict[str, tuple[str, str, str, str]] = {
    "worse": ("3", "4", "Choice: 1", "Choice: 2"),
    "better": ("4", "3", "It adds up.\nChoice: 2", "Choice: 1"),
    "torn": ("4", "3", "Choice: 1", "Choice: 1"),
    "mute": ("3", "4", "The second one, I think.", "Choice: 1"),
    "same": ("3", "3", "", ""),
    "marks": ("4", "MARK \\boxed{3}", "", ""),
}
MODELS = ("drafter", "critic", "editor", "selector")
RECIPE = (
    MODEL
    + """\
generation: {temperature: 0.0, top_p: 1.0, max_new_tokens: 77}
sources:
  mine:
    kind: problems
    path: ./mine.jsonl
    fields: {question: q, expected_answer: a}
    verifier: math
    license: mit
    answers: {by: teacher, thinking_off: 1, feedback_edit: measured}
roles:
  teacher: {model: drafter, engine: {openai: URL, version: "1"}}
  feedback: {model: critic, engine: {openai: URL, version: "1"}}
  edit: {model: editor, engine: {openai: URL, version: "1"}}
  select: {model: selector, engine: {openai: URL, version: "1"}}
"""
)
ENDS = ("_generations", "_verdicts", "_feedback", "_edits", "_edit_verdicts", "_choices", "")
KEYS = [f"sft_data/mine{end}" for end in ENDS]
GAIN = "sft_data/feedback_edit_gain"
USED = {"sources.mine.answers.feedback_edit": "used"}
RULES = {
    f"roles.{role}": {"model": None, "engine": "scripted"}
    for role in ("feedback", "edit", "select")
}


def question(name: str) -> str:
    """A question that is for training (one in five is held out, by its text)."""
    from resources.tasks.held_out import is_held_out_row

    texts = (f"What is {name} of it, in case {n}?" for n in range(99))
    return next(t for t in texts if not is_held_out_row({"domain": "math", "question": t}))


def recipe(folder: Path, url: str = "http://127.0.0.1:9", **changed: Any) -> Recipe:
    rows = [{"q": question(name), "a": "3"} for name in PROBLEMS]
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "mine.yaml").write_text(RECIPE.replace("URL", f"'{url}'"))
    overrides = [f"{key}={json.dumps(value)}" for key, value in changed.items()]
    return load(folder / "mine.yaml", overrides=overrides, check_paths=False)


def answer(number: str) -> str:
    return number if number.startswith("MARK") else f"It is \\boxed{{{number}}}."


def reply(server: Hostile, handler: Answering, body: Body, n: int) -> bool:
    text = body["messages"][-1]["content"]
    found = re.search(r"What is (\w+) of it", text)
    assert found is not None
    draft, edit, first, turned = PROBLEMS[found[1]]
    mark = re.search(r"^\[[0-9a-f]{8}\]$", text, re.MULTILINE)
    if body["model"] == "drafter":
        assert mark is None
        told = answer(draft)
    else:
        assert mark is not None and f"\n{mark[0]}\n{answer(draft)}\n{mark[0]}\n" in text
        told = answer(edit).replace("MARK", mark[0])
    if body["model"] == "critic":
        told = f"<think>hm</think>Look at {found[1]} again."
    if body["model"] == "editor":
        assert f"\n{mark[0]}\nLook at {found[1]} again.\n{mark[0]}\n" in text  # type: ignore[index]
    if body["model"] == "selector":
        told = first if text.index(answer(draft)) < text.index(answer(edit)) else turned
    send(handler, 200, said(told))
    return True


def built(store: Store, made: Recipe, requests: Path | None = None) -> dict[str, Artifact]:
    specs = {spec.key: spec for spec in all_specs(made)}
    wanted = ("problems/questions_mine", "problems/held_out", "problems/math", *KEYS, GAIN)
    execution = tiny.EXECUTION.but(requests=requests, roles=made.family.roles)
    return {key: materialise(store, specs[key], Code("1"), execution) for key in wanted}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def test_drafts_are_edited_by_feedback_and_one_answer_is_chosen(
    store: Store, tmp_path: Path
) -> None:
    with serving(plain(behave=reply)) as server:
        server.models = [{"id": name} for name in MODELS]
        found = built(store, recipe(tmp_path, server.url), tmp_path / "r")
        asked = Counter(body["model"] for body in server.bodies)
        assert asked == {"drafter": 6, "critic": 6, "editor": 6, "selector": 8}
        by_sql(store)
        accounted(found)
        samples = {row["output"] for row in found[KEYS[-1]].table("sft_samples").to_pylist()}
        assert samples == {answer("3")}
        count = found[KEYS[-1]].table("sft_samples").num_rows
        assert count == 3, "measured: the drafts that are right"

        other = recipe(tmp_path, server.url, **USED)
        used = built(store, other, tmp_path / "r")
        assert len(server.bodies) == asked.total(), "training on edits asks nobody again"
    rows = used[KEYS[-1]].table("sft_samples").to_pylist()
    assert Counter(row["generator"] for row in rows) == {"drafter": 3, "editor": 1}
    (one,) = (row for row in rows if row["generator"] == "editor")
    there = [parent["asset_key"] for parent in one["parents"]]
    assert there == [KEYS[0], "problems/math", KEYS[3]]
    dropped = used[KEYS[-1]].table("dropped").to_pylist()
    assert Counter(row["reason"] for row in dropped) == {"incorrect": 2}


def accounted(found: dict[str, Artifact]) -> None:
    """What the checks say, and the gain, counted by hand: of six drafts three are right, of their
    edits and of the chosen answers four."""
    inputs = {"feedback": found[KEYS[2]], "edits": found[KEYS[3]]}
    assert checks.every_draft_given_feedback(found[KEYS[2]], {}).passed
    assert checks.every_feedback_edited(found[KEYS[3]], inputs).passed
    useless = checks.few_useless_edits(found[KEYS[3]], inputs)
    assert not useless.passed and not useless.blocking
    assert useless.metadata == {"repeats the marks around what it was shown": 1}
    assert checks.every_draft_has_a_choice(found[KEYS[5]], inputs).passed
    assert checks.choice_decides(found[KEYS[5]], inputs).passed  # two of the four that were asked
    table = found[GAIN].table("feedback_edit_gain")
    rows = {row["answers"]: row for row in table.to_pylist()}
    assert {name: row["accuracy"] for name, row in rows.items()} == pytest.approx(
        {"drafts": 3 / 6, "edits": 4 / 6, "chosen": 4 / 6}
    )
    assert rows["drafts"]["gain"] is None
    for name in ("edits", "chosen"):
        row = rows[name]
        assert row["gain"] == pytest.approx(1 / 6) and row["refused"] is None
        assert row["gain_low"] <= row["gain"] <= row["gain_high"]
        assert (row["drafts"], row["problems"], row["left_out"]) == (6, 6, 0)
    # Of the chosen none is worse than its draft, of the edits two are.
    assert rows["chosen"]["gain_low"] == 0 > rows["edits"]["gain_low"]
    assert "66.7%" in edited(list(rows.values())) and "16.7%" in edited(list(rows.values()))


def by_sql(store: Store) -> None:
    """Every intermediate is a row, joined by ids."""
    query = (
        "SELECT regexp_extract(p.question, 'is (\\w+) of', 1), f.feedback, e.response, e.fault, "
        "c.outcome, c.candidates, c.evidence FROM choices c "
        "JOIN problems p ON p.row_id = c.problem_id "
        "JOIN feedback f USING (generation_id) JOIN edits e ON e.feedback_id = f.row_id ORDER BY 1"
    )
    rows = catalog.query(catalog.connect(store), query).fetchall()
    told = {name: row for name, *row in rows}
    assert {name: (row[3], row[4]) for name, row in told.items()} == {
        "better": ("edit", 2),
        "marks": ("no edit", 1),
        "mute": ("undecided", 2),
        "same": ("no edit", 1),
        "torn": ("undecided", 2),
        "worse": ("draft", 2),
    }
    assert told["torn"][5].startswith("contradicts itself: answer 1 in one order, answer 2")
    assert told["mute"][5].startswith("first order: no last line with a choice")
    assert told["better"][0] == "Look at better again." and told["better"][5] == "It adds up."
    assert told["marks"][2] == "repeats the marks around what it was shown"


def test_rules_in_the_place_of_models_gain_no_number(store: Store, tmp_path: Path) -> None:
    with serving(plain(behave=reply)) as server:
        server.models = [{"id": "drafter"}]
        found = built(store, recipe(tmp_path, server.url, **RULES))
        assert len(server.bodies) == 6
    choices = found[KEYS[5]].table("choices").to_pylist()
    assert {row["outcome"] for row in choices} == {"edit"}
    assert {row["model_version"] for row in choices} == {"scripted rules-1"}
    table = found[GAIN].table("feedback_edit_gain")
    why = "plumbing only: rules answer as feedback, edit, select"
    for row in table.to_pylist():
        assert row["refused"] == why and row["accuracy"] is None and row["gain"] is None
    shown = edited(table.to_pylist())
    assert why in shown and "%" not in shown.replace("95 %", "")


def test_only_what_is_known_by_truth_counts() -> None:
    p, q, r = b"p", b"q", b"r"
    found = [
        Case(p, True, (True, False), True),
        Case(p, False, (True, True), True),
        Case(q, True, (False, False), False),
        Case(q, None, (True,), True),  # the draft's truth is not known
        Case(r, False, (None, True), True),
        Case(r, False, (), False),  # no edit
    ]
    drafts, edits, chosen = gains(found, [], seed=1)
    assert [row["accuracy"] for row in (drafts, edits, chosen)] == pytest.approx(
        [2 / 3, 1 / 2, 2 / 3]
    )
    assert (edits["gain"], chosen["gain"]) == pytest.approx((-1 / 6, 0))
    # Two problems: whatever is drawn, the gain lies between theirs, (2 - 1) / 2 and (0 - 1) / 1.
    assert (chosen["gain_low"], chosen["gain_high"]) == (-1, 0.5)
    assert (drafts["problems"], drafts["drafts"], drafts["left_out"]) == (2, 3, 3)
    none = gains(found[3:], [], seed=1)
    assert {row["refused"] for row in none} == {
        "plumbing only: of no draft and its edits the truth is known"
    }
    assert {row["gain"] for row in none} == {None}


def test_the_recipe_says_who_and_how(tmp_path: Path) -> None:
    more = {
        "feedback_edit": {
            "feedbacks": 2,
            "feedback": {"temperature": 0.7, "max_new_tokens": 9},
            "edit": {"prompt": "{{ question }} {{ answer }} {{ feedback }}: better!"},
        }
    }
    made = recipe(tmp_path, **more)
    specs = {spec.key: spec for spec in all_specs(made)}
    feedback, edit = specs[KEYS[2]], specs[KEYS[3]]
    assert feedback.recipe["sampling"] == {"temperature": 0.7, "max_new_tokens": 9}
    assert feedback.recipe["feedback"] == {"model": "critic", "version": "1"}
    assert (feedback.recipe["drafts"], feedback.recipe["feedbacks"]) == (1, 2)
    assert "better!" in edit.recipe["prompt"] and "drafts" not in edit.recipe
    assert "choices" not in specs[KEYS[-1]].inputs
    used = {spec.key: spec for spec in all_specs(recipe(tmp_path, **USED))}
    assert set(used[KEYS[-1]].inputs) >= {"edits", "edit_verdicts", "choices"}
    planned = predict(made)
    tokens = {table: planned[f"sft_data/mine_{table}"].tokens for table in ("feedback", "choices")}
    assert tokens["feedback"] == tokens["choices"] > 0  # two feedbacks a draft, two orders a choice


def test_a_domain_of_smoke_is_edited_by_rules(tmp_path: Path) -> None:
    rules = ", ".join(f"{role}: {{engine: scripted}}" for role in ("feedback", "edit", "select"))
    text = f"extends: heirloom/smoke\nroles: {{{rules}}}\n"
    (tmp_path / "mine.yaml").write_text(text + "sft_data: {math: {feedback_edit: used}}\n")
    specs = {spec.key: spec for spec in all_specs(load(tmp_path / "mine.yaml"))}
    assert GAIN in specs["evaluation/report"].inputs.values()
    assert specs[GAIN].recipe["scripted"] == ["feedback", "edit", "select"]
    assert "choices" in specs["sft_data/math"].inputs
    plain = {spec.key: spec for spec in all_specs(load("smoke"))}
    assert set(specs) - set(plain) == {
        GAIN,
        *(f"sft_data/math_{each}" for each in ("feedback", "edits", "edit_verdicts", "choices")),
    }
    changed = {key for key, spec in plain.items() if specs[key].recipe != spec.recipe}
    assert changed == {"evaluation/report"}, "which names the recipe"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"roles.edit": None}, "edit is missing: sources.mine.answers asks it"),
        ({"roles.edit.engine": "embedded"}, "only a model that a server has"),
        ({"roles.teacher.engine": "scripted"}, "no rules answer as this role, only as feedback"),
        ({"roles.edit.engine": "scripted"}, "leave it out: rules answer, no model"),
        ({"sources.mine.answers.thinking_off": 0, "sources.mine.answers.thinking_on": 1},
         "drafts are answers with thinking off, and none are sampled"),
        ({"feedback_edit.feedbacks": 2}, "so that all 2 feedbacks on a draft are one"),
        ({"feedback_edit.select.prompt": "{{ question }} {{ answers }}"}, "last line 'Choice: N'"),
        ({"feedback_edit.edit.prompt": "{{ question }} {{ answer }}"}, "must show {{ question }}"),
        ({"feedback_edit.edit.prompt": "edit-9"}, "no bundled prompt 'edit-9': write edit"),
        ({"sources.mine.answers.feedback_edit": "yes"}, "'measured' or 'used'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(tmp_path: Path, changed: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as error:
        recipe(tmp_path, **changed)
    assert words in str(error.value)
