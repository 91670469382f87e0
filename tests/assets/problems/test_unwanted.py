"""Kinds of math problems that a source does not want are dropped with what shows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assets.catalog import all_specs
from resources.recipe.errors import RecipeError
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.store.building import Code, materialise
from warehouse import catalog
from warehouse.store import Store

RECIPE = """
extends: heirloom/single-gpu
name: own
models: {small: {parent: bundled/super, stages: [distillation]}}
corpus: {mix: {docs: 1}, tokens: 10000}
held_out: {per_domain_per_depth: 1, depths: [1]}
sources:
  docs: {kind: text, path: "python:docstrings", license: psf-2.0}
  mine:
    kind: problems
    path: ./mine.jsonl
    fields: {question: q, expected_answer: a}
    verifier: math
    license: mit
    drop: DROP
"""
ASKED = {
    "proof": ("Prove that {n} is odd.", "It is odd since two times a number is even, plus one"),
    "choice": ("Which is {n}? (A) 1 (B) 2 (C) {n}", "C"),
    "binary": ("Is {n} odd?", "yes"),
    "invalid": ("How long is side {n}? ![side](side.png)", "4"),
    "unknown": ("The double of {n} is:", "6"),
    "answer": ("How much is {n} + {n}?", "6"),
}


def recipe(folder: Path, drop: str, **changed: str) -> Recipe:
    rows = [
        {"q": question.format(n=n), "a": answer}
        for n in range(20)
        for question, answer in ASKED.values()
    ]
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "mine.yaml").write_text(RECIPE.replace("DROP", drop))
    overrides = [f"{key}={value}" for key, value in changed.items()]
    return load(folder / "mine.yaml", overrides=overrides, check_paths=False)


def slices(made: Recipe) -> dict[str, Any]:
    return {spec.key: (dict(spec.inputs), spec.slices()) for spec in all_specs(made)}


def test_what_is_not_wanted_is_dropped_and_all_are_accounted(tmp_path: Path) -> None:
    made = recipe(tmp_path, "[choice, proof, binary, invalid]")
    store, specs = Store(tmp_path / "home"), {spec.key: spec for spec in all_specs(made)}
    for key in ("problems/questions_mine", "problems/held_out", "problems/math"):
        materialise(store, specs[key], Code("1"))
    connection = catalog.connect(store)

    def told(query: str) -> list[tuple[Any, ...]]:
        return catalog.query(connection, query).fetchall()

    counted = told("SELECT kind, count(*) FROM question_kinds GROUP BY ALL ORDER BY ALL")
    assert counted == [(kind, 20) for kind in sorted(ASKED)]
    lost = told("SELECT reason, count(*) FROM dropped GROUP BY ALL ORDER BY ALL")
    assert lost == [(kind, 20) for kind in ("binary", "choice", "invalid", "proof")]
    assert told("SELECT count(*) FROM problems WHERE source = 'mine'") == [(40,)]
    assert told("SELECT DISTINCT evidence FROM dropped WHERE reason = 'choice'") == [
        ("has the options A to C",)
    ]
    sides = told("SELECT DISTINCT asset_key FROM dropped ORDER BY ALL")
    assert sides == [("problems/held_out",), ("problems/math",)]


def test_what_says_nothing_of_kinds_is_as_it_was(tmp_path: Path) -> None:
    some, none = (slices(recipe(tmp_path, drop)) for drop in ("[proof]", "[]"))
    changed = {key for key in none if none[key] != some[key]}
    assert changed == {"problems/math", "problems/held_out"}
    assert "drop" not in json.dumps(none["problems/math"], default=str)


def test_kinds_are_of_math_problems(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="among problems of math alone"):
        recipe(tmp_path, "[proof]", **{"sources.mine.verifier": "science"})
    with pytest.raises(RecipeError, match="'proof', 'choice', 'binary' or 'invalid'"):
        recipe(tmp_path, "[proofs]")
