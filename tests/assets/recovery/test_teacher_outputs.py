"""A teacher's cached outputs: rows of documents, exact where they are whole, made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from assets.recovery import checks, teacher_outputs
from assets.recovery.distill import distil
from resources.execution import Execution
from resources.models.loading import load
from tests.assets.recovery.section import PLAIN, furthest, losses
from tests.resources.training import tiny_family as tiny
from warehouse.store import Artifact, Output, Store

VOCABULARY = 260


def cached_inputs(
    store: Store, inputs: dict[str, Artifact], k: int, execution: Execution = tiny.EXECUTION
) -> dict[str, Artifact]:
    recipe = {"temperature": 1.0, "sequence_length": 100, "top_k": k}
    given = {name: inputs[name] for name in ("teacher", "corpus")}
    made = tiny.build(
        store,
        "super/teacher_outputs",
        teacher_outputs.teacher_outputs,
        given,
        recipe,
        execution,
    )
    assert checks.outputs_are_probabilities(made, given).passed
    return {"student": inputs["student"], "corpus": inputs["corpus"], "teacher_outputs": made}


@pytest.mark.parametrize("chunk", [None, 16])
@pytest.mark.parametrize("examples_bytes", [2_000_000_000, 1])
def test_a_cached_teacher_with_the_whole_vocabulary_is_the_live_one(
    store: Store,
    inputs: dict[str, Artifact],
    plain: Artifact,
    chunk: int | None,
    examples_bytes: int,
) -> None:
    given = cached_inputs(store, inputs, VOCABULARY)
    settings = tiny.EXECUTION.but(examples_bytes=examples_bytes)
    recipe = {**PLAIN, "chunk": chunk}
    made = tiny.build(store, "super/distilled", distil, given, recipe, settings)
    assert losses(made) == pytest.approx(losses(plain), abs=1e-5)
    assert furthest(made, plain) < 1e-3
    before, name = plain.metrics, "held_out_kl_forward_before"
    assert made.metrics[name] == pytest.approx(before[name], rel=1e-5)


def test_fewer_outputs_bound_the_divergence_from_below(
    store: Store, inputs: dict[str, Artifact], plain: Artifact
) -> None:
    given = cached_inputs(store, inputs, 4)
    outputs = given["teacher_outputs"]
    assert 0 < outputs.metrics["rest"] < 1 and outputs.metrics["top_k"] == 4
    made = tiny.build(store, "super/distilled", distil, given, PLAIN)
    before = made.metrics["held_out_kl_forward_before"]
    assert 0 < before < plain.metrics["held_out_kl_forward_before"]
    assert made.metrics["held_out_kl_forward"] < before


def test_outputs_are_rows_of_documents(store: Store, inputs: dict[str, Artifact]) -> None:
    made = cached_inputs(store, inputs, 8)["teacher_outputs"]
    texts = inputs["corpus"].table("corpus").to_pylist()
    rows = sorted(made.table("teacher_outputs").to_pylist(), key=lambda row: row["position"])
    kept = {row["row_id"]: sum(row["loss_mask"][1:]) for row in texts}
    counted: dict[bytes, int] = {}
    for row in rows:
        assert row["parents"] == [{"row_id": row["document_id"], "asset_key": inputs["corpus"].key}]
        counted[row["document_id"]] = counted.get(row["document_id"], 0) + row["tokens"]
        assert len(row["token_ids"]) == len(row["log_probabilities"]) == 8 * row["tokens"]
        logs = np.array(row["log_probabilities"]).reshape(-1, 8)
        assert (np.diff(logs) <= 0).all()
        assert row["rest"] == pytest.approx(float((1 - np.exp(logs).sum(-1)).mean()), abs=1e-6)
    assert counted == kept and sum(kept.values()) == made.metrics["tokens"]
    model, text = load(inputs["teacher"].path()), texts[3]
    row = next(row for row in rows if row["document_id"] == text["row_id"])
    with torch.no_grad():
        logits = model(torch.tensor([text["text_ids"]])).logits[0, 0]
    values, ids = logits.log_softmax(-1).topk(8)
    assert row["token_ids"][:8] == ids.tolist()
    assert row["log_probabilities"][:8] == pytest.approx(values.tolist(), abs=1e-5)


def test_outputs_go_on_after_a_kill(
    store: Store, inputs: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_outputs, "SHARD", 8 * 100)
    whole = cached_inputs(store, inputs, 8)["teacher_outputs"]
    seen: list[str] = []

    def progress(message: str, share: float) -> None:
        seen.append(message)
        if len(seen) == 4:
            raise tiny.Killed

    other = Store(tmp_path / "other")
    with pytest.raises(tiny.Killed):
        cached_inputs(other, inputs, 8, tiny.EXECUTION.but(progress=progress))
    assert seen[3].startswith("shard 4/")
    computed: list[int] = []
    compute = teacher_outputs._compute

    def counted(*arguments: Any) -> Any:
        computed.append(1)
        return compute(*arguments)

    monkeypatch.setattr(teacher_outputs, "_compute", counted)
    again = cached_inputs(other, inputs, 8)["teacher_outputs"]
    assert again.data_version == whole.data_version
    assert len(computed) == int(seen[3].partition("/")[2]) - 4


def test_outputs_of_another_corpus_are_refused(store: Store, inputs: dict[str, Artifact]) -> None:
    given = cached_inputs(store, inputs, 4)
    longer = Output(tables={"corpus": tiny.corpus_table(50)})
    given["corpus"] = tiny.publish(store, "problems/corpus", longer)
    with pytest.raises(ValueError, match="build super/teacher_outputs again"):
        tiny.build(store, "super/distilled", distil, given, PLAIN)
