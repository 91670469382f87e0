"""Declared benchmarks: what their rows become, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.benchmarks.problems import examples, index, problems, where
from resources.recipe.declared import bundled
from resources.recipe.loading import examine
from resources.recipe.packaged import benchmarks
from resources.recipe.sections.benchmark import Benchmark
from resources.recipe.tree import plain
from resources.sources.account import SourceError
from resources.templating import TemplateError, text, value

DATA = Path(os.environ.get("HEIRLOOM_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
FILES = {
    "gsm8k": ("gsm8k/test.jsonl", 1319),
    "math_500": ("math500/test.jsonl", 500),
    "mmlu": ("mmlu_stem/test.jsonl", 3018),
    "humaneval": ("humaneval/HumanEval.jsonl.gz", 164),
    "mbpp": ("mbpp/mbpp.jsonl", 974),
    "ifeval": ("ifeval/input_data.jsonl", 541),
}
CHOICE = {
    "method": "loglikelihood",
    "fields": {"question": "q", "options": "o.text", "right": "a"},
    "choices": "options",
    "answer": "right",
}


def declare(path: Path, **given: Any) -> Benchmark:
    base = {"path": str(path), "license": "mit", "fields": {"question": "q", "answer": "a"}}
    return Benchmark.model_validate(base | given)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def made(benchmark: Benchmark, folder: Path) -> list[dict[str, Any]]:
    asked, _ = where(benchmark, folder, folder)
    rows: list[dict[str, Any]] = problems("mine", benchmark, asked)[0].to_pylist()
    return rows


def test_a_row_becomes_a_problem(tmp_path: Path) -> None:
    file = write(tmp_path / "x.jsonl", [{"q": "1+1?", "a": 2}, {"q": "2+2?", "a": " 4 "}])
    rows = made(declare(file, verifier="exact", prompt="Q: {{ question }}\n"), tmp_path)
    assert [(r["prompt"], r["expected_answer"], r["line"]) for r in rows] == [
        ("Q: 1+1?\n", "2", 1),
        ("Q: 2+2?\n", "4", 2),
    ]
    assert {(r["source"], r["split"], r["kind"]) for r in rows} == {
        ("mine", "held_out", "generate")
    }


@pytest.mark.parametrize("right", [1, "1", "B", "b", "no"])
def test_a_choice_is_named_by_index_letter_or_text(tmp_path: Path, right: object) -> None:
    file = write(tmp_path / "x.jsonl", [{"q": "?", "o": {"text": ["yes", "no"]}, "a": right}])
    (row,) = made(declare(file, **CHOICE), tmp_path)
    assert (row["gold"], row["expected_answer"], row["choices"]) == (1, "B", ["yes", "no"])


@pytest.mark.parametrize("wrong", [2, -1, "C", "maybe", True, 0.5])
def test_another_answer_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="an index from 0 to 1, a letter or one of the choices"):
        index(wrong, ["yes", "no"])


def test_an_absent_column_is_named_with_file_and_line(tmp_path: Path) -> None:
    file = write(tmp_path / "x.jsonl", [{"q": "1+1?", "answer": 2}])
    benchmark = declare(file, verifier="exact")
    with pytest.raises(SourceError, match=r"x\.jsonl:1: a: no such field; there are q, answer"):
        made(benchmark, tmp_path)


def test_rows_that_are_no_problems_are_counted(tmp_path: Path) -> None:
    file = write(tmp_path / "x.jsonl", [{"q": "?", "a": 1}, {"q": "", "a": 1}, {"q": "?", "a": []}])
    benchmark = declare(file, verifier="exact", max_drop=0.9)
    asked, _ = where(benchmark, tmp_path, tmp_path)
    table, account = problems("mine", benchmark, asked)
    assert (table.num_rows, account.kept, account.dropped) == (1, 1, 2)
    assert sorted(account.reasons) == [
        "answer must be text or a number, found []",
        "the prompt is empty",
    ]


TOOLS = "[{'name': 'f', 'parameters': {'type': 'object'}}]"


@pytest.mark.parametrize(
    ("answer", "given", "reason"),
    [
        (" ", {"verifier": "exact"}, "the answer is empty"),
        ("$.$", {"verifier": "math"}, "empty"),
        ("1 + " * 300 + "1", {"verifier": "math"}, "nothing to compare with"),
        (["a", " "], {"method": "loglikelihood", "choices": "answer", "answer": "0"}, "none empty"),
        ({"A": "a"}, {"verifier": "choice", "choices": "answer"}, r"say choices: answer.values\("),
        ("", {"verifier": "code", "tests": "{{ answer }}"}, "tests are empty"),
        (
            [{"name": "g", "arguments": {}}],
            {"verifier": "tools", "metadata": {"tools": TOOLS}},
            "'g'",
        ),
        ([{"name": "f"}], {"verifier": "tools"}, "call 0 is not"),
        ([{"x": 1}], {"verifier": "instructions"}, "unexpected keyword|takes"),
        ([], {"verifier": "instructions"}, "1 instruction ids but 0 kwargs"),
        ("x", {"verifier": "instructions"}, "kwargs must be a list"),
    ],
)
def test_what_no_answer_could_be_judged_by_is_no_problem(
    tmp_path: Path, answer: Any, given: dict[str, Any], reason: str
) -> None:
    if given["verifier" if "verifier" in given else "method"] == "instructions":
        names = "['punctuation:no_comma']"
        given = given | {"metadata": {"instruction_id_list": names, "kwargs": "answer"}}
    file = write(tmp_path / "x.jsonl", [{"q": "?", "a": answer}])
    with pytest.raises(SourceError, match=reason):
        made(declare(file, **given), tmp_path)


def test_a_number_that_is_none_is_no_answer(tmp_path: Path) -> None:
    table = pa.table({"q": ["a?", "b?"], "a": [float("nan"), 1.0]})
    pq.write_table(table, tmp_path / "x.parquet")
    (row,) = made(declare(tmp_path / "x.parquet", verifier="exact", max_drop=0.9), tmp_path)
    assert row["expected_answer"] == "1.0"


def test_a_worked_example_is_never_asked(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", [{"q": "one?", "a": 1}, {"q": "TWO ?", "a": 2}])
    test = write(tmp_path / "test.jsonl", [{"q": "two ?", "a": 2}])
    benchmark = declare(test, verifier="exact", few_shot={"examples": 2, "path": str(train)})
    asked, shown = where(benchmark, tmp_path, tmp_path)
    table, _ = problems("mine", benchmark, asked)
    with pytest.raises(SourceError, match=r"train\.jsonl:2 is among what is asked"):
        examples("mine", benchmark, shown, table["prompt"].to_pylist())
    shot = {"examples": 1, "path": str(tmp_path / "." / "t*.jsonl")}
    with pytest.raises(SourceError, match=r"test\.jsonl is asked too"):
        where(declare(test, verifier="exact", few_shot=shot), tmp_path, tmp_path)


def test_worked_examples_come_from_elsewhere(tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", [{"q": f"q{n}", "a": n} for n in range(3)])
    test = write(tmp_path / "test.jsonl", [{"q": "?", "a": 1}])
    shot = {"examples": 2, "path": str(train), "target": "it is {{ answer }}"}
    benchmark = declare(test, verifier="exact", few_shot=shot)
    _, found = where(benchmark, tmp_path, tmp_path)
    assert examples("mine", benchmark, found).to_pylist() == [
        {"prompt": "q0", "target": "it is 0"},
        {"prompt": "q1", "target": "it is 1"},
    ]
    with pytest.raises(ValueError, match="its examples are those that are asked"):
        declare(test, verifier="exact", few_shot={"examples": 2})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "verifier is missing"),
        ({"method": "loglikelihood"}, "give choices"),
        ({"method": "perplexity", "samples": 2}, "generates nothing"),
        ({"verifier": "exact", "samples": 2}, "temperature above 0"),
        ({"verifier": "exact", "stop": ["x"]}, "a chat has its turn-end token"),
        ({"verifier": "exact", "prompt": "{{ question"}, "is no Jinja"),
        ({"verifier": "exact", "extract": "("}, "unterminated subpattern"),
        ({"verifier": "exactly"}, "math"),
        ({"verifier": "code"}, "give tests"),
        ({"verifier": "instructions"}, "metadata instruction_id_list and kwargs"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        declare(Path("x.jsonl"), **given)


def test_templates_are_kept_in_a_sandbox() -> None:
    with pytest.raises(TemplateError, match="unsafe"):
        text("{{ x.__class__.__mro__ }}", {"x": 1})
    with pytest.raises(TemplateError, match="not among the fields x"):
        value("y", {"x": 1})
    assert text("{{ x }}\n", {"x": 1}) == "1\n"


@pytest.mark.parametrize("name", benchmarks())
def test_declared_ones_fit_the_schema(name: str) -> None:
    assert Benchmark.model_validate(plain(bundled(name))).license


@pytest.mark.parametrize("name", FILES)
def test_declared_ones_read_published_files(name: str, tmp_path: Path) -> None:
    file, rows = FILES[name]
    if not (DATA / file).is_file():
        pytest.skip(f"no {DATA / file}")
    said = plain(bundled(name)) | {"path": str(DATA / file)}
    if "few_shot" in said:
        said["few_shot"]["path"] = str(DATA / file).replace("test", "train")
    benchmark = Benchmark.model_validate(said)
    asked, shown = where(benchmark, tmp_path, tmp_path)
    assert problems(name, benchmark, asked)[0].num_rows == rows
    assert len(examples(name, benchmark, shown)) == benchmark.few_shot.examples


def test_a_recipe_extends_a_declared_one_by_name(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "extends: heirloom/tiny\n"
        "benchmarks:\n"
        "  ifeval: {path: ./ifeval.jsonl, max_new_tokens: 300}\n"
        "  own: {path: ./own.jsonl, fields: {question: q, answer: a}, verifier: math, license: x}\n"
    )
    found = examine(recipe, ["benchmarks.ifeval.limit=3", "benchmarks.gsm8k={limit: 2}"])
    assert not found.faults and found.recipe is not None
    family = found.recipe.family
    assert list(family.declared_benchmarks) == ["ifeval", "own", "gsm8k"]
    assert family.declared_benchmarks["ifeval"].max_new_tokens == 300
    assert family.declared_benchmarks["ifeval"].limit == 3
    assert family.declared_benchmarks["gsm8k"].few_shot.examples == 5
    assert family.own_benchmarks is not None and family.own_benchmarks.samples == 1
    assert found.tree is not None
    stands = found.tree.at(("benchmarks", "ifeval", "verifier"))
    assert stands is not None and stands.origin.shown == "heirloom/benchmarks/ifeval.yaml"
    (fault,) = examine(recipe, ["benchmarks.ifeval={style: plane}"]).faults
    assert "benchmarks.ifeval.style" in str(fault) and "'chat' or 'plain'" in str(fault)
