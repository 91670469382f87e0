"""Recipes extend recipes: merging, sharing, one file, overrides, and where a value comes from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.recipe.errors import RecipeError
from resources.recipe.loading import examine, load
from resources.recipe.reading.overrides import anchored, split
from resources.recipe.reading.sharing import spread
from resources.recipe.tree import Node, Origin, merge, plain, put, swept

Write = Callable[[str, str], Path]
HERE = Origin("here")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return make


def grown(data: object) -> Node:
    if isinstance(data, dict):
        return Node({key: grown(value) for key, value in data.items()}, HERE)
    if isinstance(data, list):
        return Node([grown(value) for value in data], HERE)
    return Node(data, HERE)


@pytest.mark.parametrize(
    ("base", "over", "wanted"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"b": 1}}, {"a": 2}, {"a": 2}),
        ({"a": 2}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": {"b": 1}}, {"a": {"c": None}}, {"a": {"b": 1, "c": None}}),
        ({"a": None}, {"a": None}, {"a": None}),
        # Two forms of one section: the one that is written last stands alone.
        (
            {"documents": 9, "max_tokens": 8},
            {"mix": {"a": 1}, "tokens": 7},
            {"mix": {"a": 1}, "tokens": 7},
        ),
        (
            {"domains": {"math": 1}, "samples": 2},
            {"mix": {"a": 1}},
            {"samples": 2, "mix": {"a": 1}},
        ),
    ],
)
def test_mappings_merge_and_the_rest_replaces(base: object, over: object, wanted: object) -> None:
    assert plain(swept(merge(grown(base), grown(over)))) == wanted


def test_an_override_of_another_form_stands_alone_too() -> None:
    base = grown({"sft": [{"domains": {"math": 1}, "samples": 2}]})
    made = put(base, ("sft", 0, "mix"), grown({"a": 1}))
    assert plain(swept(made)) == {"sft": [{"samples": 2, "mix": {"a": 1}}]}


TREES = st.recursive(
    st.integers(0, 3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(TREES, TREES)
def test_merging_the_same_again_changes_nothing(low: object, high: object) -> None:
    base, over = grown({"a": low}), grown({"a": high})
    once = merge(base, over)
    assert plain(merge(once, over)) == plain(once)
    assert plain(merge(base, grown({}))) == plain(base)


def test_a_recipe_of_one_file_over_a_bundled_one(write: Write) -> None:
    path = write(
        "mine.yaml",
        "extends: heirloom/smoke\nmodels:\n  nano: null\n  super: {distillation: {tokens: 4K}}\n",
    )
    mine, smoke = load(path), load("smoke")
    assert (mine.name, mine.family.name) == ("mine", "mine")
    assert list(mine.models) == ["super", "ultra"]
    assert mine.models["ultra"] == smoke.models["ultra"]
    changed, before = mine.models["super"].distillation, smoke.models["super"].distillation
    assert changed is not None and before is not None
    assert changed.tokens == 4_000
    assert changed.model_copy(update={"tokens": before.tokens}) == before
    where = mine.tree.at(("models", "super", "distillation", "tokens"))
    assert where is not None and str(where.origin).endswith("mine.yaml:4")
    inherited = mine.tree.at(("models", "ultra", "parent"))
    assert inherited is not None
    assert str(inherited.origin).startswith("heirloom/")


def test_later_bases_go_over_earlier_ones(write: Write) -> None:
    write("low.yaml", "execution: {threads: 3, micro_batch: 7}\n")
    write("high.yaml", "execution: {threads: 4}\n")
    path = write("mine.yaml", "extends: [heirloom/smoke, ./low.yaml, ./high]\n")
    execution = load(path).execution
    assert (execution.threads, execution.micro_batch) == (4, 7)


def test_moving_a_value_into_a_base_changes_no_slice(write: Write) -> None:
    body = "models: {super: {parent: ./parents/s, distillation: {learning_rate: 2e-4}}}\n"
    whole = load(write("a/mine.yaml", "extends: heirloom/smoke\n" + body), check_paths=False)
    write(
        "bases/base.yaml", "extends: heirloom/smoke\n" + body.replace("./parents", "../a/parents")
    )
    over = load(write("a/other.yaml", "extends: ../bases/base.yaml\n"), check_paths=False)
    assert over.models == whole.models
    assert over.parent_source(over.models["super"].parent) == whole.parent_source(
        whole.models["super"].parent
    )


def test_what_reinforcement_says_goes_before_the_optimizer_and_behind_the_section() -> None:
    root = grown(
        {
            "optimizer": {"schedule": "cosine", "betas": [0.9, 0.95]},
            "reinforcement": {"schedule": "constant", "temperature": 1.0},
            "models": {"a": {"rloo": {"temperature": 0.7}, "distillation": {}}},
        }
    )
    assert plain(swept(spread(root))) == {
        "models": {
            "a": {
                "rloo": {"schedule": "constant", "betas": [0.9, 0.95], "temperature": 0.7},
                "distillation": {"schedule": "cosine", "betas": [0.9, 0.95]},
            }
        }
    }
    shared = load("smoke", ["reinforcement.temperature=0.5", "optimizer.weight_decay=0.3"])
    assert shared.models["ultra"].rloo.temperature == 0.5  # type: ignore[union-attr]
    assert shared.models["ultra"].distillation.weight_decay == 0.3  # type: ignore[union-attr]
    with pytest.raises(RecipeError, match="did you mean 'temperature'"):
        load("smoke", ["reinforcement.temprature=0.5"])
    with pytest.raises(RecipeError, match=r"reinforcement\.kl_beta: unknown key"):
        spread(grown({"reinforcement": {"kl_beta": 0.1}, "models": {}}))


def test_what_each_and_optimizer_say_stands_under_all() -> None:
    learning = {"learning_rate": 1e-3, "weight_decay": 0.5}
    root = grown(
        {
            "optimizer": {"weight_decay": 0.1, "betas": [0.9, 0.95]},
            "sft_data": {
                "each": {"prompts": 3, "samples_on": 1},
                "math": {"prompts": 5},
                "code": {},
            },
            "models": {
                "each": {"distillation": learning, "rloo": {"steps": 2}},
                "a": {"rloo": None},
                "b": {"distillation": {"weight_decay": 0.7}, "sft": [{"epochs": 1}]},
            },
        }
    )
    optimizer = {"betas": [0.9, 0.95]}
    assert plain(swept(spread(root))) == {
        "sft_data": {
            "math": {"prompts": 5, "samples_on": 1},
            "code": {"prompts": 3, "samples_on": 1},
        },
        "models": {
            "a": {"distillation": {**optimizer, **learning}},
            "b": {
                "distillation": {**optimizer, "learning_rate": 1e-3, "weight_decay": 0.7},
                "rloo": {**optimizer, "weight_decay": 0.1, "steps": 2},
                "sft": [{**optimizer, "weight_decay": 0.1, "epochs": 1}],
            },
        },
    }


@pytest.mark.parametrize(
    ("text", "wrong", "right"),
    [
        ("extends: heirloom/tinny\n", "mine.yaml:1: extends: no bundled recipe 'heirloom/tinny'",
         "did you mean 'heirloom/tiny'?"),
        ("# x\nextends: ./gone.yaml\n", "mine.yaml:2: extends: no recipe at", "gone.yaml"),
        ("extends: tiny\n", "mine.yaml:1: extends: write heirloom/tiny", "bundled"),
        ("extends: [./mine.yaml]\n", "mine.yaml:1: extends: a circle", "leave one out"),
        ("extends: 3\n", "mine.yaml:1: extends: must be heirloom/NAME", "found 3"),
        ("extends: heirloom/smoke\nmodels: {super: {sft: 3}}\n", "mine.yaml:2: models.super.sft",
         "found 3"),
        ("extends: heirloom/smoke\noptimizer: {learning: 1}\n", "mine.yaml:2: optimizer.learning",
         "did you mean 'learning_rate'?"),
        ("extends: heirloom/smoke\nseed: 010\n", "mine.yaml:2: seed: must be a whole number",
         "found '010'"),
    ],
)  # fmt: skip
def test_a_base_that_cannot_be_is_named(write: Write, text: str, wrong: str, right: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load(write("mine.yaml", text), check_paths=False)
    assert wrong in str(caught.value)
    assert right in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_longer_circle_is_named(write: Write) -> None:
    write("b.yaml", "extends: ./mine.yaml\n")
    path = write("mine.yaml", "extends: ./b.yaml\n")
    with pytest.raises(RecipeError, match=r"b\.yaml:1: extends: a circle, .*mine.*b.*mine"):
        load(path)


def test_folders_ignore_hidden_files_and_refuse_other_endings(write: Write) -> None:
    write("mine/family.yaml", "extends: heirloom/smoke\n")
    write("mine/.super.yaml", "nonsense: [")
    assert "super" in load(write("mine/super.yaml", "rloo: null\n").parent).models
    write("mine/nano.yml", "")
    with pytest.raises(RecipeError, match=r"nano\.yml: not read"):
        load(write("mine/super.yaml", "rloo: null\n").parent)


def test_a_bundled_name_is_never_ambiguous(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("smoke.yaml", "extends: heirloom/smoke\nseed: 1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r"'smoke' is a bundled recipe and smoke\.yaml"):
        load("smoke")
    assert load("heirloom/smoke").family.seed != 1
    assert load("./smoke").family.seed == load("./smoke.yaml").family.seed == 1


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a.b=1", ("a", "b")),
        ("models.nano.sft[1].epochs=2", ("models", "nano", "sft", 1, "epochs")),
        ("a=b=c", ("a",)),
    ],
)
def test_a_key_path_is_split(text: str, path: tuple[object, ...]) -> None:
    assert split(text)[0] == path


@pytest.mark.parametrize("text", ["seed", "=3", "a..b=1", ".a=1", "a[x]=1", "a.=1"])
def test_an_override_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="must be KEY=VALUE"):
        split(text)


def test_overrides_reach_everything_and_are_kept() -> None:
    given = (
        "models.super.distillation.learning_rate=2e-3",
        "models.ultra.fusion=null",
        "models.super.distillation.tokens=2K",
        "execution.threads=7",
        "sft_data.math={samples_on: 3}",
    )
    found, smoke = load("smoke", given, check_paths=False), load("smoke", check_paths=False)
    distillation = found.models["super"].distillation
    assert distillation is not None
    assert (distillation.learning_rate, distillation.tokens) == (2e-3, 2000)
    assert found.models["ultra"].fusion is None
    assert found.family.sft_data["math"].samples_on == 3
    assert found.family.sft_data["math"].prompts == smoke.family.sft_data["math"].prompts
    assert (found.execution.threads, found.overrides) == (7, given)
    node = found.tree.at(("execution", "threads"))
    assert node is not None and str(node.origin) == "--set execution.threads=7"


def test_an_override_adds_a_name_and_what_names_share(write: Write) -> None:
    stage = "{domains: {math: 1}, reasoning: [off], samples: 2, packed: true, epochs: 1,"
    stage += " learning_rate: 1e-3, batch_tokens: 256, sequence_length: 256}"
    models = f"{{a: {{parent: bundled/super, sft: {{one: {stage}}}}}, b: {{parent: bundled/nano}}}}"
    base = "extends: [heirloom/single-gpu, heirloom/questions]"
    path = write("mine.yaml", f"{base}\nmodels: {models}")
    given = (f"models.a.sft.two={stage}", "models.each.role=mine", "models.b.role=yours")
    found = load(path, given, check_paths=False)
    assert [stage.name for stage in found.models["a"].sft] == ["one", "two"]
    assert [model.role for model in found.models.values()] == ["mine", "yours"]
    with pytest.raises(RecipeError, match="did you mean 'role'"):
        load(path, ("models.each.rolle=mine",), check_paths=False)


@pytest.mark.parametrize(
    ("override", "right"),
    [
        ("models.supper.distillation.tokens=1", "models has no 'supper'; did you mean 'super'?"),
        ("models.super.distilation.tokens=1", "did you mean 'distillation'?"),
        ("models.super.distillation.tokans=1", "did you mean 'tokens'?"),
        ("sed=1", "a recipe has no 'sed'; did you mean 'seed'?"),
        (
            "models.nano.sft.main.epochs=1",
            "models.nano.sft is a list and holds 3, models.nano.sft[0] the first",
        ),
        ("seed.x=1", "seed holds no further keys"),
        ("models.super.distillation.tokens=some", "--set models.super.distillation.tokens=some"),
        ("models.super.distillation.tokens=[", "not valid YAML"),
    ],
)
def test_an_override_that_means_nothing_is_refused(override: str, right: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load("smoke", (override,), check_paths=False)
    assert right in str(caught.value)


def test_paths_in_overrides_start_where_the_reader_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert anchored("models.a.parent=./b") == f"models.a.parent={tmp_path}/b"
    assert anchored("seed=3") == "seed=3"
    assert split(anchored("a={b: [../c]}"))[1] == f'{{"b": ["{tmp_path.parent}/c"]}}'
    (tmp_path / "x.jsonl").touch()
    assert anchored("sources.a.path=x.jsonl") == f"sources.a.path={tmp_path}/x.jsonl"
    assert split(anchored("a={path: '*.jsonl'}"))[1] == f'{{"path": "{tmp_path}/*.jsonl"}}'
    for other in ("a.path=y.jsonl", "a.path=hub:a/b@main", "a.name=x.jsonl", "a.path=/x.jsonl"):
        assert anchored(other) == other


def test_every_fault_is_found_at_once(write: Write) -> None:
    path = write(
        "mine.yaml",
        "extends: heirloom/smoke\n"
        "seeed: 1\n"
        "held_out: {per_domain_per_depth: 0, depth: 1}\n"
        "models: {super: {puzzle: {scores: {tokens: no}}, rloo: {steps: -1, step: 2}}}\n",
    )
    found = [str(fault) for fault in examine(path, check_paths=False).faults]
    for part in (
        ":2: seeed: unknown key", ":3: held_out.depth: unknown key",
        ":3: held_out.per_domain_per_depth: must be", ":4: models.super.puzzle.scores.tokens: must",
        ":4: models.super.rloo.step: unknown key", ":4: models.super.rloo.steps: must be",
    ):  # fmt: skip
        assert any(part in each for each in found), (part, found)
    assert len(found) == 6
