"""Problem sets through the one door: loaded, dropped in, kept once, and nothing held out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.problems import checks, make
from assets.problems.assets import specs
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.recipe.sections.cleaning import Cleaning
from resources.recipe.sections.data import Source
from resources.sources import incoming
from resources.store.building import Code, materialise
from resources.tasks.generate import problem_table
from resources.tasks.held_out import is_held_out_row
from warehouse import catalog
from warehouse.errors import RowsRejected
from warehouse.store import Artifact, CheckFailed, Store

SOURCE = {
    "kind": "problems",
    "path": "./real.jsonl",
    "fields": {"question": "q", "expected_answer": "a"},
    "verifier": "math",
    "license": "MIT",
}


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def drop(home: Path, *questions: str) -> None:
    """Put questions with the answer 7 into the watched folder."""
    rows = [{"question": question, "expected_answer": "7"} for question in questions]
    write(home / "incoming" / "math" / "mine.jsonl", rows)


def recipe(
    folder: Path, *, train: int = 6, sources: dict[str, dict[str, Any]] | None = None
) -> Recipe:
    """The smoke recipe with few math problems and the given sources, lying in `folder`."""
    made = load("smoke", check_paths=False)
    declared = {name: Source.model_validate(each) for name, each in (sources or {}).items()}
    math = made.family.problems["math"].model_copy(update={"train": train})
    problems = {**made.family.problems, "math": math}
    family = made.family.model_copy(update={"problems": problems, "sources": declared})
    return replace(made, family=family, directory=folder)


def build(home: Path, made_from: Recipe) -> tuple[Artifact, Artifact]:
    """`problems/math` and `problems/held_out`, their checks passed."""
    found = {spec.key: spec for spec in specs(made_from)}
    store = Store(home)
    for key in (f"problems/questions_{name}" for name in made_from.family.problem_sources("math")):
        materialise(store, found[key], Code("1"))
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
    made, held_out = build(home, recipe(tmp_path, train=0, sources={"real": SOURCE}))
    train = by_question(made)
    measured = {q: r for q, r in by_question(held_out).items() if r["source"] == "real"}
    assert len(measured) > 1 and train.keys() | measured.keys() == {row["q"] for row in rows}
    assert not train.keys() & measured.keys()
    assert {row["license"] for row in train.values()} == {"MIT"}
    assert (train | measured)["3 eggs at 3 cents?"]["expected_answer"] == "9"


def test_dropped_rows_do_not_make_up_for_problems(home: Path, tmp_path: Path) -> None:
    _, held_out = build(home, recipe(tmp_path))
    asked = [
        q for q in by_question(held_out) if not is_held_out_row({"domain": "math", "question": q})
    ]
    write(tmp_path / "real.jsonl", [{"q": question, "a": "7"} for question in asked])
    with pytest.raises(CheckFailed, match="not_empty: 0 rows"):
        build(home, recipe(tmp_path, train=0, sources={"real": SOURCE}))


def test_every_row_of_a_source_is_somewhere_and_says_where_it_came_from(
    home: Path, tmp_path: Path
) -> None:
    """Rows = questions + rejected; questions = problems here and held out + dropped."""
    rows = [{"q": f"How many are {n} and {n} of them?", "a": 2 * n} for n in range(40)]
    rows += [{"q": "How many are 3 and 3 of them?", "a": 6}, {"q": "null?", "a": None}]
    write(tmp_path / "real.jsonl", rows)
    made = recipe(tmp_path, sources={"real": SOURCE | {"max_drop": 0.1}})
    problems, held_out = build(home, made)
    connection = catalog.connect(Store(home))

    def asked(query: str) -> list[tuple[Any, ...]]:
        return catalog.query(connection, query).fetchall()

    assert asked("SELECT source, rows_in, kept, dropped FROM sources") == [("real", 42, 41, 1)]
    assert asked("SELECT file, line, field, value, reason FROM rejected") == [
        ("real.jsonl", 42, "a", "null", "no answer: is null")
    ]
    assert len(asked("SELECT * FROM problems WHERE source = 'real'")) == 40
    (again,) = asked("SELECT reason, evidence, matched_row_id FROM dropped")
    assert again[:2] == ("duplicate", "the same question in real")
    both = [by_question(each).get("How many are 3 and 3 of them?") for each in (problems, held_out)]
    assert [each["row_id"].hex() for each in both if each] == [again[2]]
    came = asked(
        "SELECT q.file, q.line, p.expected_answer FROM problems p JOIN questions q "
        "ON q.row_id = p.parents[1].row_id WHERE p.question LIKE 'How many are 7 and%'"
    )
    assert came == [("real.jsonl", 8, "14")]
    assert all(each["passed"] for made in (problems, held_out) for each in made.manifest["checks"])


def test_a_source_with_too_many_bad_rows_stops_and_can_be_asked_about(
    home: Path, tmp_path: Path
) -> None:
    write(tmp_path / "real.jsonl", [{"q": "1+1?", "a": "2"}, {"q": None, "a": "2"}])
    with pytest.raises(
        RowsRejected, match=r"1 of 2 rows do not fit, max_drop allows 1.00%"
    ) as error:
        build(home, recipe(tmp_path, sources={"real": SOURCE}))
    assert "real.jsonl:2: q: must be text, is null" in str(error.value)
    found = catalog.query(catalog.connect(Store(home)), "SELECT line, field FROM rejected")
    assert found.fetchall() == [(2, "q")]


def test_dropped_files_are_accounted_for_in_every_shape(home: Path, tmp_path: Path) -> None:
    folder = home / "incoming"
    drop(home, "How many days has a week?")
    (folder / "math" / "more.csv").write_text(
        'question,expected_answer\n"Two lines,\nor one?",2\nHow much is a dozen?,12\n'
    )
    (folder / "math" / "README.md").write_text("Our own questions.")
    mixed = [{"question": f"Say {n}.", "domain": "tools", "expected_answer": []} for n in range(3)]
    mixed.append({"question": "Seven?", "domain": "math", "expected_answer": 7})
    pq.write_table(pa.table({"question": ["x"], "domain": ["science"]}), folder / "s.parquet")
    write(folder / "mixed.jsonl", mixed)
    before = recipe(tmp_path)
    (spec,) = (each for each in specs(before) if each.key == "problems/math")
    assert [Path(each).name for each in spec.observe] == ["mine.jsonl", "more.csv", "mixed.jsonl"]
    made, _ = build(home, before)
    loaded = {
        row["question"]: row
        for row in made.table("problems").to_pylist()
        if row["kind"] == "loaded"
    }
    assert set(loaded) == {
        "How many days has a week?",
        "Two lines,\nor one?",
        "How much is a dozen?",
        "Seven?",
    }
    assert loaded["How much is a dozen?"]["source"] == "incoming/more.csv"
    (account,) = made.table("sources").to_pylist()
    assert (account["source"], account["rows_in"], account["kept"]) == ("incoming", 4, 4)
    write(folder / "math" / "bad.jsonl", [{"question": "Eight?", "expected_answer": [8]}])
    with pytest.raises(RowsRejected, match=r"1 of 5 rows .* is a list; give one answer a row"):
        build(home, before)


def test_files_that_no_domain_reads_are_told(tmp_path: Path) -> None:
    write(tmp_path / "maths" / "a.jsonl", [{"question": "1+1?", "expected_answer": "2"}])
    write(tmp_path / "b.jsonl", [{"question": "1+1?", "expected_answer": "2"}])
    write(tmp_path / "c.jsonl", [{"question": "1+1?", "domain": "math"}])
    assert [path.name for path in incoming.unplaced(tmp_path)] == ["b.jsonl", "a.jsonl"]


def test_a_truth_that_cannot_be_read_is_dropped_before_it_is_asked(
    home: Path, tmp_path: Path
) -> None:
    rows = [{"q": f"Question {n} of ours?", "a": "7"} for n in range(40)]
    rows += [{"q": f"How much is {n} after all?", "a": rf"1+\\cdots+{n}"} for n in range(40)]
    write(tmp_path / "real.jsonl", rows)
    problems, held_out = build(home, recipe(tmp_path, sources={"real": SOURCE}))
    lost = [
        row
        for artifact in (problems, held_out)
        for row in artifact.table("dropped").to_pylist()
        if row["reason"] == "unreadable_truth"
    ]
    assert len(lost) == 40 and all("ellipsis" in row["evidence"] for row in lost)
    kept = [*by_question(problems).values(), *by_question(held_out).values()]
    assert sum(row["source"] == "real" for row in kept) == 40
    assert problems.metrics["dropped_unreadable"] + held_out.table("dropped").num_rows == 40


def test_near_repeats_of_a_source_are_dropped_where_the_recipe_says_so(
    home: Path, tmp_path: Path
) -> None:
    """Another word is a repeat; other numbers are another problem."""
    text = "A tram with 40 seats leaves the depot at noon and takes {} riders at every one of its "
    more = "stops until all of them are taken: how many stops does it take to fill the whole {} "
    more += "at last?"
    asked = [
        (text + more).format(3, "tram"),
        (text + more).format(3, "car"),
        (text + more).format(5, "tram"),
    ]
    write(tmp_path / "own.jsonl", [{"q": each, "a": "7"} for each in asked])
    fields = {"question": "q", "expected_answer": "a"}
    source = {"kind": "problems", "path": "own.jsonl", "verifier": "math", "license": "mit"}
    made = recipe(tmp_path, sources={"own": source | {"fields": fields}})
    trained = [q for q in asked if not is_held_out_row({"domain": "math", "question": q})]
    before, _ = build(home, made)
    assert "duplicates" not in before.manifest["tables"]
    cleaning = Cleaning.model_validate({"deduplicate": {}})
    made = replace(made, family=made.family.model_copy(update={"cleaning": cleaning}))
    after, _ = build(home, made)
    assert set(asked[:2]) <= set(trained)
    assert set(by_question(before)) - set(by_question(after)) == {asked[1]}
    kept, lost = after.table("duplicates").to_pylist()
    (row,) = (r for r in after.table("dropped").to_pylist() if r["reason"] == "duplicate")
    assert (row["row_id"], row["matched_row_id"]) == (lost["member"], kept["member"])
    assert lost["similarity"] == 32 / 38  # of 35 shingles each, three hold the other word
    assert kept["member_asset"] == "problems/math"


def test_where_a_source_lies_does_not_matter(home: Path, tmp_path: Path) -> None:
    versions = set()
    for name in ("here", "there"):
        write(tmp_path / name / "real.jsonl", [{"q": f"{n} eggs?", "a": "1"} for n in range(9)])
        made, held_out = build(home / name, recipe(tmp_path / name, sources={"real": SOURCE}))
        versions.add((made.data_version, held_out.data_version))
    assert len(versions) == 1


def test_a_source_whose_rows_are_all_held_out_leaves_an_empty_table() -> None:
    """That none is left to train on is the check's to say, not Arrow's."""
    made, lost = make.identified([problem_table([])], "problems/math")
    assert made.num_rows == lost.num_rows == 0 and "row_id" in made.column_names
