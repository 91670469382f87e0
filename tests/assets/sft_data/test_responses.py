"""Recorded answers are judged like our own, and what is right is trained on as it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from assets.problems.assets import specs as problem_specs
from assets.rl_data.assets import specs as rl_specs
from assets.sft.assets import specs as sft_specs
from assets.sft_data.assets import specs
from resources.recipe.loading import load
from resources.recipe.schema import Recipe, disagreements
from resources.recipe.sections.data import Source
from resources.recipe.sections.supervised import Sft
from resources.store.building import Code, materialise
from warehouse import catalog
from warehouse.store import Artifact, Store

FIELDS = {"question": "problem", "expected_answer": "answer", "response": "solution"}


def recipe(folder: Path, **sources: Any) -> Recipe:
    """The smoke recipe with these sources, of which Nano's one SFT stage draws from `traces`."""
    made = load("smoke", check_paths=False)
    declared = {
        name: Source.model_validate({"license": "mit"} | each) for name, each in sources.items()
    }
    nano = made.models["nano"]
    mix: dict[str, Any] = {"domains": {}, "mix": {"traces": 1.0}, "reasoning": []}
    models = {
        "nano": nano.model_copy(
            update={
                "sft": [Sft.model_validate(nano.sft[0].model_dump() | mix | {"samples": None})],
                "preference": None,
            }
        )
    }
    family = made.family.model_copy(update={"sources": declared, "off_generator": "teacher"})
    return replace(made, family=family, models=models, directory=folder)


def built(store: Store, made: Recipe, *keys: str) -> dict[str, Artifact]:
    every = (*problem_specs(made), *specs(made), *sft_specs(made), *rl_specs(made))
    return {spec.key: materialise(store, spec, Code("1")) for spec in every if spec.key in keys}


def write(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def solved(question: str, answer: Any, solution: str) -> dict[str, Any]:
    return {"problem": question, "answer": answer, "solution": solution}


def test_recorded_answers_are_judged_and_the_right_ones_drawn(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    thought = "<think>\nThree and four.\n</think>\n\nIt is \\boxed{7}."
    declared = {"kind": "responses", "path": "r.jsonl", "fields": FIELDS, "verifier": "math"}
    made = recipe(tmp_path, traces=declared | {"max_drop": 0.2})
    assert not [key for key, _ in disagreements(made.family, made.models) if ".mix" in key]
    write(tmp_path / "r.jsonl", [])
    (asked,) = built_held_out(store, made)
    write(
        tmp_path / "r.jsonl",
        [
            solved("How much are 3 and 4?", 7, thought),
            solved("How much are 3 and 4?", 7, "It is \\boxed{8}."),
            solved("How much are 3 and 4?", 7, "\\boxed{7}"),
            solved("How much are 3 and 4?", 7, "\\boxed{7}"),
            solved("How much are 5 and 4?", "9", "<think>\nFive and four make"),
            solved(asked["question"], asked["expected_answer"], thought),
            solved("How much is nothing?", None, thought),
        ],
    )
    keys = [f"sft_data/traces{end}" for end in ("_responses", "_verdicts", "")]
    found = built(store, made, *keys, "nano/sft_reasoning_blend")
    samples = found["sft_data/traces"].table("sft_samples").to_pylist()
    assert sorted((row["output"], row["reasoning"]) for row in samples) == [
        (thought, "on"),
        ("\\boxed{7}", "off"),
    ]
    assert {row["system_prompt"] for row in samples} == {
        "detailed thinking on",
        "detailed thinking off",
    }
    assert all(row["generator"] == "traces" and row["license"] == "mit" for row in samples)
    connection = catalog.connect(store)

    def told(query: str) -> list[tuple[Any, ...]]:
        return catalog.query(connection, query).fetchall()

    assert told("SELECT rows_in, kept, dropped FROM sources WHERE source = 'traces'") == [(7, 6, 1)]
    assert told("SELECT line, reason FROM rejected") == [(7, "no answer: is null")]
    dropped = told(
        "SELECT g.line, d.reason FROM dropped d JOIN generations g USING (row_id) ORDER BY ALL"
    )
    assert dropped == [(2, "incorrect"), (4, "duplicate"), (5, "incorrect"), (6, "contaminated")]
    came = told(
        "SELECT g.file, g.line, v.verdict FROM sft_samples s JOIN generations g "
        "ON g.row_id = s.parents[1].row_id JOIN verdicts v ON v.generation_id = g.row_id ORDER BY 2"
    )
    assert came == [("r.jsonl", 1, "correct"), ("r.jsonl", 3, "correct")]
    assert found["nano/sft_reasoning_blend"].table("blends").num_rows == 2


def test_a_problem_stands_once_whichever_file_it_was_answered_in(tmp_path: Path) -> None:
    declared = {"kind": "responses", "path": "r*.jsonl", "fields": FIELDS, "verifier": "math"}
    files = {"r1": [("3+4?", "7"), ("3+4?", "\\boxed{7}")], "r2": [("3+4?", "8"), ("5+4?", "9")]}
    for name, rows in files.items():
        write(tmp_path / f"{name}.jsonl", [solved(asked, 7, said) for asked, said in rows])
    made = recipe(tmp_path, traces=declared)
    found = built(Store(tmp_path / "home"), made, "sft_data/traces_responses")
    tables = found["sft_data/traces_responses"]
    problems = {row["row_id"]: row["question"] for row in tables.table("problems").to_pylist()}
    assert sorted(problems.values()) == ["3+4?", "5+4?"]
    rows = tables.table("generations").to_pylist()
    assert sorted((problems[row["problem_id"]], row["sample_index"]) for row in rows) == [
        ("3+4?", 0), ("3+4?", 1), ("3+4?", 2), ("5+4?", 0),
    ]  # fmt: skip


def built_held_out(store: Store, made: Recipe) -> list[dict[str, Any]]:
    """A held-out problem of math."""
    held_out = built(store, made, "problems/held_out")["problems/held_out"]
    return [row for row in held_out.table("problems").to_pylist() if row["domain"] == "math"][:1]


def test_declared_preferences_are_rows_that_can_be_asked_about(tmp_path: Path) -> None:
    rows = [{"prompt": f"Say {n}.", "chosen": f"{n}", "rejected": "No."} for n in range(3)]
    write(tmp_path / "p.jsonl", [*rows, {"prompt": "Say it.", "chosen": "a", "rejected": "a"}])
    write(tmp_path / "r.jsonl", [solved("3+4?", 7, "\\boxed{7}")])
    traces = {"kind": "responses", "path": "r.jsonl", "fields": FIELDS, "verifier": "math"}
    pairs = {"kind": "preferences", "path": "p.jsonl", "max_drop": 0.5}
    store = Store(tmp_path / "home")
    built(store, recipe(tmp_path, traces=traces, pairs=pairs), "rl_data/preferences_pairs")
    connection = catalog.connect(store)
    query = "SELECT prompt[1].content, chosen, rejected, file, line FROM preferences ORDER BY line"
    found = catalog.query(connection, query).fetchall()
    assert found[1] == ("Say 1.", "1", "No.", "p.jsonl", 2) and len(found) == 3
    query = (
        "SELECT s.rows_in, s.kept, r.line, r.reason FROM sources s JOIN rejected r USING (source)"
    )
    assert catalog.query(connection, query).fetchall() == [(4, 3, 4, "the same as chosen")]
