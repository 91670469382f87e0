"""Ready conversations become samples: accounted for, new, apart from what is held out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assets.problems.assets import specs as problem_specs
from assets.sft.assets import specs as sft_specs
from assets.sft_data.assets import specs
from resources.recipe.loading import load
from resources.recipe.schema import Recipe, disagreements
from resources.recipe.sections.base import DOMAINS
from resources.recipe.sections.cleaning import Cleaning
from resources.recipe.sections.data import Source
from resources.recipe.sections.family import Benchmarks
from resources.recipe.sections.supervised import Sft
from resources.store.building import Code, materialise
from warehouse import catalog
from warehouse.errors import RowsRejected
from warehouse.store import Artifact, CheckFailed, Store

PUBLIC = Path(__file__).resolve().parents[4] / "shared" / "data"


def chat(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer, **more},
        ]
    }


def recipe(folder: Path, mix: dict[str, float], **given: Any) -> Recipe:
    """The smoke recipe with one source of conversations, mixed into Nano's first SFT stage."""
    made = load("smoke", check_paths=False)
    declared = {"kind": "conversations", "path": "c.jsonl", "license": "mit", **given}
    sources = {"support": Source.model_validate(declared)}
    nano = made.models["nano"]
    first = nano.sft[0].model_dump() | {"domains": {}, "mix": mix}
    if not set(mix) & set(DOMAINS):  # reasoning says how domains are answered
        first["reasoning"] = []
    models = {"nano": nano.model_copy(update={"sft": [Sft.model_validate(first)]})}
    changes = {"sources": sources, "off_generator": "teacher"}
    family = made.family.model_copy(update=changes)
    return replace(made, family=family, models=models, directory=folder)


def build(home: Path, made: Recipe) -> Artifact:
    store = Store(home)
    (held_out,) = (each for each in problem_specs(made) if each.key == "problems/held_out")
    materialise(store, held_out, Code("1"))
    (spec,) = (each for each in specs(made) if each.key == "sft_data/support")
    return materialise(store, spec, Code("1"))


def write(folder: Path, rows: list[Any]) -> None:
    (folder / "c.jsonl").write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    )


def test_every_row_is_a_sample_a_drop_or_a_reject(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made = recipe(tmp_path, {"support": 1.0}, holdout="20%", max_drop="5%")
    write(tmp_path, [chat("a", "b")] * 2)
    store = Store(home)
    (spec,) = (each for each in problem_specs(made) if each.key == "problems/held_out")
    asked = materialise(store, spec, Code("1")).table("problems")["question"][0].as_py()
    turns = [*chat("Q1", "A1", train=False)["messages"], *chat("Q2", "A2")["messages"]]
    rows = [
        *(chat(f"Question number {i}?", f"Answer {i}.") for i in range(50)),
        chat("question  NUMBER 3?", "answer 3."),
        chat(f" {asked.upper()}", "The answer."),
        {"messages": [{"role": "system", "content": "Be brief."}, *turns]},
        {"messages": [{"role": "user", "content": "no answer"}]},
    ]
    write(tmp_path, rows)
    built = build(home, made)
    samples = {row["line"]: row for row in built.table("sft_samples").to_pylist()}
    assert len(samples) == 51
    both = samples[53]
    assert [m["role"] for m in both["input"]] == ["system", "user", "assistant", "user"]
    assert both["output"] == "A2" and both["trained"] == [False, True]
    assert both["reasoning"] is None and both["generator"] == "source"
    assert both["domain"] == both["category"] == "support" and both["license"] == "mit"
    dropped = built.table("dropped").to_pylist()
    assert sorted(row["reason"] for row in dropped) == ["contaminated", "duplicate"]
    (repeat,) = (row for row in dropped if row["reason"] == "duplicate")
    assert repeat["matched_row_id"] == samples[4]["row_id"]
    connection = catalog.connect(Store(home))
    found = catalog.query(connection, "SELECT rows_in, kept, dropped FROM sources").fetchall()
    assert found == [(54, 53, 1)]
    found = catalog.query(connection, "SELECT line, reason FROM rejected").fetchall()
    assert found == [(54, "the last turn must be the assistant's")]
    split = [row["split"] for row in samples.values()]
    assert 2 <= split.count("held_out") <= 20


def test_of_near_duplicates_the_first_source_by_priority_keeps_one(tmp_path: Path) -> None:
    """Each dropped row names the row kept for it, in whichever source, with their similarity."""
    text = "The tram leaves the depot at noon with forty seats, of which thirty are taken by riders"
    own = [
        chat("Tell me of trams.", f"{text} and a dog."),
        chat("Tell me of trams.", f"{text} and a cat."),
        chat("Tell me of 2 trams.", f"{text} and a cow."),  # another number: another question
        chat("tell me of  trams.", f"{text} and a DOG."),
    ]
    given = [chat("Tell me of trams.", f"{text} and a hen."), chat("And of ships?", "They swim.")]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    made = recipe(tmp_path, {"support": 1.0, "given": 1.0}, holdout=0.0)
    sources = {
        "given": made.family.sources["support"].model_copy(update={"path": "d.jsonl"}),
        **made.family.sources,
    }
    cleaning = Cleaning.model_validate({"deduplicate": {"priority": ["support", "given"]}})
    family = made.family.model_copy(update={"sources": sources, "cleaning": cleaning})
    made = replace(made, family=family)
    write(tmp_path, own)
    first = build(tmp_path / "home", made)
    (spec,) = (each for each in specs(made) if each.key == "sft_data/given")
    assert spec.inputs["before_support"] == "sft_data/support"
    second = materialise(Store(tmp_path / "home"), spec, Code("1"))
    assert [r["line"] for r in sorted_by_line(first)] == [1, 3]
    assert [r["line"] for r in sorted_by_line(second)] == [2]
    methods = sorted(row["method"] for row in first.table("duplicates").to_pylist())
    assert methods == ["exact", "kept", "minhash"]
    connection = catalog.connect(Store(tmp_path / "home"))
    sql = (
        "SELECT d.member_asset, k.member_asset, round(d.similarity, 3), s.line FROM duplicates d "
        "JOIN duplicates k ON d.cluster = k.cluster AND k.kept "
        "JOIN sft_samples s ON s.row_id = k.member "
        "WHERE NOT d.kept AND d.asset_key = 'sft_data/given' AND k.asset_key = d.asset_key"
    )
    shared = 19 / 21  # of 20 shingles each: all but the last
    assert catalog.query(connection, sql).fetchall() == [
        ("sft_data/given", "sft_data/support", round(shared, 3), 1)
    ]
    (row,) = second.table("dropped").to_pylist()
    assert row["evidence"].endswith("of sft_data/support")


def sorted_by_line(made: Artifact) -> list[dict[str, Any]]:
    return sorted(made.table("sft_samples").to_pylist(), key=lambda row: int(row["line"]))


def test_a_question_that_a_turn_hides_is_found_whoever_says_it(tmp_path: Path) -> None:
    question = "A tram with forty seats leaves the depot at noon and gains three riders a stop"
    hidden = [
        chat(question, "Twelve."),
        chat("Write a word problem.", f"Here is one. {question}, how many sit at two o'clock?"),
        {"messages": [{"role": "system", "content": question}, *chat("Hi", "Hello")["messages"]]},
        chat("Write a word problem.", "A tram with forty seats leaves."),
    ]
    (tmp_path / "exam.jsonl").write_text(json.dumps({"q": question, "a": "12"}))
    made = recipe(tmp_path, {"support": 1.0})
    exam = {"path": "exam.jsonl", "license": "mit", "fields": {"question": "q", "answer": "a"}}
    benchmarks = Benchmarks.model_validate({"exam": exam | {"verifier": "math"}})
    made = replace(made, family=made.family.model_copy(update={"benchmarks": benchmarks}))
    write(tmp_path, hidden)
    store = Store(tmp_path / "home")
    wanted = ("problems/held_out", "benchmarks/exam", "sft_data/support")
    for spec in (*problem_specs(made), *specs(made)):
        if spec.key in wanted:
            built = materialise(store, spec, Code("1"))
    assert [row["line"] for row in built.table("sft_samples").to_pylist()] == [4]
    dropped = built.table("dropped").to_pylist()
    assert [row["reason"] for row in dropped] == ["contaminated"] * 3
    assert all("a tram with forty seats" in row["evidence"] for row in dropped)


def test_what_a_benchmark_asks_in_other_words_is_dropped_and_counted_apart(tmp_path: Path) -> None:
    """A neighbour for sure, one that nobody decides, and what the recipe does not ask for."""
    question = (
        "A tram with forty seats leaves the depot at noon and gains three riders at each stop"
    )
    others = [
        "How many primes lie below fifty?",
        "A farmer sells nine ducks and a hen, each for two coins. What does he earn?",
        "Which river runs through the old town of the second chapter?",
        "Write down the sum of all odd numbers below one hundred.",
    ]
    asked = "".join(json.dumps({"q": each, "a": "12"}) + "\n" for each in [question, *others])
    (tmp_path / "exam.jsonl").write_text(asked)
    near = question.replace("leaves the depot at noon", "left its depot at ten").replace(
        "at", "per"
    )
    write(
        tmp_path,
        [
            chat(near, "Twelve."),
            chat("At noon a tram leaves with forty people; riders board.", "Yes."),
            chat("odd numbers below one hundred", "Yes."),
            chat("Say hello.", "Hello."),
        ],
    )
    made = recipe(tmp_path, {"support": 1.0})
    exam = {"path": "exam.jsonl", "license": "mit", "fields": {"question": "q", "answer": "a"}}
    benchmarks = Benchmarks.model_validate({"exam": exam | {"verifier": "exact"}})
    built = {}
    limits = {"sure": 0.5, "undecided": 0.15}
    for cleaning in (None, Cleaning.model_validate({"decontaminate": limits})):
        update = {"benchmarks": benchmarks, "cleaning": cleaning}
        each = replace(made, family=made.family.model_copy(update=update))
        store = Store(tmp_path / "home")
        for spec in (*problem_specs(each), *specs(each)):
            if spec.key in ("problems/held_out", "benchmarks/exam", "sft_data/support"):
                built[cleaning is not None] = materialise(store, spec, Code("1"))
    assert built[False].table("sft_samples").num_rows == 4
    assert "contamination" not in built[False].manifest["tables"]
    (sample,) = built[True].table("sft_samples").to_pylist()
    assert sample["line"] == 4
    rows = built[True].table("contamination").to_pylist()
    assert sorted((row["method"], row["decision"]) for row in rows) == [
        ("contained", "contaminated"),
        ("neighbour", "contaminated"),
        ("neighbour", "contamination undecided"),
    ]
    reasons = sorted(row["reason"] for row in built[True].table("dropped").to_pylist())
    assert reasons == ["contaminated", "contaminated", "contamination undecided"]
    assert built[True].metrics["dropped_contamination undecided"] == 1


def test_of_few_questions_none_may_be_held_out(tmp_path: Path) -> None:
    write(tmp_path, [chat(f"Question number {i}?", "A.") for i in range(3)])
    built = build(tmp_path / "home", recipe(tmp_path, {"support": 1.0}))
    (failed,) = (each for each in built.manifest["checks"] if not each["passed"])
    assert failed["name"] == "some_to_train_on" and not failed["blocking"]


def test_generated_rows_are_conversations_too(tmp_path: Path) -> None:
    fields = {"prompt": "question", "response": "answer"}
    path = "reasoning_gym:chain_sum?seed=3"
    made = recipe(tmp_path, {"support": 1.0}, path=path, fields=fields, limit=5)
    built = build(tmp_path / "home", made)
    counts = {name: table["rows"] for name, table in built.manifest["tables"].items()}
    assert counts["sft_samples"] + counts["dropped"] == 5


def test_too_many_rejects_stop_before_anything_and_stay_readable(tmp_path: Path) -> None:
    write(tmp_path, [chat("a", "b"), "{not json", chat("c", "d")])
    with pytest.raises(RowsRejected) as error:
        build(tmp_path / "home", recipe(tmp_path, {"support": 1.0}))
    assert "1 of 3 rows do not fit, max_drop allows 1.00%" in str(error.value)
    assert "c.jsonl:2" in str(error.value)
    connection = catalog.connect(Store(tmp_path / "home"))
    found = catalog.query(connection, "SELECT asset_key, file, line FROM rejected").fetchall()
    assert found == [("sft_data/support", "c.jsonl", 2)]


def test_a_blend_draws_from_sources_and_domains_and_never_what_is_held_out(
    tmp_path: Path,
) -> None:
    write(tmp_path, [chat(f"Question number {i}?", f"Answer {i}.") for i in range(60)])
    made = recipe(tmp_path, {"support": 3.0}, holdout="30%")
    built = build(tmp_path / "home", made)
    store = Store(tmp_path / "home")
    (blend,) = (s for s in sft_specs(made) if s.key.endswith("_blend"))
    assert blend.inputs["support"] == "sft_data/support"
    assert blend.recipe["domains"] == {"support": 3.0}
    drawn = materialise(store, blend, Code("1")).table("blends")
    table = built.table("sft_samples", ["row_id", "split"]).to_pylist()
    out = {row["row_id"] for row in table if row["split"] == "held_out"}
    assert out and drawn.num_rows == blend.recipe["samples"]
    assert not out & set(drawn["sample_id"].to_pylist())
    both = recipe(tmp_path, {"support": 3.0, "math": 1.0})
    (blend,) = (s for s in sft_specs(both) if s.key.endswith("_blend"))
    assert blend.recipe["reasoning"] == {"support": ["any"], "math": ["on"]}


def test_a_mix_names_what_there_is(tmp_path: Path) -> None:
    made = recipe(tmp_path, {"suport": 1.0})
    found = dict(disagreements(made.family, made.models))
    assert "did you mean 'support'" in found["nano.sft[0].mix"]
    text = recipe(tmp_path, {"support": 1.0}, kind="text")
    found = dict(disagreements(text.family, text.models))
    assert "is of kind text" in found["nano.sft[0].mix"]


def test_slices_without_a_mix_are_what_they_were() -> None:
    made = load("smoke", check_paths=False)
    for spec in (*specs(made), *sft_specs(made), *problem_specs(made)):
        assert not {"mix", "sources"} & set(spec.recipe), spec.key


@pytest.mark.skipif(not PUBLIC.is_dir(), reason="the public data are not here")
def test_public_instructions(tmp_path: Path) -> None:
    fields = {"prompt": "instruction", "query": "input", "response": "output"}
    made = recipe(PUBLIC / "alpaca", {"support": 1.0}, path="*.json", fields=fields)
    built = build(tmp_path, made)
    counts = {name: table["rows"] for name, table in built.manifest["tables"].items()}
    assert counts["sft_samples"] + counts["dropped"] + counts["rejected"] == 1000
    assert counts["sft_samples"] > 980


def test_filters_drop_what_the_recipe_asks_for_within_its_budgets(tmp_path: Path) -> None:
    write(
        tmp_path,
        [
            chat("Help me.", "I'm sorry, but I can't assist with that."),
            chat("What is 2 + 2? Put it into \\boxed{}.", "Four."),
            chat("Count.", "one two three and again " * 20),
            chat("Say hello.", "Hello."),
        ],
    )
    made = recipe(tmp_path, {"support": 1.0}, holdout=0.0)
    filters = {"refusal": True, "unboxed": True, "repetition": 0.5}

    def cleaned(**budgets: float) -> Artifact:
        cleaning = Cleaning.model_validate({"filters": filters, "budgets": budgets})
        update = {"cleaning": cleaning}
        return build(tmp_path / "home", replace(made, family=made.family.model_copy(update=update)))

    built = cleaned(refusal=0.25)
    assert [row["line"] for row in built.table("sft_samples").to_pylist()] == [4]
    reasons = {row["reason"]: row["evidence"] for row in built.table("dropped").to_pylist()}
    assert sorted(reasons) == ["refusal", "repetition", "unboxed"]
    assert reasons["refusal"].startswith("begins: I'm sorry")
    with pytest.raises(
        CheckFailed, match=r"drops_within_budget.*refusal 1 \(25.0%, at most 20.0%\)"
    ):
        cleaned(refusal=0.2)
    with pytest.raises(ValueError, match="no reason 'refusals'; did you mean 'refusal'"):
        cleaned(refusals=0.2)


def test_priority_names_what_there_is(tmp_path: Path) -> None:
    made = recipe(tmp_path, {"support": 1.0})
    cleaning = Cleaning.model_validate({"deduplicate": {"priority": ["math", "suport"]}})
    family = made.family.model_copy(update={"cleaning": cleaning})
    found = dict(disagreements(family, made.models))
    assert "did you mean 'support'" in found["family.cleaning.deduplicate.priority"]
