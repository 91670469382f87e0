"""The request store: what is put is found, by whoever asks, whatever is killed in between."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.engines.protocol import Completion
from resources.engines.store import store as stores
from resources.engines.store.index import Index
from resources.engines.store.rows import Row, completions, line, read_line, table
from resources.engines.store.store import RequestStore
from warehouse.errors import WarehouseError
from warehouse.files.filesystem import Files


def key(name: object) -> bytes:
    return hashlib.sha256(str(name).encode()).digest()


def answer(number: int, logprobs: bool = False) -> Completion:
    scores = [-0.5, -1.25] if logprobs else None
    return Completion(f"answer ü {number}", [number, 3], "stop", 5, 2, scores, 0.125, [1, 2])


def filled(root: Path, numbers: range) -> RequestStore:
    store = RequestStore(root)
    for begin in range(numbers.start, numbers.stop, 50):
        some = range(begin, min(begin + 50, numbers.stop))
        store.put({key(n): answer(n) for n in some}, "v")
    return store


def shards(root: Path) -> list[Path]:
    return sorted((root / "shards").rglob("*.parquet"))


texts = st.text(st.characters(exclude_categories=["Cs"]))
answers = st.builds(
    Completion,
    text=texts,
    token_ids=st.lists(st.integers(0, 2**31 - 1), max_size=5),
    finish_reason=st.sampled_from(["stop", "length"]),
    prompt_tokens=st.integers(0, 9),
    completion_tokens=st.integers(0, 9),
    logprobs=st.none() | st.lists(st.floats(-100, 0, width=32), max_size=5),
    seconds=st.floats(0, 10),
    prompt_ids=st.lists(st.integers(0, 2**31 - 1), max_size=5),
    cost=st.none() | st.floats(0, 10),
    served=texts,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(answers, min_size=1, max_size=6))
def test_a_row_is_the_same_in_a_journal_and_in_a_shard(made: list[Completion]) -> None:
    rows = [Row(key(number), "v", each, 12.5) for number, each in enumerate(made)]
    assert [read_line(line(row)) for row in rows] == rows
    assert all(line(row).count(b"\n") == 1 for row in rows)
    whole = table(reversed(rows))
    there = dict(zip(whole["key"].to_pylist(), completions(whole, logprobs=True), strict=True))
    assert there == {row.key: row.completion for row in rows}


def test_a_line_cut_anywhere_is_no_row() -> None:
    whole = line(Row(key(1), "v", answer(1), 1.0))
    assert read_line(whole) is not None
    assert not any(read_line(whole[:end]) for end in range(len(whole) - 1))


def test_what_is_put_is_found_in_journals_and_in_shards(tmp_path: Path) -> None:
    store = filled(tmp_path, range(1200))
    assert len(shards(tmp_path)) == 2 and len(list((tmp_path / "journals").iterdir())) == 1
    keys = [key(n) for n in range(1300)]
    for other in (store, RequestStore(tmp_path)):
        assert other.get(keys) == {key(n): answer(n) for n in range(1200)}
        assert other.get(keys[::-1]) == other.get(keys) and len(other) == 1200
    for path in shards(tmp_path):
        assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_next_process_goes_on_with_a_journal(tmp_path: Path) -> None:
    for begin in range(0, 1000, 100):
        filled(tmp_path, range(begin, begin + 100)).close()
        assert len(list((tmp_path / "journals").iterdir())) <= 1
    assert len(shards(tmp_path)) == 1
    assert len(RequestStore(tmp_path)) == 1000


def test_the_first_completion_stays_and_log_probabilities_are_added(tmp_path: Path) -> None:
    one, other = RequestStore(tmp_path), RequestStore(tmp_path)
    assert one.put({key(1): answer(1)}, "v") == {key(1): answer(1)}
    assert other.put({key(1): answer(2)}, "v") == {key(1): answer(1)}
    assert other.get([key(1)], logprobs=True) == {}
    scored = answer(3, logprobs=True)
    assert other.put({key(1): scored}, "v") == {key(1): scored}
    assert one.put({key(1): answer(4, logprobs=True)}, "v") == {key(1): scored}
    assert one.get([key(1)])[key(1)].text == scored.text
    filled(tmp_path, range(10, 600)).put({key(1): answer(5)}, "v")
    for store in (one, RequestStore(tmp_path)):
        assert store.get([key(1)], logprobs=True) == {key(1): scored}
        assert store.get([key(1)])[key(1)].logprobs is None


def test_the_index_in_files_finds_what_the_shards_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "FOLD_AT", 16)
    monkeypatch.setattr("resources.engines.store.index.WRITE_AT", 3)
    monkeypatch.setattr("resources.engines.store.index.MERGE_AT", 2)
    store = filled(tmp_path, range(800))
    assert len(shards(tmp_path)) == 16
    assert 1 <= len(list((tmp_path / "index").iterdir())) <= 3
    keys = [key(n) for n in range(0, 900, 7)]
    expected = {key(n): answer(n) for n in range(0, 800, 7)}
    assert store.get(keys) == expected == RequestStore(tmp_path).get(keys)
    assert len(RequestStore(tmp_path)) == 800
    next((tmp_path / "index").iterdir()).write_bytes(b"damaged")
    assert RequestStore(tmp_path).get(keys) == expected
    for path in (tmp_path / "index").iterdir():
        path.unlink()
    assert RequestStore(tmp_path).get(keys) == expected


def test_keys_with_equal_beginnings_are_told_apart(tmp_path: Path) -> None:
    alike = [bytes(8) + number.to_bytes(8, "big") + bytes(16) for number in range(300)]
    store = RequestStore(tmp_path)
    store.put({each: answer(number) for number, each in enumerate(alike)}, "v")
    store.put({key(n): answer(n) for n in range(300)}, "v")
    assert shards(tmp_path)
    index = Index(store.shards.files, store.shards)
    index.refresh()
    assert len(index.find(alike)) == 300
    found = RequestStore(tmp_path).get(alike)
    assert [found[each].token_ids[0] for each in alike] == list(range(300))


WRITER = """
import hashlib, sys
from resources.engines.store.store import RequestStore
from resources.engines.protocol import Completion
store = RequestStore(sys.argv[1])
name, i = sys.argv[2], 0
print("ready", flush=True)
while i < 60 or name == "endless":
    keys = [hashlib.sha256(f"{name}{i}-{j}".encode()).digest() for j in range(20)]
    store.put({key: Completion("t", [i, j], "stop", 1, 2, None, 0.0)
               for j, key in enumerate(keys)}, "v")
    i += 1
    if name == "endless":
        print(i, flush=True)
"""


def start(root: Path, name: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, str(root), name]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)


def test_processes_share_a_store_and_one_is_killed(tmp_path: Path) -> None:
    endless = start(tmp_path, "endless")
    writers = [start(tmp_path, "a"), start(tmp_path, "b")]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    assert endless.stdout is not None
    while endless.stdout.readline() != b"30\n":
        assert endless.poll() is None
    endless.send_signal(signal.SIGKILL)
    said = [int(each) for each in endless.stdout.read().split()]
    endless.wait()
    for process in (endless, *writers):
        assert process.stdout is not None
        process.stdout.close()
    store = RequestStore(tmp_path)
    keys = [key(f"{name}{i}-{j}") for name in "ab" for i in range(60) for j in range(20)]
    found = store.get(keys)
    assert len(found) == 2400 and found[key("b7-3")].token_ids == [7, 3]
    done = max([30, *said])
    told = [key(f"endless{i}-{j}") for i in range(done) for j in range(20)]
    assert len(store.get(told)) == len(told), "whatever was told to be stored is stored"
    assert shards(tmp_path)


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    filled(tmp_path, range(10)).close()
    (path,) = (tmp_path / "journals").iterdir()
    path.write_bytes(path.read_bytes()[:-20])
    store = RequestStore(tmp_path)
    assert len(store) == 9
    store.put({key(100): answer(100)}, "v")
    assert len(RequestStore(tmp_path)) == 10 and len(list((tmp_path / "journals").iterdir())) == 1


@pytest.mark.parametrize("step", ["publish", "turn", "remove"])
def test_a_kill_while_a_journal_becomes_a_shard_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    where = {
        "publish": "resources.engines.store.shards.Shards.publish",
        "turn": "resources.engines.store.store.RequestStore._turn",
        "remove": "resources.engines.store.journal.Writer.remove",
    }[step]

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(where, killed)
        filled(tmp_path, range(600))
    kept = range(550)  # of the call that was cut off, what was written before
    store = RequestStore(tmp_path)
    assert set(store.get([key(n) for n in range(600)])) == {key(n) for n in kept}
    filled(tmp_path, range(600))
    assert len(RequestStore(tmp_path)) == 600
    rows = [row for path in shards(tmp_path) for row in pq_keys(path)]
    assert len(rows) == len(set(rows)), "no row stands in two shards"


def pq_keys(path: Path) -> list[bytes]:
    import pyarrow.parquet as pq

    return list(pq.read_table(path, columns=["key"])["key"].to_pylist())


def test_a_full_disk_is_one_clear_line_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path, range(500))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(WarehouseError, match="the disk is full"):
            store.put({key(n): answer(n) for n in range(500, 600)}, "v")
        assert len(store.get([key(n) for n in range(600)])) == 600
    store.put({key(n): answer(n) for n in range(600, 700)}, "v")
    assert len(RequestStore(tmp_path)) == 700 and len(shards(tmp_path)) == 1


def test_what_a_kill_left_half_written_is_no_shard(tmp_path: Path) -> None:
    filled(tmp_path, range(600))
    (path,) = shards(tmp_path)
    path.with_name(".tmp-7-abc.parquet").write_bytes(path.read_bytes()[:100])
    (tmp_path / "index").mkdir(exist_ok=True)
    (tmp_path / "index" / ".tmp-7-abc.arrow").write_bytes(b"half")
    assert len(RequestStore(tmp_path)) == 600


def test_a_damaged_shard_is_named_and_a_missing_one_is_asked_for_again(tmp_path: Path) -> None:
    filled(tmp_path, range(600))
    (path,) = shards(tmp_path)
    held = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(held[:-1] + b"x")
    with pytest.raises(WarehouseError, match=f"{path.name}: this shard of requests is damaged"):
        RequestStore(tmp_path).get([key(1)])
    path.unlink()
    assert RequestStore(tmp_path).get([key(1)]) == {}


def test_shards_may_lie_on_an_object_store(tmp_path: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}/requests"
    store = RequestStore(tmp_path / "one", Files(url))
    store.put({key(n): answer(n) for n in range(700)}, "v")
    store.put({key(n): answer(n) for n in range(700, 750)}, "v")
    store.close()
    other = RequestStore(tmp_path / "other", Files(url))
    assert other.get([key(n) for n in range(750)]) == {key(n): answer(n) for n in range(750)}


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Path]:
    """The folder of a request cache as homes had it, with 1500 completions."""
    path = tmp_path / "requests.sqlite"
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TABLE completions (key BLOB PRIMARY KEY, model_version TEXT NOT NULL, text TEXT "
        "NOT NULL, token_ids BLOB NOT NULL, finish_reason TEXT NOT NULL, prompt_tokens INTEGER NOT "
        "NULL, completion_tokens INTEGER NOT NULL, logprobs BLOB, seconds REAL NOT NULL, created "
        "REAL NOT NULL) WITHOUT ROWID"
    )
    rows = [
        (
            key(n),
            "v0",
            f"old {n}",
            np.asarray([n, 7], dtype="<i4").tobytes(),
            "length",
            4,
            2,
            np.asarray([-0.5, -0.25], dtype="<f4").tobytes() if n % 2 else None,
            0.5,
            1000.0 + n,
        )
        for n in range(1500)
    ]
    connection.executemany("INSERT INTO completions VALUES (?,?,?,?,?,?,?,?,?,?)", rows)
    connection.commit()
    connection.close()
    yield tmp_path


def test_the_cache_of_an_old_home_is_taken_up_once_and_kept(old: Path) -> None:
    before = (old / "requests.sqlite").read_bytes()
    store = RequestStore(old)
    assert len(store) == 1500 and len(shards(old)) == 2
    found = store.get([key(1), key(2)], logprobs=True)
    assert found == {key(1): Completion("old 1", [1, 7], "length", 4, 2, [-0.5, -0.25], 0.5)}
    assert store.put({key(2): answer(2)}, "v")[key(2)].text == "old 2", "what was paid for stays"
    assert (old / "requests.sqlite").read_bytes() == before
    assert not list(old.glob("requests.sqlite-*"))
    times = [path.stat().st_mtime_ns for path in shards(old)]
    assert len(RequestStore(old)) == 1500
    assert [path.stat().st_mtime_ns for path in shards(old)] == times


def test_taking_it_up_may_be_killed(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish, made = stores.Shards.publish, []

    def once(self: stores.Shards, rows: list[Row]) -> str:
        if made:
            raise KeyboardInterrupt
        made.append(publish(self, rows))
        return made[0]

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(stores.Shards, "publish", once)
        RequestStore(old)
    assert len(RequestStore(old)) == 1500 and len(shards(old)) == 2


def test_a_damaged_old_cache_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "requests.sqlite").write_text("this is no database, and it is long enough" * 30)
    with pytest.raises(OSError, match="move the damaged file away to go on without"):
        RequestStore(tmp_path)
