"""Blends and fine-tuning as artifacts: weights, toggles, no leaks, exact resume."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from assets.sft import assets, checks, samples
from assets.sft.blend import make_blend
from assets.sft.train import sft
from resources.chat.chat import Chat
from resources.execution import Execution
from resources.models.loading import load
from resources.recipe.loading import load as load_recipe
from resources.training.checks import loss_decreased, loss_finite
from tests.resources.training import tiny_family as tiny
from warehouse.rows import with_ids
from warehouse.store import Artifact, Output, Store

LONG = {"sequence_length": 500, "seed": 3}
BLEND: dict[str, Any] = {
    "name": "sft",
    "domains": {"math": 2.0, "code": 1.0},
    "reasoning": {"math": ["on", "off"], "code": ["on"]},
    "samples": 30,
}
SFT = {**tiny.TRAINING, "tokens": None, "epochs": 3, "packed": True}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def held_out(store: Store, questions: list[str]) -> Artifact:
    count = len(questions)
    columns = {name: [""] * count for name in ("domain", "kind", "source", "expected_answer")}
    table = pa.table(
        {
            **columns,
            "question": questions,
            "difficulty": [1] * count,
            "license": ["apache-2.0"] * count,
            "tests": [""] * count,
            "split": ["held_out"] * count,
        }
    )
    rows = with_ids(table, "problems/held_out", ["question"])
    return tiny.publish(store, "problems/held_out", Output(tables={"problems": rows}))


@pytest.fixture
def datasets(store: Store) -> dict[str, Artifact]:
    made = {}
    for domain, questions, modes in (("math", 12, ["on", "off"]), ("code", 8, ["on", "off"])):
        table = tiny.samples_table(f"sft_data/{domain}", domain, questions, modes)
        made[domain] = tiny.publish(
            store, f"sft_data/{domain}", Output(tables={"sft_samples": table})
        )
    return {**made, "held_out": held_out(store, ["what?"])}


def test_blend_follows_the_weights_and_repeats_only_when_it_must(
    store: Store, datasets: dict[str, Artifact]
) -> None:
    made = tiny.build(store, "nano/sft_blend", make_blend, datasets, BLEND)
    rows = made.table("blends").sort_by("position").to_pylist()
    assert Counter((r["domain"], r["reasoning"]) for r in rows) == {
        ("math", "on"): 10,
        ("math", "off"): 10,
        ("code", "on"): 10,
    }
    assert [r["position"] for r in rows] == list(range(30))
    assert made.metrics["code_on_passes"] == 10 / 8
    assert Counter(r["repetition"] for r in rows if r["domain"] == "code") == {0: 8, 1: 2}
    assert {r["repetition"] for r in rows if r["domain"] == "math"} == {0}
    assert len({r["row_id"] for r in rows}) == 30
    assert all(r["parents"][0]["row_id"] == r["sample_id"] for r in rows)
    assert {r["parents"][0]["asset_key"] for r in rows} == {"sft_data/math", "sft_data/code"}
    for check in (checks.no_empty_domain, checks.no_held_out_overlap):
        assert check(made, datasets).passed


def test_a_blend_without_a_number_takes_as_many_as_there_are(
    store: Store, datasets: dict[str, Artifact]
) -> None:
    alone = {**BLEND, "domains": {"code": 1}, "samples": None}
    made = tiny.build(store, "nano/sft_blend", make_blend, datasets, alone)
    rows = made.table("blends").to_pylist()
    wanted = datasets["code"].table("sft_samples").to_pylist()
    assert {row["sample_id"] for row in rows} == {
        row["row_id"] for row in wanted if row["reasoning"] in BLEND["reasoning"]["code"]
    }
    assert {row["repetition"] for row in rows} == {0} and made.metrics["samples"] == len(rows)
    mixed = tiny.build(store, "nano/m_blend", make_blend, datasets, {**BLEND, "samples": None})
    total = sum(
        row["reasoning"] in BLEND["reasoning"][domain]
        for domain in BLEND["domains"]
        for row in datasets[domain].table("sft_samples").to_pylist()
    )
    assert mixed.metrics["samples"] == mixed.table("blends").num_rows == total


def test_blend_does_not_depend_on_the_order_of_rows(
    store: Store, datasets: dict[str, Artifact], tmp_path: Path
) -> None:
    other = Store(tmp_path / "other")
    shuffled = dict(datasets)
    for domain in ("math", "code"):
        table = datasets[domain].table("sft_samples")
        table = table.take(list(reversed(range(table.num_rows))))
        shuffled[domain] = tiny.publish(
            other, f"sft_data/{domain}", Output(tables={"sft_samples": table})
        )
    first = tiny.build(store, "nano/sft_blend", make_blend, datasets, BLEND)
    second = tiny.build(other, "nano/sft_blend", make_blend, shuffled, BLEND)
    assert first.table("blends").equals(second.table("blends"))


def test_blend_refuses_an_empty_domain_and_mode(
    store: Store, datasets: dict[str, Artifact]
) -> None:
    table = tiny.samples_table("sft_data/code", "code", 4, ["off"])
    only_off = tiny.publish(store, "sft_data/code", Output(tables={"sft_samples": table}))
    with pytest.raises(ValueError, match="none of domain 'code' with reasoning on"):
        tiny.build(store, "nano/x_blend", make_blend, {**datasets, "code": only_off}, BLEND)


def test_overlap_with_held_out_is_found_by_id_and_by_question(
    store: Store, datasets: dict[str, Artifact]
) -> None:
    made = tiny.build(store, "nano/sft_blend", make_blend, datasets, {**BLEND, "samples": 60})
    asked = {**datasets, "held_out": held_out(store, ["math 3?"])}
    result = checks.no_held_out_overlap(made, asked)
    assert not result.passed and result.blocking
    assert result.metadata == {"by_row_id": 0, "by_question": 2}
    known = datasets["math"].table("sft_samples").column("parents")[0].as_py()[0]["row_id"]
    rows = asked["held_out"].table("problems").to_pylist()
    table = pa.Table.from_pylist([{**rows[0], "row_id": known, "question": "?"}])
    by_id = tiny.publish(store, "problems/held_out_2", Output(tables={"problems": table}))
    result = checks.no_held_out_overlap(made, {**datasets, "held_out": by_id})
    assert result.metadata == {"by_row_id": 2, "by_question": 0}


def test_loss_is_on_outputs_only_and_held_out_questions_are_unseen(
    store: Store, datasets: dict[str, Artifact], tmp_path: Path
) -> None:
    blend = tiny.build(store, "nano/sft_blend", make_blend, datasets, BLEND)
    folder = tiny.checkpoint_in(tmp_path / "model", seed=1)
    model = tiny.publish(store, "nano/parent", Output(files={"": folder}))
    chat = Chat.load(folder)
    only = {k: v for k, v in datasets.items() if k != "held_out"}

    def read(length: int) -> samples.Split:
        recipe = {"sequence_length": length, "seed": 3}
        return samples.read(model, blend, only, recipe, tmp_path, Execution())

    split = read(500)
    assert split.too_long == 0 and len(split.training) + len(split.held_out) == 30

    def asked(examples: Any) -> set[str]:
        return {chat.decode(ids).split("?")[0].split("\n\n")[-1] for ids, _ in examples}

    assert asked(split.held_out) and not asked(split.held_out) & asked(split.training)
    ids, mask = split.training[0]
    assert "detailed thinking" in chat.decode(ids[~mask])
    text = chat.decode(ids[mask])
    assert text.endswith("<|eot_id|>") and "detailed" not in text and "?" not in text
    assert read(int(split.training.lengths.min()) + 1).too_long > 0
    with pytest.raises(ValueError, match="0 of 30 samples fit in 5 tokens"):
        read(5)
    with pytest.raises(ValueError, match=r"sft_blend: \d+ of 30 samples are in none of sft_da"):
        samples.read(model, blend, {"code": only["code"]}, LONG, tmp_path, Execution())
    with pytest.raises(ValueError, match="30 of 30 samples are in none of"):
        samples.read(model, blend, {}, LONG, tmp_path, Execution())


def test_examples_follow_the_blend_from_memory_and_from_files(
    store: Store,
    datasets: dict[str, Artifact],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the blend's order, repetitions included, as each sample encoded on its own has it."""
    blend = tiny.build(store, "nano/sft_blend", make_blend, datasets, {**BLEND, "samples": 60})
    folder = tiny.checkpoint_in(tmp_path / "model", seed=1)
    model = tiny.publish(store, "nano/parent", Output(files={"": folder}))
    only = {k: v for k, v in datasets.items() if k != "held_out"}
    rows = {
        row["row_id"]: row
        for data in only.values()
        for row in data.table("sft_samples").to_pylist()
    }
    order = blend.table("blends").sort_by("position").column("sample_id").to_pylist()
    assert len(set(order)) < len(order)
    wanted = [samples.of_answers(Chat.load(folder), [rows[each]])[0][0] for each in order]
    monkeypatch.setattr(samples, "BATCH", 5)
    held = samples.read(model, blend, only, LONG, tmp_path / "a", Execution())
    filed = samples.read(model, blend, only, LONG, tmp_path / "b", Execution(examples_bytes=100))
    assert not (tmp_path / "a/examples").exists() and (tmp_path / "b/examples").is_dir()
    again = samples.read(model, blend, only, LONG, tmp_path / "b", Execution())
    for split in (held, filed, again):
        training, unseen = (
            [(ids.tolist(), mask.tolist()) for ids, mask in part]
            for part in (split.training, split.held_out)
        )
        assert training == [each for each in wanted if each not in unseen]
        assert unseen == [each for each in wanted if each in unseen]


@pytest.mark.parametrize("packed", [True, False])
def test_sft_learns_and_resumes_exactly(
    store: Store, datasets: dict[str, Artifact], tmp_path: Path, packed: bool
) -> None:
    blend = tiny.build(store, "nano/sft_blend", make_blend, datasets, BLEND)
    folder = tiny.checkpoint_in(tmp_path / "model", seed=1)
    inputs = {
        "model": tiny.publish(store, "nano/parent", Output(files={"": folder})),
        "blend": blend,
        "math": datasets["math"],
        "code": datasets["code"],
    }
    recipe = {**SFT, "packed": packed, "sequence_length": 200, "batch_tokens": 400}
    made = tiny.build(store, "nano/sft", sft, inputs, recipe)
    assert made.metrics["held_out_cross_entropy"] < made.metrics["held_out_cross_entropy_before"]
    for check in (loss_finite, loss_decreased, checks.cross_entropy_not_worse):
        assert check(made, inputs).passed
    assert load(made.path()).config.num_hidden_layers == 2
    filled = checks.packs_filled(made, inputs)
    assert not filled.blocking and filled.passed == (made.metrics.get("pack_fill", 1.0) >= 0.99)
    assert ("pack_fill" in made.metrics) == packed == ("filled" in filled.description)
    other = Store(tmp_path / "other")
    last = int(made.metrics["steps"])
    with pytest.raises(tiny.Killed):
        tiny.build(other, "nano/sft", sft, inputs, recipe, tiny.kill_after(last))
    again = tiny.build(other, "nano/sft", sft, inputs, recipe)
    assert again.data_version == made.data_version


@pytest.mark.parametrize("name", ["tiny", "smoke", "paper"])
def test_specs_chain_the_stages(name: str) -> None:
    recipe = load_recipe(name, check_paths=False)
    made = {spec.key: spec for spec in assets.specs(recipe)}
    stages = [stage.name for stage in recipe.models["nano"].sft]
    before = ["nano/parent", *(f"nano/{stage}" for stage in stages)]
    for stage, start in zip(stages, before, strict=False):
        spec = made[f"nano/{stage}"]
        assert spec.inputs["model"] == start
        assert spec.inputs["blend"] == f"nano/{stage}_blend"
        assert "domains" not in spec.recipe and "learning_rate" in spec.recipe
        assert "learning_rate" not in made[f"nano/{stage}_blend"].recipe
        assert spec.version == assets.VERSION and made[f"nano/{stage}_blend"].version is None
