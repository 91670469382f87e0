"""One supervised run: what it proves before it starts, what it measures, examples from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.execution import Execution
from resources.models.loading import load
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from resources.recipe.sections.supervised import Recovery
from resources.training import fit as fitting
from resources.training.data.examples import Batches, Examples, singles
from resources.training.data.mapped import MappedExamples, gather
from resources.training.fit import Fitted, Run, head_of, language_model_loss
from resources.training.loop.measuring import measured_steps
from resources.training.probe import PackingError
from resources.training.trackers import TrackerError
from tests.resources.training import tiny_family as tiny


def examples(count: int = 40) -> Examples:
    return Examples.from_table(tiny.corpus_table(count))


def run(workdir: Path, execution: Execution = tiny.EXECUTION, **changes: Any) -> Fitted:
    section = Recovery.within({**tiny.TRAINING, "tokens": 1000, "measure_at": [], **changes})
    model = load(tiny.checkpoint_in(workdir / "model", seed=1))
    everything, packed = examples(), bool(changes.get("packed"))
    return Run(
        model,
        everything.take(range(5, 40)),
        everything.take(range(5)),
        language_model_loss,
        section,
        workdir / "work",
        execution,
        stage="test",
        measure="cross_entropy",
        packed=packed,
        measure_at=section.measure_at,
        seed=3,
        key="test",
    ).fit()


def test_fill_of_packs_by_hand(tmp_path: Path) -> None:
    made = run(tmp_path, packed=True, sequence_length=60, batch_tokens=180)
    lengths = examples().take(range(5, 40)).lengths
    packs = fitting.pack(lengths.tolist(), 60)
    assert made.metrics["pack_fill"] == lengths.sum() / (60 * len(packs))
    assert "pack_fill" not in run(tmp_path / "other").metrics


def test_a_model_that_mixes_documents_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = HeterogeneousDecoderForCausalLM.forward

    def careless(
        self: Any, input_ids: Any, position_ids: Any = None, document_ids: Any = None, **rest: Any
    ) -> Any:
        return forward(self, input_ids, position_ids=position_ids, **rest)

    monkeypatch.setattr(HeterogeneousDecoderForCausalLM, "forward", careless)
    with pytest.raises(PackingError, match="document 2"):
        run(tmp_path)
    assert not list((tmp_path / "work").glob("checkpoints/step_*"))


def test_held_out_points_and_resume(tmp_path: Path) -> None:
    whole = run(tmp_path / "a", measure_at=[0.2, 0.6, 1.0])
    rows = whole.table.to_pylist()
    points = [(r["step"], r["value"]) for r in rows if r["metric"] == "held_out_cross_entropy"]
    assert [step for step, _ in points] == [0, 1, 3, 5]
    ends = [whole.metrics[f"held_out_cross_entropy{end}"] for end in ("_before", "")]
    assert [points[0][1], points[-1][1]] == ends
    assert "held_out_curve" in whole.images
    with pytest.raises(tiny.Killed):
        run(tmp_path / "b", tiny.kill_after(3), measure_at=[0.2, 0.6, 1.0])
    again = run(tmp_path / "b", measure_at=[0.2, 0.6, 1.0])
    assert again.table.equals(whole.table) and again.metrics == whole.metrics
    assert "held_out_curve" not in run(tmp_path / "c").images


def test_shares_of_a_run() -> None:
    assert measured_steps([0.1, 0.25, 0.5, 1.0], 100) == [10, 25, 50]
    assert measured_steps([0.001, 0.01], 10) == [1]
    assert measured_steps([0.5], 1) == []


def test_progress_tells_speed_and_time_left(tmp_path: Path) -> None:
    lines: list[str] = []
    made = run(
        tmp_path,
        Execution(
            progress=lambda line, share: lines.append(line), flops=1e9, threads=1, micro_batch=1
        ),
    )
    assert lines[0].startswith("step 1/5, loss ") and "tokens/s" in lines[0]
    assert lines[0].endswith("s left") and not lines[-1].endswith("left")
    assert made.observations["peak_flops"] == 1e9
    assert made.observations["median_mfu"] > 0
    assert {row["metric"] for row in made.table.to_pylist()} == {
        "loss",
        "cross_entropy",
        "accuracy",
        "gradient_norm",
        "learning_rate",
    }


def test_an_unknown_tracker_stops_a_run_before_it_starts(tmp_path: Path) -> None:
    with pytest.raises(TrackerError, match="no tracker 'paper'"):
        run(tmp_path, tiny.EXECUTION.but(trackers=["paper"]))
    assert not (tmp_path / "work").exists()


def test_the_head_of_a_model_gives_its_logits(tmp_path: Path) -> None:
    model = load(tiny.checkpoint_in(tmp_path / "model", seed=1))
    output = model(torch.arange(6)[None], output_hidden_states=True)
    assert torch.equal(head_of(model)(output.hidden_states[-1]), output.logits)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=9), min_size=2), st.integers(1, 6))
def test_examples_in_files_are_those_in_memory(
    tmp_path_factory: pytest.TempPathFactory, masks: list[list[bool]], length: int
) -> None:
    parts = [
        Examples.from_lists([(list(range(7 * n, 7 * n + len(mask))), mask)])
        for n, mask in enumerate(masks)
    ]
    folder = tmp_path_factory.mktemp("examples")
    memory, files = gather(parts, folder / "a"), gather(parts, folder / "b", most=0)
    assert type(memory) is Examples and type(files) is MappedExamples
    cut = [each.cut(length) for each in (memory, files)]
    taken = [each.take(each.with_loss()[::-1]) for each in cut]
    for one, other in ((memory, files), cut, taken):
        assert [(i.tolist(), m.tolist()) for i, m in one] == [
            (i.tolist(), m.tolist()) for i, m in other
        ]
        assert one.lengths.tolist() == other.lengths.tolist()


def test_batches_of_files_are_those_of_memory_and_are_written_once(tmp_path: Path) -> None:
    whole = examples()
    parts = [whole.take(range(0, 15)), whole.take(range(15, 40))]
    files = gather(parts, tmp_path, most=100)
    again = gather(iter(()), tmp_path, most=100)
    order = [3, 17, 39, 0, 22]
    batches = [Batches(each, singles(each), [], 90) for each in (whole, files, again)]
    made = [each.collate(order) for each in batches]
    for batch, *others in zip(*made, strict=True):
        for other in others:
            assert batch.keys() == other.keys()
            for name, value in batch.items():
                assert np.array_equal(value, other[name])
    (tmp_path / "ids.int32").write_bytes(b"1234")
    with pytest.raises(ValueError, match=r"holds 1 token ids .* remove the folder"):
        gather(parts, tmp_path)
