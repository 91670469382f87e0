"""The terms of distillation's loss and its two teachers: whole, chunked, cached, layer by layer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from assets.recovery import assets, corpus
from assets.recovery.distill import distil
from assets.recovery.objective import LiveTeacher, Towards
from resources.execution import Execution
from resources.models.loading import load
from resources.recipe.chats import tokens_of
from resources.recipe.errors import RecipeError
from resources.recipe.loading import load as load_recipe
from resources.recipe.sections.supervised import Distillation
from resources.training.data.examples import Batches, singles
from tests.assets.recovery.section import PLAIN, furthest, losses
from tests.resources.training import tiny_family as tiny
from warehouse.store import Artifact, Output, Store


def same_run(made: Artifact, plain: Artifact) -> None:
    """Every loss, weight and metric is the other run's, up to the order of sums."""
    assert losses(made) == pytest.approx(losses(plain), abs=1e-6)
    assert furthest(made, plain) < 1e-4  # five steps of AdamW at a rate of 0.01
    for name, value in plain.metrics.items():
        assert made.metrics[name] == pytest.approx(value, abs=1e-5), name


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_a_chunked_run_is_the_whole_one(
    store: Store, inputs: dict[str, Artifact], plain: Artifact, stage: int
) -> None:
    recipe = {**PLAIN, "chunk": 16}
    settings = tiny.EXECUTION.but(zero_stage=stage)
    made = tiny.build(store, "super/distilled", distil, inputs, recipe, settings)
    same_run(made, plain)
    assert losses(made, "gradient_norm") == pytest.approx(losses(plain, "gradient_norm"), rel=1e-4)


@pytest.mark.slow
def test_two_ranks_share_a_chunked_run(
    store: Store, inputs: dict[str, Artifact], plain: Artifact
) -> None:
    settings = tiny.EXECUTION.but(ranks=2, threads=2, zero_stage=1)
    recipe = {**PLAIN, "chunk": 16}
    made = tiny.build(store, "super/distilled", distil, inputs, recipe, settings)
    same_run(made, plain)


@pytest.mark.slow
def test_two_ranks_share_documents_with_their_teacher(
    store: Store, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    """Sequence parallelism: each rank has half of the tokens, of the teacher's states as well."""
    folders = [
        tiny.checkpoint_in(tmp_path / name, seed=seed, num_key_value_heads=2)
        for seed, name in enumerate(("two_headed_teacher", "two_headed_student"))
    ]
    for name, folder in zip(("teacher", "student"), folders, strict=True):
        inputs[name] = tiny.publish(store, f"super/{name}", Output(files={"": folder}))
    recipe = {**PLAIN, "hidden_weight": 0.5, "layer_weight": 1.0}
    alone = tiny.build(store, "super/distilled", distil, inputs, recipe)
    settings = tiny.EXECUTION.but(ranks=2, threads=2, sequence_parallel=2)
    made = tiny.build(store, "super/distilled", distil, inputs, {**recipe, "chunk": 16}, settings)
    assert losses(made) == pytest.approx(losses(alone), abs=1e-6)
    for name, value in alone.metrics.items():
        assert made.metrics[name] == pytest.approx(value, abs=1e-5), name


@pytest.fixture
def fused(store: Store, inputs: dict[str, Artifact], tmp_path: Path) -> dict[str, Artifact]:
    """The student holds the teacher's layers 1 and 2 as one; neither has an attention there."""
    bare = {"attention": {"kind": "noop"}}
    teacher = tiny.checkpoint_in(
        tmp_path / "deep", seed=1, num_hidden_layers=3, block_configs=[{}, bare, bare]
    )
    wide = {**bare, "ffn": {"kind": "full", "intermediate_size": 64}}
    student = tiny.checkpoint_in(tmp_path / "fused", seed=2, block_configs=[{}, wide])
    table = pa.table(
        {
            "model": ["super"] * 3,
            "layer": [0, 1, 2],
            "attention": ["full", "noop", "noop"],
            "ffn": ["full"] * 3,
            "fused_into": pa.array([None, 1, 1], pa.int64()),
        }
    )
    return {
        **inputs,
        "teacher": tiny.publish(store, "super/parent", Output(files={"": teacher})),
        "student": tiny.publish(store, "super/fused", Output(files={"": student})),
        "architecture": tiny.publish(
            store, "super/architecture", Output(tables={"architectures": table})
        ),
    }


def test_layers_learn_from_the_layers_they_hold(store: Store, fused: dict[str, Artifact]) -> None:
    recipe = {**PLAIN, "kl_weight": 0.0, "layer_weight": 1.0}
    made = tiny.build(store, "super/distilled", distil, fused, recipe)
    name = "held_out_layer_cosine_distance"
    curve = losses(made, name)
    assert curve[-1] == made.metrics[name] < 0.85 * curve[0]
    assert losses(made) == losses(made, "layer_cosine_distance")
    # By hand: the student's layers 0 and 1 against the teacher's 0 and 2, the last after its norm.
    split = corpus.read(fused["corpus"], {"sequence_length": 100, "seed": 1}, Path(), Execution())
    batch = Batches(split.pieces, singles(split.pieces), [], 10**6).collate([0, 5])[0]
    student, teacher = (
        load(fused["student"].path()),
        LiveTeacher(fused["teacher"].path(), Execution()),
    )
    towards = Towards(teacher, kl=0.0, layer=1.0, depth=[0, 2])
    with torch.no_grad():
        found = towards.objective()(student, batch)
        told = {"position_ids": batch["position_ids"], "document_ids": batch["document_ids"]}
        states = [
            model(batch["input_ids"], **told, output_hidden_states=True).hidden_states
            for model in (student, teacher.model)
        ]
    distances = [
        1 - torch.cosine_similarity(states[0][mine], states[1][theirs], dim=-1)
        for mine, theirs in ((1, 1), (2, 3))
    ]
    wanted = sum((d * batch["weights"]).sum() / batch["total"] for d in distances) / 2
    assert found.loss.item() == pytest.approx(float(wanted), abs=1e-6)


def test_layers_need_an_architecture_where_there_are_fewer(
    store: Store, fused: dict[str, Artifact]
) -> None:
    recipe = {**PLAIN, "layer_weight": 1.0}
    del fused["architecture"]
    with pytest.raises(ValueError, match="teacher has 3 layers, the student 2"):
        tiny.build(store, "super/distilled", distil, fused, recipe)


def test_next_token_loss_alone_asks_no_teacher(
    store: Store, inputs: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    told = LiveTeacher.told

    def counted(self: LiveTeacher, *arguments: Any) -> Any:
        asked.append(torch.is_grad_enabled())
        return told(self, *arguments)

    monkeypatch.setattr(LiveTeacher, "told", counted)
    recipe = {**PLAIN, "kl_weight": 0.0, "lm_weight": 1.0}
    made = tiny.build(store, "super/distilled", distil, inputs, recipe)
    assert losses(made) == losses(made, "cross_entropy")
    assert asked and not any(asked)
    assert made.metrics["held_out_kl_forward"] > 0


def test_terms_that_make_no_sense_are_refused() -> None:
    section = load_recipe("tiny").models["super"].distillation
    assert section is not None
    given = section.model_dump()
    cached = {"teacher": "cached", "top_k": 8, "hidden_weight": 0.0}
    assert Distillation(**{**given, **cached}).teacher == "cached"
    for change, message in (
        ({"kl_weight": 0.0, "hidden_weight": 0.0}, "every weight is 0"),
        ({"top_k": 8}, "top_k is of a cached teacher"),
        ({**cached, "top_k": None}, "needs top_k"),
        ({**cached, "direction": "reverse"}, "forward divergence"),
        ({**cached, "layer_weight": 1.0}, "gives its distribution alone"),
    ):
        with pytest.raises((RecipeError, ValueError), match=message):
            Distillation(**{**given, **change})


def test_specs_name_what_each_kind_of_teacher_reads() -> None:
    recipe = load_recipe("tiny", check_paths=False)

    def made(model: str, **changes: Any) -> dict[str, Any]:
        section = recipe.models[model].distillation
        assert section is not None
        changed = recipe.models[model].model_copy(
            update={"distillation": section.model_copy(update=changes)}
        )
        other = dataclasses.replace(recipe, models={**recipe.models, model: changed})
        return {spec.key: spec for spec in assets.specs(other)}

    usual = made("super")
    assert "super/teacher_outputs" not in usual
    assert usual["super/distilled"].inputs == {
        "student": "super/assembled",
        "teacher": "super/parent",
        "corpus": tokens_of(recipe, "super"),
    }
    assert usual["ultra/continued"].inputs["teacher"] == "ultra/parent"
    deep = made("super", layer_weight=1.0)["super/distilled"]
    assert deep.inputs["architecture"] == "super/architecture"
    deep = made("ultra", layer_weight=1.0)["ultra/distilled"]
    assert deep.inputs["architecture"] == "ultra/fused"
    cached = made("super", teacher="cached", top_k=8, hidden_weight=0.0)
    assert "teacher" not in cached["super/distilled"].inputs
    outputs = cached["super/teacher_outputs"]
    assert outputs.recipe == {"temperature": 1.0, "sequence_length": 256, "top_k": 8}
    assert list(cached).index(outputs.key) < list(cached).index("super/distilled")
