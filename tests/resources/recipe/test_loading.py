"""Recipes load, and every kind of mistake is refused in one line that says what would be right."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from resources.recipe.errors import RecipeError
from resources.recipe.loading import load, names
from resources.recipe.tree import Mark

WRITTEN_OUT = Path(__file__).parent / "written_out"  # smoke as it resolves
Edit = Callable[[str, str, str], Path]


@pytest.fixture
def edit(tmp_path: Path) -> Edit:
    """Copy a recipe without bases, with one replacement in one file; the old text must be there."""

    def make(file: str, old: str, new: str) -> Path:
        folder = tmp_path / "mine"
        if not folder.exists():
            shutil.copytree(WRITTEN_OUT, folder)
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))
        return folder

    return make


def refusal(folder: Path, check_paths: bool = False) -> str:
    with pytest.raises(RecipeError) as caught:
        load(folder, check_paths=check_paths)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_package_has_recipes_to_run_and_to_extend() -> None:
    assert names() == [
        "laptop", "paper", "practitioner", "questions", "single-gpu", "smoke", "smol", "tiny",
    ]  # fmt: skip
    with pytest.raises(RecipeError, match=r"single-gpu\.yaml:\d+: models: no model; extend it"):
        load("single-gpu")


@pytest.mark.parametrize("name", ["tiny", "smoke", "paper"])
def test_each_recipe_loads_with_its_models_in_order(name: str) -> None:
    recipe = load(name, check_paths=False)
    assert recipe.name == recipe.family.name == name
    assert list(recipe.models) == ["nano", "super", "ultra"]
    assert recipe.models["super"].artifacts() == [
        "parent", "assembled", "distilled", "sft", "rloo", "rpo",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["tiny", "smoke"])
def test_smoke_and_tiny_make_the_same_graph(name: str) -> None:
    lines = {n: m.artifacts() for n, m in load(name, check_paths=False).models.items()}
    assert lines["nano"] == ["parent", "sft_reasoning", "sft_mixed", "sft_chat", "rpo"]
    assert lines["ultra"] == [
        "parent", "assembled", "fused", "distilled", "continued", "sft", "grpo", "rloo", "rlhf",
    ]  # fmt: skip


def test_slices_are_plain_json_with_toggle_names_as_text() -> None:
    recipe = load("tiny", check_paths=False)
    stage = recipe.models["nano"].sft[1].model_dump(mode="json")
    assert stage["reasoning"] == ["on", "off"]
    assert stage["learning_rate"] == 7e-4
    assert recipe.family.problems["math"].model_dump(mode="json")["depths"]["1"] == 2
    assert set(recipe.family.own_benchmarks.model_dump(mode="json")) >= {"on", "off"}


def test_a_mark_changes_no_value(edit: Edit) -> None:
    folder = edit("ultra.yaml", "max_run: 4", 'max_run: {value: 4, source: "here §1"}')
    marked, plain = load(folder, check_paths=False), load("smoke", check_paths=False)
    assert marked.models["ultra"] == plain.models["ultra"]
    assert marked.marks["models.ultra.fusion.max_run"].mark == Mark(source="here §1")


def test_a_fourth_model_is_a_new_file_only(edit: Edit) -> None:
    folder = edit("nano.yaml", "name: nano", "name: nano")
    (folder / "mini.yaml").write_text(
        (folder / "nano.yaml").read_text().replace("name: nano", "name: mini")
    )
    assert list(load(folder, check_paths=False).models) == ["nano", "super", "ultra", "mini"]


@pytest.mark.parametrize(
    ("file", "old", "new", "where", "right"),
    [
        # keys
        ("nano.yaml", "    learning_rate:", "    learning_rat:",
         "nano.yaml: sft[0].learning_rat: unknown key", "did you mean 'learning_rate'?"),
        ("ultra.yaml", "fusion:", "fussion:",
         "ultra.yaml: fussion: unknown key", "did you mean 'fusion'?"),
        ("family.yaml", "seed: 20250502\n", "",
         "family.yaml: seed: missing key", "a whole number"),
        ("family.yaml", "discard_at: 0.75", "discard_up: 0.75",
         "family.yaml: pass_rates.discard_up: unknown key", "did you mean 'discard_at'?"),
        ("super.yaml", "  method: rpo_online\n", "",
         "super.yaml: preference.method: must be", "'rpo_offline', 'rpo_online' or 'grpo'"),
        ("super.yaml", "method: rpo_online", "method: dpo",
         "super.yaml: preference.method: must be", "found 'dpo'"),
        # ranges
        ("family.yaml", "discard_at: 0.75", "discard_at: 0",
         "family.yaml: pass_rates.discard_at: must be greater than 0", "found 0"),
        ("family.yaml", "top_p: 0.95", "top_p: 1.2",
         "family.yaml: generation.top_p: must be less than or equal to 1", "found 1.2"),
        ("nano.yaml", "warmup_ratio: 0.1", "warmup_ratio: 10",
         "nano.yaml: sft[0].warmup_ratio: must be less than 1", "found 10"),
        ("nano.yaml", "learning_rate: 1e-3", "learning_rate: -1e-3",
         "nano.yaml: sft[0].learning_rate: must be greater than 0", "found -0.001"),
        ("nano.yaml", "learning_rate: 1e-3", "learning_rate: fast",
         "nano.yaml: sft[0].learning_rate: must be a number", "found 'fast'"),
        ("nano.yaml", "packed: true", "packed: yes",
         "nano.yaml: sft[0].packed: must be true or false", "found 'yes'; write true"),
        ("nano.yaml", "min_learning_rate: 1e-4", "min_learning_rate: 1e-2",
         "nano.yaml: sft[0]: min_learning_rate 0.01 is above", "at most that"),
        ("super.yaml", "max_noops: null", "max_noops: -1",
         "super.yaml: puzzle.search.max_noops: must be greater than or equal to 0", "found -1"),
        # batches and weights
        ("nano.yaml", "batch_tokens: 1024", "batch_tokens: 1000",
         "nano.yaml: sft[0]: batch_tokens 1000 is not a multiple", "768 would be"),
        ("nano.yaml", "    epochs: 1\n", "    epochs: 1\n    tokens: 5\n",
         "nano.yaml: sft[0]: give exactly one of", "'tokens' and 'epochs'"),
        ("ultra.yaml", "batch_size: 8\n  updates_per_rollout: 2",
         "batch_size: 9\n  updates_per_rollout: 2",
         "ultra.yaml: grpo: prompts_per_step x samples = 16", "batch_size 8 would be right"),
        ("ultra.yaml", "samples: 4\n  batch_size: 8\n  temp",
         "samples: 4\n  batch_size: 9\n  temp",
         "ultra.yaml: preference: batch_size 9 is not a multiple of samples 4", "8 would be"),
        ("nano.yaml", "{math: 1, code: 1, science: 1}", "{math: 0, code: 0}",
         "nano.yaml: sft[0].domains: domains weights sum to 0", "positive weight"),
        ("ultra.yaml", "{accuracy: 1.0, format: 0.2}", "{accuracy: 0, format: 0}",
         "ultra.yaml: grpo.reward: reward weights sum to 0", "positive weight"),
        # names
        ("nano.yaml", "{math: 1, code: 1, science: 1}", "{math: 1, codes: 1}",
         "nano.yaml: sft[0].domains.codes: no domain 'codes'", "did you mean 'code'?"),
        ("family.yaml", "  tools: {prompts: 16, samples_on: 1, samples_off: 1}\n", "",
         "nano.yaml: sft[2].domains: no SFT data for domain 'tools'", "family.sft_data"),
        ("family.yaml", "kinds: {}", "kinds: {chains: 1}",
         "family.yaml: problems.math.kinds: no kind 'chains'", "did you mean 'chain'?"),
        ("family.yaml", "depths: {1: 3, 2: 1}", "depths: {7: 1}",
         "family.yaml: problems.math.depths: 7 is only held out", "training stops at 6"),
        ("family.yaml", "artifact: sft", "artifact: sftt",
         "family.yaml: pass_rates.artifact: super makes no 'sftt'", "did you mean 'sft'?"),
        ("family.yaml", "model: super", "model: supper",
         "family.yaml: pass_rates.model: no model 'supper'", "did you mean 'super'?"),
        ("family.yaml", "off_generator: super", "off_generator: supper",
         "family.yaml: off_generator: no model 'supper'", "did you mean 'super'?"),
        ("nano.yaml", "name: nano", "name: nanno",
         "nano.yaml: name: 'nanno' differs from the name", "write 'nano'"),
        ("nano.yaml", "  - name: sft_mixed", "  - start_from: distiled\n    name: sft_mixed",
         "nano.yaml: !models.nano: sft stage 'sft_mixed' starts from 'distiled'", "parent"),
        ("nano.yaml", "name: sft_mixed", "name: sft_reasoning",
         "nano.yaml: !models.nano: two stages are named 'sft_reasoning'", "once"),
        # search
        ("super.yaml", "limits: {parameters: 0.8", "limits: {parameter: 0.8",
         "super.yaml: puzzle.search.limits: no column 'parameter'", "did you mean 'parameters'?"),
        ("super.yaml", "parameters: 0.8", "parameters: 1.8",
         "super.yaml: puzzle.search.limits: parameters 1.8 is above 1", "{max: 1.8}"),
        ("super.yaml", "parameters: 0.8", "parameters: {max: 5, min: 6}",
         "super.yaml: puzzle.search.limits.parameters: min 6 is above max 5", "swap"),
        ("super.yaml", "fixed: []", "fixed: [{layer: 0, attention: noop}]",
         "super.yaml: puzzle.search.fixed: layer 0 cannot have noop attention", "another variant"),
        ("super.yaml", "forbidden: [{layer: 0, attention: noop}]",
         "forbidden: [{layer: 0, attention: full}]",
         "super.yaml: puzzle: search.forbidden leaves layer 0 only noop", "allow it a real one"),
        ("super.yaml", "forbidden: [{layer: 0, attention: noop}]",
         "forbidden: [{layer: 0, attention: kv_2}]",
         "super.yaml: puzzle: search.forbidden names attention 'kv_2', which", "allowed: full"),
        ("super.yaml", "ffn: [full, ratio_50]", "ffn: [full, half]",
         "super.yaml: puzzle.library: ffn has no variant 'half'", "ratio_<percent>"),
        ("super.yaml", "attention: [full, noop]", "attention: [noop]",
         "super.yaml: puzzle.library: attention must include 'full'", "parent's own block"),
        ("ultra.yaml", "windows: null", "windows: [[4, 6], [6, 8]]",
         "ultra.yaml: fusion.windows: [6, 8] overlaps", "disjoint"),
        # execution
        ("execution.yaml", "engine: transformers", "engine: transformer",
         "execution.yaml: engine: must be", "'vllm' or 'replay', found 'transformer'"),
        ("execution.yaml", "threads: 2", "thread: 2",
         "execution.yaml: thread: unknown key", "did you mean 'threads'?"),
        # marks and YAML
        ("ultra.yaml", "max_run: 4", "max_run: {value: 4}",
         "ultra.yaml: fusion.max_run: a marked value has exactly two keys", "'source'"),
        ("ultra.yaml", "max_run: 4", "max_run: {value: 4, source: ''}",
         "ultra.yaml: fusion.max_run.source: must say", "where the value comes from"),
        ("ultra.yaml", "max_run: 4", "max_run: 4\n  max_run: 5",
         "ultra.yaml: !key 'models.ultra.fusion.max_run' stands twice", "keep one"),
        ("ultra.yaml", "max_run: 4", "max_run: [4",
         "ultra.yaml: !column ", "not valid YAML"),
        ("ultra.yaml", "fusion:\n", "fusion: 3\nrest:\n",
         "ultra.yaml: rest: unknown key 'rest'", "1 more"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place_and_its_cure(
    edit: Edit, file: str, old: str, new: str, where: str, right: str
) -> None:
    message = refusal(edit(file, old, new))
    assert re.search(place(where), message), message
    assert right in message


def place(where: str) -> str:
    """A pattern for "file: key path there: what" as messages show it, with line and whole path."""
    file, _, rest = where.partition(": ")
    stem = file.removesuffix(".yaml")
    start = {"family": "", "execution": "execution."}.get(stem, f"models.{stem}.")
    rest = rest if rest[:1] in ("", "!") else start + rest
    return re.escape(file) + r":\d+: " + re.escape(rest.removeprefix("!"))


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'tinny'; did you mean 'tiny'\?"):
        load("tinny")


def test_a_folder_without_family_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"a folder needs family\.yaml"):
        load(tmp_path)


def test_a_missing_parent_path_is_refused_with_its_key(edit: Edit, tmp_path: Path) -> None:
    folder = edit("family.yaml", "teacher: bundled/teacher", "teacher: org/teacher")
    edit("nano.yaml", "parent: bundled/nano", "parent: ./absent")
    message = refusal(folder, check_paths=True)
    assert re.search(place("nano.yaml: parent: no folder"), message)
    assert "hub id org/name" in message
    (folder / "absent").mkdir()
    assert "has no config.json; give a folder in" in refusal(folder, check_paths=True)
    for name, said in (
        ("m.gguf", "name the GGUF file itself, m.gguf"),
        ("adapter_config.json", "it holds an adapter: merge it into its model"),
    ):
        (folder / "absent" / name).touch()
        assert f"has no config.json; {said}" in refusal(folder, check_paths=True)


def test_hub_ids_are_not_looked_up() -> None:
    assert str(load("paper").parent_source("org/name@v1")) == "org/name@v1"


def test_a_path_that_is_none_is_refused(edit: Edit) -> None:
    folder = edit("family.yaml", "teacher: bundled/teacher", "teacher: a/b/c")
    message = refusal(folder, check_paths=True)
    assert re.search(
        place("family.yaml: teacher: 'a/b/c' is no hub id, which is org/name; a folder"), message
    )
