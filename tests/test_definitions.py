"""The definitions of the whole family: they load, all names in them exist, assets are dressed."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import dagster as dg
import pytest

from assets.catalog import STAGES, all_specs
from definitions import build_defs
from jobs.maintenance.asset_table import RECIPE, table
from resources.recipe.loading import load, names
from resources.store.building import find_source, nodes_of
from resources.store.spec import Spec
from warehouse.planning.planner import ordered

ROOT = Path(__file__).resolve().parents[1]

BASES = ("single-gpu", "questions", "laptop")  # to be extended: without a model of their own
RUNNABLE = [name for name in names() if name not in BASES]


@cache
def specs(recipe: str) -> list[Spec]:
    return all_specs(load(recipe, check_paths=False))


@cache
def functions(module: str) -> frozenset[str]:
    tree = ast.parse(find_source(module).read_text())
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return frozenset(found | {alias.name for node in imports for alias in node.names})


@pytest.mark.parametrize("recipe", RUNNABLE)
def test_every_name_exists(recipe: str) -> None:
    for spec in specs(recipe):
        for target in (spec.fn, *spec.checks):
            module, _, name = target.partition(":")
            assert name in functions(module), f"{spec.key}: {module} has no function {name}"


@pytest.mark.parametrize("recipe", RUNNABLE)
def test_inputs_are_made_and_come_first(recipe: str) -> None:
    if recipe == "smoke":
        nodes = nodes_of(specs("smoke"))
        assert len(ordered(nodes)) == len(nodes)
    keys = {spec.key for spec in specs(recipe)}
    for spec in specs(recipe):
        assert set(spec.reads()) <= keys, f"{spec.key} needs what nothing makes"


@pytest.mark.parametrize("recipe", RUNNABLE)
def test_every_checkpoint_of_every_line_is_made(recipe: str) -> None:
    loaded = load(recipe, check_paths=False)
    keys = {spec.key for spec in specs(recipe)}
    for name, model in loaded.models.items():
        line = {loaded.checkpoint_key(name, artifact) for artifact in model.artifacts()}
        assert line <= keys


def test_definitions_load_and_every_asset_is_dressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEIRLOOM_HOME", str(tmp_path))
    recipe = load("smoke", check_paths=False)
    defs = build_defs(recipe=recipe, specs=specs("smoke"))
    dg.Definitions.validate_loadable(defs)
    graph = defs.resolve_asset_graph()
    for spec in specs("smoke"):
        node = graph.get(dg.AssetKey(spec.key.split("/")))
        assert node.group_name == spec.stage and node.owners and node.code_version
        assert node.kinds, f"{spec.key} has no kind"
        assert node.description, f"{spec.key} has no description"
    assert {spec.stage for spec in specs("smoke")} == set(STAGES)
    assert {job.name for job in defs.resolve_all_job_defs()} >= {"family", *STAGES}
    assert not list(tmp_path.iterdir()), "loading the definitions wrote to the home"


@pytest.mark.parametrize("stage", STAGES)
def test_checks_guard_every_stage(stage: str) -> None:
    assert any(spec.checks for spec in specs("smoke") if spec.stage == stage)


def test_definitions_stay_short() -> None:
    assert len((ROOT / "definitions.py").read_text().splitlines()) <= 60


def test_the_table_of_assets_is_current() -> None:
    page = (ROOT / "docs" / "assets.md").read_text()
    assert page == table(specs(RECIPE)), "docs/assets.md is old: `make docs`"
