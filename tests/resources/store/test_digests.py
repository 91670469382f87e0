"""Partitions watch their own files, or their own lines of a big one."""

from __future__ import annotations

from pathlib import Path

from resources.store.building import nodes_of
from resources.store.digests import Digests, lines_digest
from resources.store.spec import Spec


def spec(**parts: tuple[tuple[str, int, int | None], ...]) -> Spec:
    return Spec(
        key="problems/mine",
        stage="problems",
        fn="assets.problems.corpus:make_corpus",
        partitions={name: {} for name in parts},
        observe_of=parts,
    )


def test_a_new_file_leaves_the_other_partitions_as_they_were(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.jsonl" for name in "abc"}
    for name, file in files.items():
        file.write_text(name)
    watched = {name: ((str(file), 0, None),) for name, file in files.items()}
    before = {n.partition: n.observed for n in nodes_of([spec(a=watched["a"], b=watched["b"])])}
    files["b"].write_text("changed")
    after = {n.partition: n.observed for n in nodes_of([spec(**watched)])}
    assert before["a"] == after["a"] and set(before["a"]) == {"a.jsonl"}
    assert before["b"] != after["b"] and set(after) == {"a", "b", "c"}


def test_a_range_is_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(b"0123\n5678\nabcd\n")
    first, second = lines_digest(file, 0, 6), lines_digest(file, 6, 12)
    file.write_bytes(b"0123\n5678\nabcX\n")
    assert lines_digest(file, 0, 6) == first and lines_digest(file, 6, 12) != second
    file.write_bytes(b"0123\n5678\nabcd\nmore\n")
    assert (lines_digest(file, 0, 6), lines_digest(file, 6, 12)) == (first, second)
    file.write_bytes(b"0123\n567X\nabcd\n")
    assert lines_digest(file, 0, 6) != first


def test_ranges_are_remembered_by_size_and_time(tmp_path: Path) -> None:
    file, memory = tmp_path / "a.jsonl", tmp_path / "digests.json"
    file.write_bytes(b"0123\n5678\n")
    ranges = spec(a=((str(file), 0, 5),), b=((str(file), 5, None),))
    digests = Digests(memory)
    found = {name: digests.observed(ranges, name) for name in "ab"}
    digests.save()
    again = Digests(memory)
    assert {name: again.observed(ranges, name) for name in "ab"} == found
    assert not again.changed and found["a"] != found["b"]
