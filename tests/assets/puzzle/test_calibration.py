"""Which text judges models: what a mixture holds out, else a share that nothing is trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from assets.puzzle.calibration import deciding, judging, scoring, sequences
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


def documents(lengths: list[int]) -> pa.Table:
    """Documents whose tokens say where they stand: 1,000 times the document, plus the place."""
    texts = [[1000 * at + place for place in range(length)] for at, length in enumerate(lengths)]
    return pa.table({"text_ids": pa.array(texts, pa.list_(pa.int32()))})


def test_windows_are_of_many_documents() -> None:
    corpus = documents([400, 0, 7, 30, 25])
    found = sequences(corpus, "all", tokens=100, sequence_length=10, seed=1, windows=True)
    whole = sequences(corpus, "all", tokens=1000, sequence_length=10, seed=1, windows=True)
    assert found.input_ids.shape == (10, 10)
    assert (whole.input_ids[:10] == found.input_ids).all()  # fewer are the beginning of more
    ids = whole.input_ids.ravel()
    assert len(np.unique(ids)) == len(ids) == 460  # no token twice; two fill no sequence
    # A window's tokens are neighbours, none is longer than a sequence, and positions restart in it.
    starts = np.flatnonzero(whole.position_ids.ravel() == 0)
    for begin, end in zip(starts, [*starts[1:], len(ids)], strict=True):
        assert (np.diff(ids[begin:end]) == 1).all() and end - begin <= 10
        assert len(np.unique(whole.document_ids.ravel()[begin:end])) == 1
    # 40 windows are of the first document, 6 of the others: they are not left for the end.
    assert set(np.unique(found.input_ids // 1000)) > {0}


def test_what_decides_is_behind_what_proposes(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    whole = tiny.corpus_table().slice(0, 30)
    column = documents([90] * 30)["text_ids"]
    texts = whole.set_column(whole.schema.get_field_index("text_ids"), "text_ids", column)
    tables = {"corpus": texts, "held_out": texts.slice(0, 1)}
    corpus = tiny.publish(store, "problems/corpus_tokens", Output(tables=tables))
    proposes, decides = scoring(corpus, RECIPE), deciding(corpus, RECIPE, 50)
    assert len(proposes) == 4 and len(decides) == 5
    assert not set(proposes.input_ids.ravel()) & set(decides.input_ids.ravel())
    # A share of 27 sequences cannot give 4 and 25: what decides has what it asks for.
    assert len(deciding(corpus, RECIPE, 250)) == 25
