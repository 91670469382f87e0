"""Which text judges models: what a mixture holds out, else a share that nothing is trained on."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from assets.puzzle.calibration import judging, sequences
from tests.resources.training import tiny_family as tiny
from warehouse.store import Output, Store

RECIPE = {"tokens": 40, "sequence_length": 10, "seed": 3}


def test_models_are_judged_on_what_a_mixture_holds_out(tmp_path: Path) -> None:
    store, whole = Store(tmp_path / "home"), tiny.corpus_table()
    out = whole.slice(30).set_column(
        whole.schema.get_field_index("text_ids"),
        "text_ids",
        pa.array([[90 + row] * 9 for row in range(10)], pa.list_(pa.int32())),
    )
    tables = {"corpus": whole.slice(0, 30), "held_out": out}
    mixture = tiny.publish(store, "problems/corpus_tokens", Output(tables=tables))
    judged = judging(mixture, RECIPE)
    assert set(judged.input_ids.ravel().tolist()) <= set(range(90, 100))
    # Whatever seed a stage or a model has, and however little it asks for: the same text.
    fewer = judging(mixture, RECIPE | {"tokens": 20, "seed": 4})
    assert (fewer.input_ids == judged.input_ids[:2]).all()
    plain = tiny.publish(store, "problems/corpus", Output(tables={"corpus": whole}))
    expected = sequences(plain.table("corpus"), "held_out", **RECIPE)
    assert (judging(plain, RECIPE).input_ids == expected.input_ids).all()
