"""A declared benchmark in the graph: held out whole, nothing trained on asks it, and scored."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assets.catalog import all_specs
from jobs.checks import data
from jobs.checks.asked import Asked
from resources.execution import Execution
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.recipe.sections.cleaning import Cleaning
from resources.recipe.sections.data import Source
from resources.store.building import Code, materialise
from warehouse import catalog
from warehouse.errors import RowsRejected
from warehouse.store import Artifact, Store

LONG = "how many plums are left when four of the eleven ripe plums fall off the tree"


def written(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """The smoke recipe with a source of conversations and a benchmark by likelihood."""
    rows = [{"q": f"Which letter is number {n}?", "o": ["a", "b"], "right": n % 2} for n in (0, 1)]
    written(tmp_path / "test.jsonl", [*rows, {"q": LONG, "o": ["7", "4"], "right": "7"}])
    conversations = [f"Tell me: {LONG}, please?", "WHICH letter is number 1?", "Anything else?"]
    turns = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": "7"}]}
        for q in conversations
    ]
    written(tmp_path / "chats.jsonl", turns)
    said = tmp_path / "mine.yaml"
    said.write_text(
        "extends: heirloom/smoke\n"
        "sources:\n"
        "  support: {kind: conversations, path: ./chats.jsonl, license: mit, holdout: 0}\n"
        "benchmarks:\n"
        "  own: {path: ./test.jsonl, license: mit, method: loglikelihood, style: plain,\n"
        "    fields: {question: q, options: o, right: right}, choices: options, answer: right}\n"
    )
    made = load("smoke", check_paths=False)
    bench = load(said, check_paths=False)
    nano = made.models["nano"]
    first = nano.sft[0].model_copy(update={"domains": {}, "mix": {"support": 1.0}})
    models = {"nano": nano.model_copy(update={"sft": [first], "preference": None})}
    family = made.family.model_copy(
        update={
            "sources": bench.family.sources,
            "benchmarks": bench.family.benchmarks,
            "off_generator": "teacher",
        }
    )
    return replace(made, family=family, models=models, directory=tmp_path)


def built(store: Store, recipe: Recipe, *keys: str) -> Artifact:
    specs = {spec.key: spec for spec in all_specs(recipe)}
    made = [materialise(store, specs[key], Code("1"), Execution(threads=1)) for key in keys]
    return made[-1]


def test_it_is_held_out_scored_and_nothing_trained_on_asks_it(
    recipe: Recipe, tmp_path: Path
) -> None:
    store = Store(tmp_path / "home")
    problems = built(store, recipe, "problems/held_out", "benchmarks/own")
    held = sorted(problems.table("problems").to_pylist(), key=lambda row: row["line"])
    assert [row["gold"] for row in held] == [0, 1, 0]

    samples = built(store, recipe, "sft_data/support")
    dropped = samples.table("dropped").to_pylist()
    assert [row["reason"] for row in dropped] == ["contaminated"] * 2
    ids = [row["row_id"] for row in held]
    assert {row["matched_row_id"] for row in dropped} == {ids[1], ids[2]}
    (kept,) = samples.table("sft_samples").to_pylist()
    assert kept["input"][-1]["content"] == "Anything else?"

    built(store, recipe, "nano/parent", "nano/parent_benchmark_own")
    connection = catalog.connect(store)
    (row,) = catalog.query(
        connection,
        "SELECT model, stage, benchmark, reasoning, problems, samples, metric, method, "
        "accuracy = value, ci_low <= value AND value <= ci_high, at_chance FROM benchmarks",
    ).fetchall()
    assert row == (
        *("nano", "parent", "own", None, 3, 1, "accuracy", "loglikelihood"),
        *(True, True, True),
    )
    found = catalog.query(connection, "SELECT verdict, problem_id FROM answers").fetchall()
    assert {each[1] for each in found} == {each.hex() for each in ids}
    assert {each[0] for each in found} <= {"correct", "incorrect"}


def test_a_written_problem_that_shares_a_run_of_words_is_practised_by_nobody(
    recipe: Recipe, tmp_path: Path
) -> None:
    """SFT and RL take their questions from here; procedural ones are compared by text alone."""
    store = Store(tmp_path / "home")
    lost = f"Listen: {LONG.replace('tree', 'bush')}?"
    source = {"kind": "problems", "path": "mine.jsonl", "verifier": "math", "license": "mit"}
    fields = {"question": "q", "expected_answer": "a"}
    written(tmp_path / "mine.jsonl", [{"q": q, "a": "7"} for q in (lost, "How many plums?", LONG)])
    changed = {"mine": Source.model_validate({**source, "fields": fields})}
    family = recipe.family.model_copy(update={"sources": changed})
    keys = ("problems/held_out", "benchmarks/own", "problems/math")
    before = built(store, recipe, *keys).table("problems").num_rows
    problems = built(store, replace(recipe, family=family), "problems/questions_mine", *keys)
    asked = built(store, recipe, "benchmarks/own").table("problems").to_pylist()
    (long,) = (row["row_id"] for row in asked if row["question"] == LONG)
    dropped = {row["question"]: row for row in problems.table("dropped").to_pylist()}
    assert {q: row["reason"] for q, row in dropped.items()} == {
        lost: "contaminated",
        LONG: "held_out",
    }
    assert {row["matched_row_id"] for row in dropped.values()} == {long}
    assert dropped[lost]["evidence"].startswith("ngram_13, score 0.75: how many plums")
    assert problems.metrics["dropped_contaminated"] == 1
    assert problems.table("problems").num_rows == before + 1


def test_a_rephrased_problem_is_practised_by_nobody_where_the_recipe_says_so(
    recipe: Recipe, tmp_path: Path
) -> None:
    """SFT and RL take their questions from here: neighbours, sure and undecided, are dropped."""
    store = Store(tmp_path / "home")
    words = LONG.split()
    near = " ".join("many" if place % 6 == 5 else word for place, word in enumerate(words))
    source = {"kind": "problems", "path": "mine.jsonl", "verifier": "math", "license": "mit"}
    fields = {"question": "q", "expected_answer": "a"}
    asked = (near, "Who wrote it?", "What is the sum of one and six?")
    written(tmp_path / "mine.jsonl", [{"q": q, "a": "7"} for q in asked])
    changed = {"mine": Source.model_validate({**source, "fields": fields})}
    keys = ("problems/questions_mine", "problems/held_out", "benchmarks/own", "problems/math")
    found = []
    for limits in ({"sure": 0.2, "undecided": 0.2}, {"sure": 1.0, "undecided": 0.2}):
        cleaning = Cleaning.model_validate({"decontaminate": limits})
        family = recipe.family.model_copy(update={"sources": changed, "cleaning": cleaning})
        problems = built(store, replace(recipe, family=family), *keys)
        (hit,) = problems.table("contamination").to_pylist()
        (row,) = (r for r in problems.table("dropped").to_pylist() if r["question"] == near)
        assert hit["method"] == "neighbour" and hit["score"] > 0.2
        assert (hit["member"], hit["item"]) == (row["row_id"], row["matched_row_id"])
        assert hit["decision"] == row["reason"]
        found.append((row["reason"], problems.metrics[f"dropped_{row['reason']}"]))
    assert found == [("contaminated", 1.0), ("contamination undecided", 1.0)]


def test_what_only_asks_otherwise_remakes_no_problem(recipe: Recipe) -> None:
    def slices(**changes: Any) -> dict[str, Any]:
        family = recipe.family
        section = family.benchmarks
        assert section is not None
        own = section.declared["own"].model_copy(update=changes)
        changed = section.model_copy(update={"declared": {"own": own}})
        made = replace(recipe, family=family.model_copy(update={"benchmarks": changed}))
        return {spec.key: spec.recipe for spec in all_specs(made)}

    before, after = slices(), slices(normalize="characters")
    assert {key for key in before if before[key] != after[key]} == {
        key for key in before if key.endswith("_benchmark_own")
    }


def test_a_column_that_is_not_there_is_said_by_check_and_stops_the_asset(
    recipe: Recipe, tmp_path: Path
) -> None:
    written(tmp_path / "test.jsonl", [{"q": "?", "right": 0}])
    (fault,) = data.benchmarks(Asked(recipe, True, tmp_path))
    assert "test.jsonl:1: o: no such field; there are q, right" in str(fault)
    with pytest.raises(RowsRejected, match="o: no such field"):
        built(Store(tmp_path / "home"), recipe, "benchmarks/own")
    (tmp_path / "test.jsonl").unlink()
    (fault,) = (f for f in data.present(Asked(recipe, True, tmp_path)) if "test.jsonl" in str(f))
    assert "no such file or folder" in str(fault)
