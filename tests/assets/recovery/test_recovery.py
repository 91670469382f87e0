"""Distillation and continued pretraining as artifacts: they learn, and resume to the same bytes."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
import torch

from assets.recovery import checks, corpus
from assets.recovery.continued import continue_pretraining
from assets.recovery.distill import distil
from resources.chat.errors import ChatError
from resources.execution import Execution
from resources.models.folders import stored_dtype
from resources.models.loading import load, save
from resources.training.checks import loss_decreased, loss_finite
from tests.assets.recovery.section import DISTILLATION, PLAIN
from tests.resources.chat import small
from tests.resources.training import tiny_family as tiny
from warehouse.store import Artifact, Output, Store


def test_distillation_lowers_the_held_out_divergence_and_resumes_exactly(
    store: Store, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    made = tiny.build(store, "super/distilled", distil, inputs, DISTILLATION)
    metrics = made.metrics
    assert metrics["held_out_kl_forward"] < 0.8 * metrics["held_out_kl_forward_before"]
    assert 0 < metrics["held_out_agreement"] <= 1
    assert metrics["steps"] == 10
    for check in (loss_finite, loss_decreased, checks.kl_not_worse):
        result = check(made, inputs)
        assert result.passed, result.description
    rows = made.table("training_metrics").to_pylist()
    assert {r["stage"] for r in rows} == {"distillation"}
    curve = {r["step"]: r["value"] for r in rows if r["metric"] == "held_out_kl_forward"}
    assert list(curve) == [0, 2, 5, 10]
    assert curve[0] == metrics["held_out_kl_forward_before"] > curve[5]
    assert curve[10] == metrics["held_out_kl_forward"]
    seen = {r["step"]: r["tokens"] for r in rows if r["metric"] == "held_out_cross_entropy"}
    steps = {r["step"]: r["tokens"] for r in rows if r["metric"] == "loss"}
    assert seen == {0: 0, **{step: steps[step] for step in (2, 5, 10)}}
    assert set(made.manifest["images"]) == {"training_curve", "held_out_curve"}
    assert not {"tokens_per_second", "mfu"} & {r["metric"] for r in rows}
    assert made.observations["median_mfu"] > 0 and made.observations["peak_memory_bytes"] > 1e7
    assert load(made.path()).config.block_configs[0]["ffn"]["kind"] == "noop"
    assert next(iter(made.manifest["metrics"])) == "held_out_kl_forward"

    other = Store(tmp_path / "other")
    with pytest.raises(tiny.Killed):
        tiny.build(other, "super/distilled", distil, inputs, DISTILLATION, tiny.kill_after(10))
    again = tiny.build(other, "super/distilled", distil, inputs, DISTILLATION)
    assert again.data_version == made.data_version


def test_a_bfloat16_student_is_published_and_measured_in_bfloat16(
    store: Store, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    student = inputs["student"].path()
    save(load(student), tmp_path / "student", student, "bfloat16")
    given = {
        **inputs,
        "student": tiny.publish(store, "a/b", Output(files={"": tmp_path / "student"})),
    }
    recipe = {**DISTILLATION, "hidden_weight": 0.0}
    made = tiny.build(store, "super/distilled", distil, given, recipe)
    assert stored_dtype(made.path()) == "bfloat16"
    again = tiny.build(store, "super/distilled", distil, {**given, "student": made}, recipe)
    measured, before = (f"held_out_kl_forward{when}" for when in ("", "_before"))
    assert again.metrics[before] == pytest.approx(made.metrics[measured], rel=1e-6)
    half = tiny.build(store, "super/distilled", distil, given, {**recipe, "dtype": "bfloat16"})
    assert half.metrics[measured] != made.metrics[measured]
    assert half.metrics[measured] == pytest.approx(made.metrics[measured], rel=0.05)


def test_distillation_of_the_teacher_itself_starts_at_zero(
    store: Store, inputs: dict[str, Artifact]
) -> None:
    same = {**inputs, "student": inputs["teacher"]}
    recipe = {**DISTILLATION, "tokens": 200, "hidden_weight": 0.0}
    made = tiny.build(store, "super/distilled", distil, same, recipe)
    assert made.metrics["held_out_kl_forward_before"] == pytest.approx(0, abs=1e-6)
    assert made.metrics["held_out_agreement"] > 0.9


def test_distillation_refuses_teachers_that_do_not_fit(
    store: Store, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    wide = tiny.checkpoint_in(tmp_path / "wide", seed=1, hidden_size=32)
    other = {**inputs, "teacher": tiny.publish(store, "other/parent", Output(files={"": wide}))}
    with pytest.raises(ValueError, match="hidden sizes 32 and 16; set it to 0"):
        tiny.build(store, "super/distilled", distil, other, DISTILLATION)


def test_continued_pretraining(store: Store, inputs: dict[str, Artifact]) -> None:
    given = {name: inputs[name] for name in ("teacher", "corpus")}
    given["model"] = inputs["student"]
    recipe = {**tiny.TRAINING, "measure_at": [0.5]}
    made = tiny.build(store, "ultra/continued", continue_pretraining, given, recipe)
    assert made.metrics["held_out_cross_entropy"] < made.metrics["held_out_cross_entropy_before"]
    assert made.metrics["held_out_kl_forward"] > 0
    kl = [r for r in made.table("training_metrics").to_pylist() if "kl" in r["metric"]]
    assert [r["step"] for r in kl] == [0, 5, 10]
    assert checks.cross_entropy_not_worse(made, given).passed
    before, after = load(inputs["student"].path()), load(made.path())
    assert not torch.equal(before.lm_head.weight, after.lm_head.weight)


def test_corpus_is_cut_and_split_without_overlap(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    recipe = {"sequence_length": 16, "seed": 1}
    training, held_out = corpus.read(inputs["corpus"], recipe, tmp_path, Execution()).examples
    assert max(training.lengths.max(), held_out.lengths.max()) <= 16
    tokens = sum(len(ids) for ids in tiny.corpus_table().column("text_ids").to_pylist())
    # Pieces of a single token predict nothing and are left out.
    assert tokens - 40 <= training.lengths.sum() + held_out.lengths.sum() <= tokens


def test_loss_finite_names_the_step(inputs: dict[str, Artifact], store: Store) -> None:
    from resources.training.loop.measuring import metrics_table

    history = [
        {"step": 1, "tokens": 5, "loss": 1.0},
        {"step": 2, "tokens": 9, "loss": float("nan")},
    ]
    bad = tiny.publish(
        store, "x/y", Output(tables={"training_metrics": metrics_table(history, "distillation")})
    )
    result = loss_finite(bad, {})
    assert not result.passed and result.blocking
    assert "loss at step 2" in result.description


@pytest.mark.parametrize("length", [500, 7])
def test_what_a_mixture_holds_out_is_measured_and_never_trained_on(
    store: Store, tmp_path: Path, length: int
) -> None:
    """Whether documents are whole or cut: no piece of a held-out document is among the others."""
    whole = tiny.corpus_table(30)
    train, out = whole.slice(0, 24), whole.slice(24)
    tables = {"corpus": train, "held_out": out}
    mixture = tiny.publish(store, "problems/corpus_tokens", Output(tables=tables))
    recipe = {"sequence_length": length, "seed": 3}
    split = corpus.read(mixture, recipe, tmp_path, Execution())

    def tokens(numbers: object) -> int:
        return int(split.pieces.take(numbers).lengths.sum())  # type: ignore[arg-type]

    expected = [sum(map(len, table["text_ids"].to_pylist())) for table in (train, out)]
    if length == 500:
        assert [tokens(split.training), tokens(split.held_out)] == expected
    assert split.training.max() < split.held_out.min()
    names = pa.concat_arrays([b.column(0) for b in corpus.batches(mixture, ["row_id"])])
    assert len(names) == 30 and set(names.to_pylist()) == set(whole["row_id"].to_pylist())
    plain = tiny.publish(store, "problems/corpus", Output(tables={"corpus": train}))
    alone = corpus.read(plain, recipe, tmp_path / "b", Execution())
    assert len(alone.training) + len(alone.held_out) == len(split.training)


def test_examples_of_another_chat_are_refused(
    store: Store, inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    """Ids made for another tokenizer or template never train a model."""
    made = Output(tables={"corpus": tiny.corpus_table()}, observations={"chat": "f" * 16})
    other = {**inputs, "corpus": tiny.publish(store, "problems/corpus_tokens", made)}
    with pytest.raises(ChatError, match=r"encoded for the chat f{16}, and super/assembled has"):
        tiny.build(store, "super/distilled", distil, other, PLAIN)
    teacher = tiny.checkpoint_in(tmp_path / "foreign", seed=1)
    (teacher / "chat_template.jinja").write_text(small.CHATML)
    foreign = {**inputs, "teacher": tiny.publish(store, "x/parent", Output(files={"": teacher}))}
    with pytest.raises(ChatError, match="What would work: SFT on what the teacher answers"):
        tiny.build(store, "super/distilled", distil, foreign, PLAIN)
