"""The report: facts read from real artifacts, one page without outside resources, lineage."""

from __future__ import annotations

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from assets.evaluation import checks
from assets.evaluation.assets import specs
from assets.evaluation.benchmark import build_benchmarks
from assets.evaluation.declared import answer_table, score_table
from assets.evaluation.page import published
from assets.evaluation.page.facts import Stage, gather, layers, only_padded, parameters
from assets.evaluation.page.lineage import ancestry, reduced
from assets.evaluation.page.overview import overview
from assets.evaluation.report import build_report
from resources.benchmarks.answers import Answer, Measure
from resources.benchmarks.intervals import wilson
from resources.models import loading
from resources.recipe.loading import load as load_recipe
from tests.assets.evaluation.test_benchmark import RECIPE
from tests.assets.rl import support
from warehouse.store import Artifact, Output, Store

VOID = {"meta", "rect", "line", "path", "circle", "polygon", "polyline", "i"}


class Page(HTMLParser):
    """Collects tags and complains about ones that are never closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def family(
    tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path
) -> tuple[Store, dict[str, Artifact]]:
    """A line of two checkpoints with benchmarks, the second made from the first."""
    store = Store(tmp_path_factory.mktemp("home"))
    parent = support.checkpoint(store, "super/parent", tiny_llama)
    held_out = support.problems(store, "math", 6, held_out=True)

    def trained(work: Path, inputs: object, recipe: object, execution: object) -> object:
        from warehouse.store import Output

        model = loading.load(tiny_llama)
        model.lm_head.weight.data.mul_(0.5)
        loading.save(model, work / "made", tiny_llama)
        return Output(files={"": work / "made"})

    sft = support.build(store, "super/sft", trained, {"model": parent}, {})
    artifacts = {"parent": parent, "sft": sft}
    for name, checkpoint in list(artifacts.items()):
        artifacts[f"{name}_benchmarks"] = support.build(
            store,
            f"super/{name}_benchmarks",
            build_benchmarks,
            {"model": checkpoint, "held_out": held_out},
            {**RECIPE, "stage": name, "domains": ["math"], "samples": 1},
        )
    return store, artifacts


REPORT = {
    "family": "test",
    "roles": {"super": "Llama-3.3-70B & more"},
    "line": [["super", "super/parent", "parent"], ["super", "super/sft", "sft"]],
    "teacher": None,
    "discard_at": 0.75,
}


def test_report_is_one_whole_page(family: tuple[Store, dict[str, Artifact]]) -> None:
    store, artifacts = family
    made = support.build(store, "evaluation/report", build_report, artifacts, REPORT)
    assert checks.report_self_contained(made, artifacts).passed
    text = made.path("report.html").read_text()
    page = Page()
    page.feed(text)
    assert not page.open
    assert page.tags.count("svg") > 6
    assert "stands for Llama-3.3-70B &amp; more" in text
    for words in ("Along the line", "serial depth k", "Everything that <b>super/sft</b>"):
        assert words in text
    assert "super_accuracy_on" in made.metrics


def test_a_report_needs_no_held_out_questions(family: tuple[Store, dict[str, Artifact]]) -> None:
    store, artifacts = family
    only = {name: each for name, each in artifacts.items() if not name.endswith("_benchmarks")}
    made = support.build(store, "evaluation/report", build_report, only, REPORT)
    text = made.path("report.html").read_text()
    assert "Parameters" in text and "Along the line" not in text and "held-out" not in text
    assert set(made.metrics) == {"stages_made_worse"}
    assert text.count("<svg") == 1 + 1  # layers that stay as they are, and the lineage
    own = support.build(
        store, "evaluation/report", build_report, only, {**REPORT, "given": ["super"]}
    )
    assert "from Llama-3.3-70B &amp; more" in own.path("report.html").read_text()


def test_a_model_that_only_the_padded_form_holds_is_said_to_save_nothing(
    family: tuple[Store, dict[str, Artifact]], tiny_llama: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "gelu"
    shutil.copytree(tiny_llama, folder)
    values = json.loads((folder / "config.json").read_text())
    assert not only_padded(folder)
    (folder / "config.json").write_text(json.dumps({**values, "hidden_act": "gelu"}))
    store, artifacts = Store(tmp_path / "home"), dict(family[1])
    artifacts["sft"] = support.checkpoint(store, "super/sft", folder)
    text = {
        padded: overview(gather({**artifacts, "sft": sft}, REPORT))
        for padded, sft in ((True, artifacts["sft"]), (False, family[1]["sft"]))
    }
    assert "saves neither memory nor time" in text[True] and only_padded(folder)
    assert "saves neither" not in text[False]


def test_a_recipe_without_questions_is_reported_on(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "extends: [heirloom/single-gpu, heirloom/laptop]\nmodels: {m: {parent: bundled/super}}\n"
        "teacher: bundled/teacher\n"
        "sources: {text: {kind: text, path: 'python:docstrings', license: psf-2.0}}\n"
        "corpus: {mix: {text: 1}, tokens: 64K}\n"
        "side_by_side: {tokens: 1K, sequence_length: 256}\n"
    )
    made = {spec.key: spec for spec in specs(load_recipe(recipe))}
    assert list(made) == ["m/side_by_side", "evaluation/report"]
    read = set(made["evaluation/report"].inputs.values())
    assert {"m/parent", "m/assembled", "m/distilled"} < read
    assert not any("benchmarks" in key or "teacher" in key for key in read)


def scored(store: Store, checkpoint: str, *verdicts: str, chance: float) -> Artifact:
    """A checkpoint's answers to the benchmark `mc`, as `declared.py` stores them."""
    problems = [{"row_id": bytes([n]) * 16, "domain": "mc"} for n in range(len(verdicts))]
    answers = [
        Answer(problem, "", verdict, "")  # type: ignore[arg-type]
        for problem, verdict in zip(problems, verdicts, strict=True)
    ]
    share = verdicts.count("correct") / len(verdicts)
    measures = [
        Measure("accuracy", share, *wilson(share, len(verdicts)), len(verdicts), chance=chance),
        Measure("bits", 7.0, 6.5, 7.5, len(verdicts)),
    ]
    key = published.key(f"super/{checkpoint}", "mc")
    recipe = {"model": "super", "stage": checkpoint, "name": "mc", "asset_key": key}

    def build(*_: Any) -> Output:
        return Output(
            tables={
                "benchmarks": score_table(measures, recipe, "generate"),
                "answers": answer_table(answers, recipe, "benchmarks/mc"),
            }
        )

    return support.build(store, key, build, {}, recipe)


def test_declared_benchmarks_are_compared_with_the_parent_where_neither_is_at_chance(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "home")
    right, wrong = "correct", "incorrect"
    made = [
        scored(store, "parent", *[right] * 8, wrong, wrong, chance=0.25),
        scored(store, "sft", *[right] * 7, wrong, wrong, right, chance=0.25),
        scored(store, "last", *[right] * 3, *[wrong] * 7, chance=0.25),
    ]
    line = [("super", f"super/{name}", name) for name in ("parent", "sft", "last")]
    found = published.gathered({each.key: each for each in made}, line, ["mc"])
    rows = {row["stage"]: row for row in found["super"] if row["metric"] == "accuracy"}
    value, half = rows["sft"]["change"]
    assert (rows["parent"]["change"], rows["last"]["change"]) == (None, None)
    assert value == pytest.approx(0.0) and half == pytest.approx(1.96 * (2 / 9 / 10) ** 0.5, 1e-3)
    page = published.section(found)
    assert "80.0 (49.0 to 94.3)" in page and "25.0 %" in page
    assert f"+0.0 (-{100 * half:.1f} to +{100 * half:.1f})" in page
    assert page.count(", at chance") == 1 and "7.00 (6.50 to 7.50)" in page
    assert published.section({}) == ""


def test_targets_of_one_parent_stand_in_one_table_of_benchmarks(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    right, wrong = "correct", "incorrect"
    made = [
        scored(store, "parent", *[right] * 9, wrong, chance=0.25),
        scored(store, "raw", *[right] * 8, wrong, wrong, chance=0.25),
        scored(store, "small", *[right] * 7, *[wrong] * 3, chance=0.25),
    ]
    line = [("a", "super/parent", "parent"), ("a", "super/raw", "assembled")]
    line += [("b", "super/parent", "parent"), ("b", "super/small", "assembled")]
    found = published.gathered({each.key: each for each in made}, line, ["mc"])
    stages = [row["stage"] for row in found["a and b"] if row["metric"] == "accuracy"]
    assert list(found) == ["a and b"] and stages == ["parent", "a assembled", "b assembled"]
    assert "A and B" in published.section(found)


def test_text_that_a_parent_wrote_is_named(family: tuple[Store, dict[str, Artifact]]) -> None:
    store, artifacts = family
    recipe = REPORT | {"self_distilled": {"written": ["super", 160]}}
    made = support.build(store, "evaluation/report", build_report, artifacts, recipe)
    text = made.path("report.html").read_text()
    assert "Self-distillation" in text and "160 prompts" in text


def test_facts_compare_on_the_same_problems(family: tuple[Store, dict[str, Artifact]]) -> None:
    facts = gather(family[1], REPORT)
    parent, sft = facts.lines["super"]
    assert parent.change is None and sft.change is not None
    assert sft.parameters == parent.parameters == parameters(family[1]["parent"].path())
    assert sft.depths() == [1, 7] or set(sft.depths()) <= {1, 7}


@pytest.mark.parametrize(
    ("change", "word"), [(-0.2, "worse"), (-0.05, "lower"), (0.0, ""), (0.2, "")]
)
def test_a_stage_that_made_the_model_worse_is_marked(change: float, word: str) -> None:
    stage = Stage("m", "m/x", "x", 1, 2, [], [], {"on": (change, 0.1)})
    assert stage.worse("on") == word


def test_layers_are_shares_of_the_parent(tmp_path: Path) -> None:
    parent, child = tmp_path / "parent", tmp_path / "child"
    whole = {"num_hidden_layers": 2, "num_key_value_heads": 4, "intermediate_size": 100}
    blocks = [
        {
            "attention": {"kind": "full", "num_key_value_heads": 1},
            "ffn": {"kind": "full", "intermediate_size": 50},
        },
        {"attention": {"kind": "noop"}, "ffn": {"kind": "full", "intermediate_size": 300}},
        {"attention": {"kind": "linear"}, "ffn": {"kind": "noop"}},
    ]
    for folder, config in ((parent, whole), (child, {**whole, "block_configs": blocks})):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
    assert [(one.attention, one.ffn) for one in layers(parent, parent)] == [(1.0, 1.0)] * 2
    found = [(one.attention, one.ffn) for one in layers(child, parent)]
    assert found == [(0.25, 0.5), (0.0, 3.0), (0.15, 0.0)]


def test_lineage_follows_manifests_down_to_the_sources(
    family: tuple[Store, dict[str, Artifact]],
) -> None:
    store, artifacts = family
    nodes = ancestry(
        artifacts["sft_benchmarks"].manifest, lambda key: getattr(store.memo(key), "manifest", None)
    )
    assert [(node.key, node.column) for node in nodes] == [
        ("super/sft_benchmarks", 0),
        ("problems/held_out", 1),
        ("super/sft", 1),
        ("super/parent", 2),
    ]
    unknown = ancestry(artifacts["sft"].manifest, lambda key: None)
    assert [node.key for node in unknown] == ["super/sft", "super/parent"]


def test_an_input_behind_another_is_not_drawn() -> None:
    inputs = {"c": ("a", "b"), "b": ("a",), "a": ()}
    assert reduced("c", inputs) == ("b",)


@pytest.mark.parametrize("name", ["tiny", "smoke", "paper"])
def test_specs_benchmark_every_checkpoint_and_report_them(name: str) -> None:
    recipe = load_recipe(name, check_paths=False)
    made = specs(recipe)
    benchmarked = [spec.inputs["model"] for spec in made[:-1]]
    expected = [f"{m}/{a}" for m, model in recipe.models.items() for a in model.artifacts()]
    assert benchmarked == [*expected, "parents/teacher"]
    assert set(made[-1].inputs.values()) >= {spec.key for spec in made[:-1]}
    assert made[-1].reproducibility == "statistical"  # it shows measured seconds
    assert ("given" in made[-1].recipe) == (name == "paper")  # the others have stand-ins


def test_a_parent_of_a_users_own_is_no_stand_in() -> None:
    assert specs(load_recipe("smol", check_paths=False))[-1].recipe["given"] == ["smol", "smol76"]
