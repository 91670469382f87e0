"""Problem sets through the one door: loaded, dropped in, kept once, and nothing held out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assets.problems import checks, make
from assets.problems.assets import specs
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.recipe.sections.family import ProblemSource
from resources.store.building import Code, materialise
from resources.tasks.generate import problem_table
from warehouse.store import Artifact, CheckFailed, Store

SOURCE = {
    "format": "jsonl",
    "path": "./real.jsonl",
    "fields": {"question": "q", "expected_answer": "a"},
    "license": "MIT",
}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def drop(home: Path, *questions: str) -> None:
    """Put questions with the answer 7 into the watched folder."""
    rows = [{"question": question, "expected_answer": "7"} for question in questions]
    write(home / "incoming" / "math" / "mine.jsonl", rows)


def recipe(folder: Path, *, train: int = 6, sources: list[dict[str, Any]] | None = None) -> Recipe:
    """The smoke recipe with few math problems and the given sources, lying in `folder`."""
    made = load("smoke", check_paths=False)
    extra = [ProblemSource.model_validate(source) for source in sources or []]
    math = made.family.problems["math"].model_copy(update={"train": train, "extra_sources": extra})
    problems = {**made.family.problems, "math": math}
    family = made.family.model_copy(update={"problems": problems})
    return replace(made, family=family, directory=folder)


def build(home: Path, made_from: Recipe) -> tuple[Artifact, Artifact]:
    """`problems/math` and `problems/held_out`, their checks passed."""
    found = {spec.key: spec for spec in specs(made_from)}
    store = Store(home)
    held_out = materialise(store, found["problems/held_out"], Code("1"))
    return materialise(store, found["problems/math"], Code("1")), held_out


def by_question(artifact: Artifact) -> dict[str, dict[str, Any]]:
    return {row["question"]: row for row in artifact.table("problems").to_pylist()}


def test_held_out_comes_before_the_domains(home: Path, tmp_path: Path) -> None:
    made = specs(recipe(tmp_path))
    assert made[0].key == "problems/held_out"
    for spec in made:
        fn = spec.fn.partition(":")[2]
        assert (fn == "make_problems") == (spec.inputs.get("held_out") == "problems/held_out")


def test_dropped_files_add_problems_and_move_none(home: Path, tmp_path: Path) -> None:
    before = by_question(build(home, recipe(tmp_path))[0])
    again = next(iter(before))
    drop(home, "How many days has a week?", again, "How many days has a week?")
    after = by_question(build(home, recipe(tmp_path))[0])
    assert set(after) - set(before) == {"How many days has a week?"}
    new = after.pop("How many days has a week?")
    assert after == before  # a question that comes again is kept once, the first time
    assert (new["source"], new["split"]) == ("incoming/mine.jsonl", "train")
    assert (new["kind"], new["expected_answer"]) == ("loaded", "7")


def test_a_held_out_question_does_not_enter_training(home: Path, tmp_path: Path) -> None:
    before, held_out = build(home, recipe(tmp_path))
    target = held_out.table("problems").to_pylist()[0]
    disguised = "  " + target["question"].upper().replace(" ", " \n ")
    drop(home, disguised, "How many days has a week?")
    after, _ = build(home, recipe(tmp_path))
    new = set(by_question(after)) - set(by_question(before))
    assert new == {"How many days has a week?"}
    (lost,) = after.table("dropped").to_pylist()
    assert (lost["reason"], lost["matched_row_id"]) == ("held_out", target["row_id"])
    assert lost["question"] == disguised.strip() and lost["source"] == "incoming/mine.jsonl"
    assert "the same question: " in lost["evidence"]
    assert after.metrics["dropped_held_out"] == 1 and before.table("dropped").num_rows == 0


def test_the_check_compares_with_what_is_held_out(home: Path, tmp_path: Path) -> None:
    made, held_out = build(home, recipe(tmp_path))
    assert checks.nothing_held_out(made, {"held_out": held_out}).passed
    against_itself = checks.nothing_held_out(made, {"held_out": made})
    assert not against_itself.passed
    assert against_itself.metadata == {"not_train": 0, "held_out_questions": 6}
    assert not checks.nothing_held_out(held_out, {"held_out": made}).passed


def test_a_declared_source_is_split_between_training_and_measurement(
    home: Path, tmp_path: Path
) -> None:
    rows = [{"q": f"{n} eggs at {n} cents?", "a": f"{n * n}"} for n in range(40)]
    write(tmp_path / "real.jsonl", rows)
    made, held_out = build(home, recipe(tmp_path, train=0, sources=[SOURCE]))
    train = by_question(made)
    measured = {q: r for q, r in by_question(held_out).items() if r["source"] == SOURCE["path"]}
    assert len(measured) > 1 and train.keys() | measured.keys() == {row["q"] for row in rows}
    assert not train.keys() & measured.keys()
    assert {row["license"] for row in train.values()} == {"MIT"}
    assert (train | measured)["3 eggs at 3 cents?"]["expected_answer"] == "9"


def test_dropped_rows_do_not_make_up_for_problems(home: Path, tmp_path: Path) -> None:
    _, held_out = build(home, recipe(tmp_path))
    write(tmp_path / "real.jsonl", [])
    drop(home, next(iter(by_question(held_out))))
    with pytest.raises(CheckFailed, match="not_empty: 0 rows"):
        build(home, recipe(tmp_path, train=0, sources=[SOURCE]))


def test_a_truth_that_cannot_be_read_is_dropped_before_it_is_asked(
    home: Path, tmp_path: Path
) -> None:
    rows = [{"q": f"Question {n} of ours?", "a": "7"} for n in range(40)]
    rows += [{"q": f"How much is {n} after all?", "a": rf"1+\\cdots+{n}"} for n in range(40)]
    write(tmp_path / "real.jsonl", rows)
    problems, held_out = build(home, recipe(tmp_path, sources=[SOURCE]))
    lost = [
        row
        for artifact in (problems, held_out)
        for row in artifact.table("dropped").to_pylist()
        if row["reason"] == "unreadable_truth"
    ]
    assert len(lost) == 40 and all("ellipsis" in row["evidence"] for row in lost)
    kept = [*by_question(problems).values(), *by_question(held_out).values()]
    assert sum(row["source"] == "./real.jsonl" for row in kept) == 40
    assert problems.metrics["dropped_unreadable"] + held_out.table("dropped").num_rows == 40


def test_where_a_source_lies_does_not_matter(home: Path, tmp_path: Path) -> None:
    versions = set()
    for name in ("here", "there"):
        write(tmp_path / name / "real.jsonl", [{"q": f"{n} eggs?", "a": "1"} for n in range(9)])
        made, held_out = build(home / name, recipe(tmp_path / name, sources=[SOURCE]))
        versions.add((made.data_version, held_out.data_version))
    assert len(versions) == 1


def test_a_source_whose_rows_are_all_held_out_leaves_an_empty_table() -> None:
    """That none is left to train on is the check's to say, not Arrow's."""
    made = make._identified([problem_table([])], "problems/math")
    assert made.num_rows == 0 and "row_id" in made.column_names
