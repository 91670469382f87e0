"""The report's Puzzle section: what artifacts show is on the page, what is missing is left out."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.evaluation import front
from assets.evaluation.assets import specs
from assets.evaluation.checks import report_self_contained
from assets.evaluation.facts import Facts
from assets.evaluation.lineage import Node
from assets.evaluation.puzzle import ASSETS, exhibits, section
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
    for picture in (STRIP, FRONT):
        assert base64.b64encode(picture).decode() in html
    for words in ("1.94 M", "50.0 %", "<dd>yes</dd>", "Ultra: FFN Fusion", "cost 7 share"):
        assert words in html
    assert "Predicted and measured" not in html


def test_runs_say_what_is_within_noise(artifacts: dict[str, Artifact]) -> None:
    html = section(exhibits(artifacts, ["ultra"]))
    assert "<td>1 to 3</td>" in html and "<td>5 to 6</td>" in html
    assert "+0.4 (+0.3 to +0.5)" in html
    assert "+0.01 (-0.02 to +0.04, within noise)" in html
    assert "-0.001 (-0.01 to +0.01, within noise)" in html
    assert "+0.101 (+0.05 to +0.15)" in html
    # a token in 3 ms and no longer in 4
    assert "25.0 %" in html


def test_every_way_to_choose_stands_on_one_front_with_paired_differences(tmp_path: Path) -> None:
    """Two models of one library share a picture; another library has one of its own."""
    store = Store(tmp_path)
    made = {}
    for model, share, library in (("ultra", 0.9, "ultra"), ("half", 0.5, "ultra"), ("o", 0.8, "o")):
        scores = support.publish(store, f"{library}/block_scores", Output(metrics={"kl": 1.0}))
        output = Output(tables={"search_baselines": baselines(model, share)})
        key = f"{model}/search_study"
        made[key] = support.build(
            store, key, lambda *_, it=output: it, {"block_scores": scores}, {}
        )
    html = section(exhibits(made, ["ultra", "half", "o"]))
    assert html.count("measured KL by size") == html.count("<svg") == 2
    assert "Ultra and Half: measured KL by size" in html
    assert html.count("best of random") == 6  # a dot's title and a label each
    assert "+0.2 (+0.1 to +0.3)" in html and "none within the limits" in html
    assert "1.80 M (90.0 %)" in html and "random, 2 times" in html
    rows = [row for artifact in made.values() for row in _rows(artifact)]
    kept = front.best([row for row in rows if row["feasible"]])
    assert [(row["model"], row["kl"]) for row in kept] == [("half", 0.7), ("half", 0.5)]


def _rows(artifact: Artifact) -> list[dict[str, Any]]:
    return [*artifact.table("search_baselines").to_pylist()]


def test_the_page_holds_it_all(artifacts: dict[str, Artifact], tmp_path: Path) -> None:
    nodes = [Node("ultra/fused", "puzzle", "0", 0, ())]
    facts = Facts("test", {}, {}, puzzle=exhibits(artifacts, ["ultra"]))
    html = page(facts, nodes)
    reader = Page()
    reader.feed(html)
    assert not reader.open
    assert reader.tags.count("img") == 2
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
