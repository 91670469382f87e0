"""Machines that cannot isolate programs: said before anything is built, and built without them."""

from __future__ import annotations

import pytest

from assets.catalog import all_specs
from jobs import cli
from jobs.planning import programs
from resources.recipe.loading import load
from resources.store.home import Home
from resources.verifiers import code, dispatch
from resources.verifiers.programs import sandbox
from resources.verifiers.programs.sandbox import SandboxUnavailable

JUDGING = {
    "sft_data/code_verdicts", "rl_data/pass_rates", "rl_data/reward_model",
    "nano/preference_pairs", "ultra/grpo",
}  # fmt: skip


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without isolation."""

    def refuse() -> None:
        raise SandboxUnavailable("cannot isolate untrusted programs here (no way)")

    monkeypatch.setattr(sandbox, "shared", refuse)


@pytest.mark.parametrize("options", [["--dry-run"], []])
def test_a_run_says_so_before_anything_is_built(
    nowhere: None, home: Home, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    folder = str(home.path)
    assert cli.main(["run", "--recipe", "smoke", "--home", folder, *options]) == cli.FAILURE
    said = capsys.readouterr().err
    assert "cannot isolate untrusted programs here (no way)" in said
    assert f" {programs.FLAG}`" in said and len(said.strip().splitlines()) == 1
    assert not list(home.path.glob("lake/**/*.parquet"))


def test_what_runs_no_program_is_not_refused(nowhere: None) -> None:
    recipe = load("smoke")
    specs = all_specs(recipe)
    judging = {spec.key for spec in specs if spec.runs_programs}
    assert judging >= JUDGING
    others = {spec.key for spec in specs} - judging
    assert programs.refused(recipe, specs, others) is None
    assert programs.refused(recipe, specs, judging) is not None


def test_other_libraries_enter_the_key_of_what_runs_programs_alone() -> None:
    usual = {spec.key: spec for spec in all_specs(load("smoke"))}
    other = all_specs(load("smoke", ("libraries=[numpy, pandas]",)))
    changed = {spec.key for spec in other if spec.recipe != usual[spec.key].recipe}
    assert changed == {key for key, spec in usual.items() if spec.runs_programs}
    with code.judging(libraries=["numpy", "pandas"]):
        assert code.running() == {"programs": "run", "libraries": ["numpy", "pandas"]}
    assert code.running()["libraries"] == ["numpy"]


def test_the_flag_enters_the_key_of_what_judges_programs_and_of_nothing_else(nowhere: None) -> None:
    usual = {spec.key: spec for spec in all_specs(load("smoke"))}
    recipe = load("smoke", (programs.OVERRIDE,))
    without = {spec.key: spec for spec in all_specs(recipe)}
    changed = {key for key, spec in without.items() if spec.recipe != usual[key].recipe}
    judging = {key for key, spec in usual.items() if spec.runs_programs}
    blends = {key for key in usual if key.endswith("_blend")}
    assert judging <= changed <= judging | blends
    for key in changed:
        asked = without[key].recipe
        if key in blends or key.endswith("_benchmarks"):
            assert "code" in usual[key].recipe["domains"] and "code" not in asked["domains"]
        else:
            assert asked == {**usual[key].recipe, "programs": "unjudged"}
    assert not any("programs" in spec.recipe for spec in usual.values())
    assert programs.refused(recipe, without.values(), set(without)) is None


def test_programs_that_are_not_run_are_unknown(nowhere: None) -> None:
    row = {"domain": "code", "question": "", "expected_answer": "", "tests": "assert f() == 1"}
    answer = "```python\ndef f():\n    return 1\n```"
    with code.judging("unjudged"):
        found = dispatch.verify_many([row, row], [answer, "no program"], ["off", "off"])
    assert [one.verdict for one in found] == ["unknown", "unknown"]
    assert "leaves programs unjudged" in found[0].evidence
    with pytest.raises(SandboxUnavailable):
        dispatch.verify_many([row], [answer], ["off"])
