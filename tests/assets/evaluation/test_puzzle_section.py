"""The report's Puzzle section: what artifacts show is on the page, what is missing is left out."""

from __future__ import annotations

import base64
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pytest

from assets.evaluation.assets import specs
from assets.evaluation.checks import report_self_contained
from assets.evaluation.page import equal_size, front
from assets.evaluation.page.decision import decided
from assets.evaluation.page.exhibits import ASSETS, Exhibit, exhibits
from assets.evaluation.page.facts import Facts
from assets.evaluation.page.lineage import Node
from assets.evaluation.page.puzzle import section
from assets.evaluation.page.ways import BY_HAND
from assets.evaluation.report import page
from assets.puzzle import pictures
from assets.puzzle.assets import specs as puzzle_specs
from assets.puzzle.fusing.tests import TEST_SCHEMA
from assets.puzzle.study import BASELINE_SCHEMA
from resources.recipe.loading import load as load_recipe
from tests.assets.evaluation.test_report import Page
from tests.assets.rl import support
from warehouse.store import Artifact, Output, Store

STRIP = pictures.architecture_strip("ultra", [1, 0, 0], [1, 0.5, 3.5], [False, False, True])
FRONT = pictures.pareto_front("ultra", "parameters", [1, 2], [3, 1], (2, 1))
DEPENDENT = {"kl_sequential": 0.2, "kl_reversed": 0.5, "kl_parallel": 0.6, "kl_last_norm": 0.61}
CALM = {"kl_sequential": 0.2, "kl_reversed": 0.201, "kl_parallel": 0.199, "kl_last_norm": 0.3}
TESTS = [
    {"run": [1, 2, 3], "ci_low": 0.3, "ci_high": 0.5, **DEPENDENT}
    | {"last_norm_ci_low": -0.02, "last_norm_ci_high": 0.04},
    {"run": [5, 6], "ci_low": -0.01, "ci_high": 0.01, **CALM}
    | {"last_norm_ci_low": 0.05, "last_norm_ci_high": 0.15},
]
TIMES = {
    "prefill_seconds_before": 0.02,
    "prefill_seconds_after": 0.019,
    "decode_seconds_before": 0.004,
    "decode_seconds_after": 0.003,
}


def baseline(model: str, method: str, kl: float, share: float) -> dict[str, object]:
    row = {"model": model, "method": method, "objective": kl, "kl": kl, "feasible": True}
    row |= {"ci_low": kl - 0.1, "ci_high": kl + 0.1, "above_search": kl - 0.5, "perplexity": 20.0}
    row |= {"above_low": kl - 0.6, "above_high": kl - 0.4}
    row |= {"perplexity_low": 18.0, "perplexity_high": 22.5}
    return row | {"parameters": int(2_000_000 * share), "parameters_share": share}


def baselines(model: str, share: float) -> pa.Table:
    """The search, two worse choices and one that does not reach the limits."""
    rows = [
        baseline(model, "search", 0.5, share),
        baseline(model, "marginal greedy", 0.7, share - 0.01),
        {"model": model, "method": "contiguous depth", "feasible": False},
        baseline(model, "random 1", 3.0, share - 0.01),
        baseline(model, "random 2", 2.0, share),
    ]
    return pa.Table.from_pylist(rows, schema=BASELINE_SCHEMA)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Ultra's architecture and fused checkpoint, and a checkpoint without any of it."""
    store = Store(tmp_path_factory.mktemp("home"))
    shares = {f"cost_{index}_share": 0.5 for index in range(8)}
    rows = [dict.fromkeys(TEST_SCHEMA.names) | row for row in TESTS]
    outputs = {
        "ultra/architecture": Output(
            images={"architecture": STRIP, "pareto": FRONT},
            metrics={"kl": 0.1234, "parameters": 1.94e6, "proven": 1.0, **shares},
        ),
        "ultra/fused": Output(
            tables={"fusion_tests": pa.Table.from_pylist(rows, schema=TEST_SCHEMA)},
            metrics={"kl": 0.5},
            observations={**TIMES, "latency_setting": {"tokens": 8}, "seconds": 3.0},
        ),
        "nano/parent": Output(metrics={"kl": 0.0}),
    }
    return {key: support.publish(store, key, output) for key, output in outputs.items()}


def test_pictures_and_numbers_are_on_the_page(artifacts: dict[str, Artifact]) -> None:
    found = exhibits(artifacts, ["ultra", "nano"])
    assert {model: [one.asset for one in line] for model, line in found.items()} == {
        "ultra": ["architecture", "fused"]
    }
    html = section(found)
    assert base64.b64encode(FRONT).decode() in html
    assert base64.b64encode(STRIP).decode() not in html  # the page draws layers itself
    for words in ("50.0 %", "Ultra: FFN Fusion", "cost 7, of the parent's"):
        assert words in html
    assert "The sum of scores decided: 0.123 nats a token, proven the least" in html
    assert "Predicted and measured" not in html and "candidates" not in html


def choice(method: str, summed: float, kl: float) -> dict[str, object]:
    row = {"model": "m", "method": method, "objective": summed, "kl": kl, "parameters": 1_000_000}
    return row | {"ci_low": kl - 0.05, "ci_high": kl + 0.05, "chosen": False}


def test_it_is_said_what_decided() -> None:
    """True KL, rounds, or the sum alone; with sum and truth of the choice and of the least sum."""
    numbers = {"kl": 0.54, "proven": 1.0, "measured_kl": 0.51}
    tried = [choice("re-scored steps", 0.54, 0.51), choice("search", 0.34, 0.58)]
    tried += [choice("search, 2", 0.35, 0.6), choice("best uniform", 0.75, 1.03)]
    chosen = Exhibit("architecture", {}, numbers, tried=tried, objective="kl")
    study = Exhibit("search_study", {}, {}, baselines=[baseline("m", "search", 0.44, 0.84)])
    said = decided(chosen, [chosen, study])
    assert said == (
        "True KL decided among 4 candidates: re-scored steps has the least, 0.510 (0.460 to 0.560) "
        "nats a token, where its scores sum to 0.540. The least sum of scores, 0.340, "
        "gives 0.580. On text that no stage saw, the choice has a true KL of 0.440 "
        "(0.340 to 0.540)."
    )
    html = section({"m": [chosen]})
    assert "least sum of scores, no. 2" in html and "proven" not in html
    assert html.count("<dt>best uniform</dt>") == 1 and "marginal greedy" not in html
    twice = section({"m": [chosen, study], "n": [chosen]})  # said once, not for each model
    assert twice.count("<dt>re-scored steps</dt>") == twice.count("<dt>best uniform</dt>") == 1
    cut = Exhibit("search_study", {}, {}, baselines=[baseline("m", "best uniform", 1.0, 0.84)])
    assert "<dt>best uniform</dt>" not in section({"m": [chosen, cut]})
    first = Exhibit("architecture", {}, numbers, tried=[tried[1]], objective="kl")
    assert "The least sum" not in decided(first, [first])
    rounds = Exhibit("architecture", {}, {"kl": 0.6, "rounds_kl": 0.5}, objective="kl")
    assert "true KL 0.500 nats a token where scores are measured" in decided(rounds, [rounds])
    other = Exhibit("architecture", {}, {"accuracy_lost": 0.6}, objective="accuracy_lost")
    assert "0.600 accuracy lost, the least that was found" in decided(other, [other])


def test_correlations_of_too_few_assemblies_are_left_out() -> None:
    numbers = {"spearman": 0.5, "pearson": 0.25, "search_kl": 0.4, "assemblies": 8.0}
    html = section({"m": [Exhibit("search_study", {}, numbers)]})
    assert "rank correlation of sum and true KL" in html and "search kl" not in html
    html = section({"m": [Exhibit("search_study", {}, numbers | {"assemblies": 2.0})]})
    assert "correlation" not in html and "random assemblies" in html


def test_runs_say_what_is_within_noise(artifacts: dict[str, Artifact]) -> None:
    html = section(exhibits(artifacts, ["ultra"]))
    assert "<td>1 to 3</td>" in html and "<td>5 to 6</td>" in html
    assert "+0.400 (+0.300 to +0.500)" in html
    assert "+0.010 (-0.020 to +0.040), within noise" in html
    assert "-0.001 (-0.010 to +0.010), within noise" in html
    assert "+0.101 (+0.050 to +0.150)" in html
    # a token in 3 ms and no longer in 4
    assert "25.0 %" in html


def test_every_way_to_choose_stands_in_one_table_with_paired_differences(tmp_path: Path) -> None:
    """Two models of one library share a picture and a table; another library has its own."""
    store = Store(tmp_path)
    made = {}
    for model, share, library in (("ultra", 0.9, "ultra"), ("half", 0.5, "ultra"), ("o", 0.8, "o")):
        scores = support.publish(store, f"{library}/block_scores", Output(metrics={"kl": 1.0}))
        ends = {"": 9.0, "_low": 8.0, "_high": 10.5}
        output = Output(
            tables={"search_baselines": baselines(model, share)},
            metrics={f"parent_perplexity{end}": value for end, value in ends.items()},
        )
        key = f"{model}/search_study"
        made[key] = support.build(
            store, key, lambda *_, it=output: it, {"block_scores": scores}, {}
        )
    found = exhibits(made, ["ultra", "half", "o"])
    html = equal_size.section(found)
    assert html.count("cut in other ways") == html.count("<svg") == html.count("<table") == 2
    assert "Ultra and Half: chosen, and cut in other ways" in html
    assert html.count("random, best of 2") == 3 + 3 + 2  # lines, titles of marks, legends
    for words in (
        "+0.200 (+0.100 to +0.300)",
        "none within the limits",
        "(the parent, 2.00 M)",
        "90.0 %",
    ):
        assert words in html
    assert "20.0 (18.0 to 22.5)" in html and html.count("9.00 (8.00 to 10.5)") == 3
    assert html.count("<dt>marginal greedy</dt>") == 1 and "depth by influence" not in html
    assert "<svg" not in section(found)  # and nowhere else
    rows = [row for artifact in made.values() for row in _rows(artifact)]
    kept = front.best([row for row in rows if row["feasible"]])
    assert [(row["model"], row["kl"]) for row in kept] == [("half", 0.7), ("half", 0.5)]
    assert equal_size.section({}) == ""


@pytest.mark.parametrize("models", [1, 2, 6])
def test_the_front_is_legible_with_few_and_many_models(models: int) -> None:
    ways = ("search", "best uniform", "depth by influence", "random 1", "max parameters")
    rows = [
        baseline(f"m{n}", way, 0.3 + 0.2 * place + 0.1 * n, 0.9 - 0.08 * n - 0.001 * place)
        for n in range(models)
        for place, way in enumerate(ways)
    ]
    root = ElementTree.fromstring(front.picture(rows))
    width, height = (float(root.get(each, "")) for each in ("width", "height"))
    labels = [each for each in root.iter("text") if each.get("class") == "number"]
    assert [each.text for each in labels] == ["what was chosen", *ways[1:3], "random", ways[4]]
    heights = [float(each.get("y", "")) for each in labels]
    assert all(after - before >= 14 for before, after in pairwise(heights))
    assert max(heights) < height - front.BOTTOM
    marks = [*root.iter("circle"), *root.iter("polygon")]
    assert len(marks) == models * len(ways) + len(ways)
    for bar in (each for each in root.iter("line") if each.get("class") == "interval"):
        x, top, bottom = (float(bar.get(each, "")) for each in ("x1", "y1", "y2"))
        assert front.LEFT < x < width - front.RIGHT
        assert front.TOP <= top <= bottom <= height - front.BOTTOM
    names = [each for each in root.iter("text") if each.get("class") == "named"]
    assert [each.text for each in names] == [f"m{n}" for n in reversed(range(models))]
    places = [float(each.get("x", "")) for each in names]
    assert all(after - before > 16 for before, after in pairwise(sorted(places)))


def test_a_choice_is_set_against_the_best_cut_by_hand_and_the_best_other_way() -> None:
    rows = [baseline("m", way, kl, 0.8) for way, kl in (("search", 0.5), ("best uniform", 0.9))]
    rows.append(baseline("m", "contiguous depth", 0.8, 0.8))
    rows.append(baseline("m", "paper greedy", 0.45, 0.8))
    assert equal_size.won(rows, BY_HAND) == "+0.300 (+0.200 to +0.400) · contiguous depth"
    assert equal_size.won(rows) == "-0.050 (-0.150 to +0.050), within noise · paper greedy"
    assert equal_size.won(rows[:1]) == ""


def _rows(artifact: Artifact) -> list[dict[str, Any]]:
    return [*artifact.table("search_baselines").to_pylist()]


def test_the_page_holds_it_all(artifacts: dict[str, Artifact], tmp_path: Path) -> None:
    nodes = [Node("ultra/fused", "puzzle", "0", 0, ())]
    facts = Facts("test", {}, {}, puzzle=exhibits(artifacts, ["ultra"]))
    html = page(facts, nodes)
    reader = Page()
    reader.feed(html)
    assert not reader.open
    assert reader.tags.count("img") == 1
    assert 'href="#puzzle"' in html
    (tmp_path / "report.html").write_text(html)
    store = Store(tmp_path / "home")
    made = support.publish(
        store, "evaluation/report", Output(files={"report.html": tmp_path / "report.html"})
    )
    assert report_self_contained(made, {}).passed
    assert "Puzzle" not in page(Facts("test", {}, {}), nodes)


@pytest.mark.parametrize("name", ["tiny", "smoke", "paper"])
def test_the_report_reads_what_the_stage_makes(name: str) -> None:
    recipe = load_recipe(name, check_paths=False)
    (report,) = [spec for spec in specs(recipe) if spec.key == "evaluation/report"]
    made = {spec.key for spec in puzzle_specs(recipe)}
    wanted = {key for key in made if key.split("/")[1] in ASSETS}
    assert wanted <= set(report.inputs.values())
    for model, parts in recipe.models.items():
        there = parts.puzzle is not None
        for asset in ("architecture", "block_scores"):
            assert (f"{model}/{asset}" in report.inputs.values()) == there
