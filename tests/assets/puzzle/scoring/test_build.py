"""Block scores as an asset: what is judged, the prescreen, the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from assets.puzzle.halves import ATTENTION, FFN
from assets.puzzle.scoring import data as score_data
from assets.puzzle.scoring.build import score_blocks
from assets.puzzle.scoring.data import Batch, leading, one_context, problems
from assets.puzzle.scoring.prescreen import compose as sum_of_halves
from assets.puzzle.scoring.prescreen import survivors
from resources.execution import Execution
from resources.models.loading import save
from tests.assets.puzzle import tiny
from tests.assets.puzzle.halves import made
from tests.assets.puzzle.scoring.children import METRICS, PAIRS, VARIANTS


def test_composed_scores_by_hand() -> None:
    """1.0 + (1.2 - 1.0) + (1.3 - 1.0) = 1.5, and 1.1 where it is scored exactly."""
    pairs = [("full", "full"), ("full", "f"), ("a", "full"), ("a", "f")]
    sums = sum_of_halves(np.array([[1.0, 1.3, 1.2, 1.1]]), pairs)
    np.testing.assert_allclose(sums, [[1.0, 1.3, 1.2, 1.5]])


def test_the_best_of_every_layer_survive() -> None:
    sums = np.zeros((2, 9))
    others = [place for place, pair in enumerate(PAIRS) if "full" not in pair]
    assert others == [4, 5, 7, 8]
    sums[0, others], sums[1, others] = [4, 3, 1, 2], [1, 1, 9, 0]
    for keep, expected in ((1, [[7], [8]]), (2, [[7, 8], [4, 8]]), (9, [others, others])):
        kept = survivors(sums, PAIRS, keep)
        assert [[p for p in others if row[p]] for row in kept] == expected
        assert kept[:, [0, 1, 2, 3, 6]].all()


def answers(table: pa.Table, count: int) -> pa.Table:
    """The corpus with the last `count` tokens of every document as its answer."""
    lengths = [len(text) for text in table["text_ids"].to_pylist()]
    masks = [[False] * (length - count) + [True] * count for length in lengths]
    return table.append_column("loss_mask", pa.array(masks, pa.list_(pa.bool_())))


def test_problems_are_whole_documents_of_the_score_share(monkeypatch: pytest.MonkeyPatch) -> None:
    table = answers(tiny.corpus(), 3)
    assert sum(len(batch) for batch in problems(table, 99, seed=1)) == 10
    monkeypatch.setattr(score_data, "BATCH_TOKENS", 120)
    found = list(problems(table, 6, seed=1))
    share = [tuple(text) for text in table["text_ids"].to_pylist()[8::10]]
    rows = [(batch, row) for batch in found for row in range(len(batch.sequences.input_ids))]
    assert len(rows) == 6
    assert all(batch.sequences.input_ids.size <= 120 or len(batch) == 1 for batch in found)
    for batch, row in rows:
        real = batch.sequences.document_ids[row] >= 0
        text = batch.sequences.input_ids[row][real]
        assert tuple(text) in share
        assert batch.answers is not None
        assert np.flatnonzero(batch.answers[row]).tolist() == [*range(len(text) - 3, len(text))]
        assert batch.sequences.position_ids[row][real].tolist() == [*range(len(text))]
    with pytest.raises(ValueError, match="loss_mask"):
        list(problems(tiny.corpus(), 6, seed=1))
    with pytest.raises(ValueError, match="none of the 10 documents"):
        list(problems(answers(tiny.corpus(), 0), 6, seed=1))


def test_a_long_context_is_one_document() -> None:
    data = one_context(tiny.data())
    assert (data.document_ids == 0).all()
    assert (data.position_ids == np.arange(32)).all()
    assert leading([Batch(data), Batch(data)], 32 * 5) == 5
    assert leading([Batch(data)], 1) == 1


class Given:
    """What the build reads of an artifact."""

    def __init__(self, folder: Path | None = None, table: pa.Table | None = None) -> None:
        self.folder, self._table, self.data_version = folder, table, "version"
        self.manifest: dict[str, Any] = {"tables": {}}

    def path(self) -> Path | None:
        return self.folder

    def table(self, _: str, columns: list[str]) -> pa.Table:
        assert self._table is not None
        return self._table.select(columns)


RECIPE: dict[str, Any] = {
    "attention": VARIANTS[ATTENTION],
    "ffn": VARIANTS[FFN],
    "tokens": 128,
    "sequence_length": 32,
    "metrics": [*METRICS, "kl_long", "task"],
    "k": 2,
    "task_problems": 5,
    "long_context": {"tokens": 128, "sequence_length": 64},
    "prescreen": {"tokens": 64, "keep": 1},
    "fused_runs": {"lengths": [2], "ffn": ["full"]},
    "seed": 3,
    "asset_key": "super/block_scores",
    "model": "super",
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("inputs")
    model = tiny.parent(dtype=torch.float32)
    save(model, folder / "parent", tiny.TOKENIZER)
    made(model, folder / "library")
    for layer in range(3):  # two partitions
        target = folder / ("one" if layer < 2 else "two")
        target.mkdir(exist_ok=True)
        (folder / "library" / f"layer_{layer}").rename(target / f"layer_{layer}")
    return {
        "parent": Given(folder / "parent"),
        "corpus": Given(table=answers(tiny.corpus(200), 1)),
        "block_library@group_1": Given(folder / "one"),
        "block_library@group_2": Given(folder / "two"),
    }


def test_the_tables_of_a_build(inputs: dict[str, Any], tmp_path: Path) -> None:
    seen: list[float] = []
    execution = Execution(home=str(tmp_path), progress=lambda _, share: seen.append(share))
    made_with = score_blocks(tmp_path, inputs, RECIPE, execution)
    rows = made_with.tables["block_scores"].to_pylist()
    assert len(rows) == 3 * 9 * 7
    assert seen == sorted(seen) and seen[-1] == 1.0
    by_place = {(r["metric"], r["layer"], r["attention"], r["ffn"]): r for r in rows}
    for (metric, layer, attention, ffn), row in by_place.items():
        assert row["samples"] == {"kl_long": 2, "task": 5}.get(metric, 4)
        assert row["ci_low"] <= row["value"] + 1e-12 and row["value"] <= row["ci_high"] + 1e-12
        if (attention, ffn) == ("full", "full"):
            assert row["value"] == 0
        if "full" in (attention, ffn):
            assert row["source"] == "exact"
        elif row["source"] == "composed":
            halves = [
                by_place[metric, layer, *pair]["value"]
                for pair in ((attention, "full"), ("full", ffn))
            ]
            assert row["value"] == pytest.approx(sum(halves))
    for metric in RECIPE["metrics"]:
        for layer in range(3):
            sources = [r["source"] for r in rows if (r["metric"], r["layer"]) == (metric, layer)]
            assert sources.count("composed") == 3
    runs = made_with.tables["run_scores"].to_pylist()
    assert [row["layers"] for row in runs] == [[1, 2]] * 7
    assert next(iter(made_with.metrics)) == "median_kl"
    assert set(made_with.images) >= {"block_scores", "block_scores_task"}
    # everything again, from the cache and without a prescreen: only what was composed is computed
    again = score_blocks(tmp_path / "2", inputs, RECIPE, execution)
    assert again.tables["block_scores"].equals(made_with.tables["block_scores"])
    assert again.observations["sequences_computed"] == 0
    exact = score_blocks(tmp_path / "3", inputs, {**RECIPE, "prescreen": None}, execution)
    assert set(exact.tables["block_scores"]["source"].to_pylist()) == {"exact"}
    assert exact.observations["sequences_computed"] == 3 * 3 * (4 + 2 + 5)


def test_a_layer_without_a_variant_is_named(inputs: dict[str, Any], tmp_path: Path) -> None:
    without = {name: made_by for name, made_by in inputs.items() if not name.endswith("group_2")}
    with pytest.raises(FileNotFoundError, match=r"ffn variant 'ratio_50' for layer 2"):
        score_blocks(tmp_path, without, RECIPE, Execution())
