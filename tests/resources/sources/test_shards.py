"""A file is read in ranges, each line once; new files move no shard."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.sources import json_rows, opening, shards
from tests.resources.sources.reading import rows, source


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text("ab\r\u2028é", max_size=9), max_size=30),
    st.integers(1, 40),
    st.booleans(),
    st.integers(1, 16),
)
def test_ranges_of_a_file_hold_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, given: list[str], step: int, end: bool, block: int
) -> None:
    path = tmp_path_factory.mktemp("ranges") / "a.txt"
    content = ("\n".join(given) + ("\n" if end and given else "")).encode()
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "BLOCK", block)
        whole = list(opening.lines(path))
        cuts = [*range(0, max(len(content), 1), step), None]
        parts = [
            line
            for start, stop in itertools.pairwise(cuts)
            for line in opening.lines(path, start or 0, stop)
        ]
    expected = content.split(b"\n")
    expected = expected[:-1] if not expected[-1] else expected
    assert [line.text for line in whole] == [text.removesuffix(b"\r") for text in expected]
    assert parts == whole and [line.number for line in whole] == list(range(1, len(whole) + 1))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries({"text": st.text(min_size=1, max_size=30), "n": st.integers()}),
        max_size=8,
    ),
    st.integers(1, 60),
    st.sampled_from([None, 1]),
)
def test_an_array_is_read_like_json_itself(
    tmp_path_factory: pytest.TempPathFactory, given: list[Any], block: int, indent: int | None
) -> None:
    path = tmp_path_factory.mktemp("array") / "a.json"
    path.write_text(json.dumps(given, indent=indent, ensure_ascii=False), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "BLOCK", block)
        found = list(json_rows.json_array(path, "utf-8"))
    assert [row[1] for row in found if isinstance(row, tuple)] == given


def test_big_files_are_read_in_ranges_and_new_shards_move_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_BYTES", 40)
    (tmp_path / "a.jsonl").write_text("".join(f'{{"text": "{i}"}}\n' for i in range(20)))
    table = pa.table({"text": [str(i) for i in range(20)]})
    pq.write_table(table, tmp_path / "p.parquet", row_group_size=5)
    declared = source("*")
    before = shards.shards(declared, tmp_path, tmp_path)
    assert [each.name for each in before][:2] == ["a.jsonl", "a.jsonl-1"] and len(before) > 8
    kept, _ = rows(tmp_path, declared)
    assert sorted(kept) == sorted([(str(i), i + 1) for i in range(20)] * 2)
    (tmp_path / "0.jsonl").write_text('{"text": "new"}\n')
    assert set(before) < set(shards.shards(declared, tmp_path, tmp_path))


def test_many_small_files_are_bundled(tmp_path: Path) -> None:
    for number in range(shards.MOST_FILES + 1):
        (tmp_path / f"{number}.txt").write_text(str(number))
    before = shards.shards(source("*.txt"), tmp_path, tmp_path)
    (tmp_path / "more.txt").write_text("more")
    after = shards.shards(source("*.txt"), tmp_path, tmp_path)
    assert len(before) <= shards.BUNDLES and len(set(after) - set(before)) == 1


def test_partitions_have_legal_and_different_names() -> None:
    from warehouse.manifest import check_partition

    names = ["a/b.jsonl", "a_b.jsonl", "ü.txt", "..x", "a..b", "train-00000-of-00002.parquet", "."]
    made = [check_partition(shards.partition(name)) for name in names]
    assert len(set(made)) == len(names)
