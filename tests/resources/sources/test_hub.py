"""Hub data sets against a loopback server of the hub's shape: pinned, verified, never run."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.recipe.sections.data import Source
from resources.sources import hub, shards
from resources.sources.account import SourceError
from resources.sources.reading import read
from tests.resources import loopback
from tests.resources.answering import Answering

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONVERTED = "fedcba9876543210fedcba9876543210fedcba98"


def parquet(*texts: str) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": list(texts)}), sink)
    return sink.getvalue()


class Hub(ThreadingHTTPServer):
    """What the hub's library asks for: data set info, and files of a revision."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.commits = {"main": COMMIT, "refs/convert/parquet": CONVERTED}
        self.repos: dict[tuple[str, str], dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.damage = False
        self.refuses = 0


class Handler(Answering):
    server: Hub

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        self.server.asked.append(path)
        parts = path.strip("/").split("/")
        if self.server.refuses:
            self.answer(self.server.refuses, b"{}")
            return
        if parts[:2] == ["api", "datasets"]:
            dataset, revision = "/".join(parts[2:4]), "/".join(parts[5:])
            commit = self.server.commits.get(revision, revision)
            files = self.server.repos.get((dataset, commit))
            if files is None:
                missing = not any(name == dataset for name, _ in self.server.repos)
                code = "RepoNotFound" if missing else "RevisionNotFound"
                self.answer(404, b"{}", X_Error_Code=code)
                return
            siblings = [
                {
                    "rfilename": name,
                    "size": len(body),
                    "lfs": {
                        "sha256": hashlib.sha256(body).hexdigest(),
                        "size": len(body),
                        "pointerSize": 130,
                    },
                }
                for name, body in files.items()
            ]
            body = json.dumps({"id": dataset, "sha": commit, "siblings": siblings}).encode()
            self.answer(200, body, Content_Type="application/json")
            return
        dataset, commit, name = "/".join(parts[1:3]), parts[4], "/".join(parts[5:])
        found = self.server.repos.get((dataset, commit), {}).get(name)
        if found is None:
            self.answer(404, b"", X_Error_Code="EntryNotFound")
            return
        if self.server.damage:
            found = found[:-9] + bytes([found[-9] ^ 1]) + found[-8:]
        etag = hashlib.sha256(found).hexdigest()
        self.answer(200, found, ETag=f'"{etag}"', X_Repo_Commit=commit)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with loopback.hub(Hub(), tmp_path / "cache", monkeypatch) as running:
        yield running


def declared(path: str, **more: Any) -> Source:
    return Source.model_validate({"kind": "text", "path": path, "license": "mit", **more})


def texts(source: Source, memory: Path) -> list[str]:
    return [
        text
        for shard in shards.shards(source, memory, memory / "listings")
        for batch in read(source, shard)
        for text in batch.kept.column("text").to_pylist()
    ]


def test_parquet_of_a_split_is_read_and_pinned(server: Hub, tmp_path: Path) -> None:
    server.repos["org/data", COMMIT] = {
        "README.md": b"#",
        "main/train-00000-of-00002.parquet": parquet("a"),
        "main/train-00001-of-00002.parquet": parquet("b"),
        "main/test-00000-of-00001.parquet": parquet("c"),
        "other/train-00000-of-00001.parquet": parquet("d"),
    }
    source = declared("hub:org/data@main", config="main")
    made = shards.shards(source, tmp_path, tmp_path / "listings")
    assert len(made) == 2 and not any("resolve" in path for path in server.asked)
    assert texts(source, tmp_path) == ["a", "b"]
    # A revision that moves stays where this home first saw it, and nothing is asked again.
    server.commits["main"] = CONVERTED
    before = len(server.asked)
    assert shards.shards(source, tmp_path, tmp_path / "listings") == made
    assert len(server.asked) == before


def test_raw_files_by_a_declared_glob(server: Hub, tmp_path: Path) -> None:
    server.repos["org/data", COMMIT] = {
        "data.py": b"print('never run')",
        "raw/1.jsonl": b'{"text": "one"}\n',
        "raw/2.jsonl": b'{"text": "two"}\n',
    }
    assert texts(declared("hub:org/data", files="raw/*.jsonl"), tmp_path) == ["one", "two"]
    with pytest.raises(SourceError, match=r"no file matches '\*\.csv'"):
        texts(declared("hub:org/data", files="*.csv"), tmp_path)


def test_a_loading_script_is_refused_with_what_would_work(server: Hub, tmp_path: Path) -> None:
    server.repos["org/data", COMMIT] = {"data.py": b"", "raw.zip": b""}
    server.repos["org/data", CONVERTED] = {"default/train/0000.parquet": parquet("x")}
    with pytest.raises(SourceError) as error:
        texts(declared("hub:org/data@main"), tmp_path)
    assert "loading script (data.py), which is never run" in str(error.value)
    assert "hub:org/data@refs/convert/parquet" in str(error.value)
    assert texts(declared("hub:org/data@refs/convert/parquet"), tmp_path) == ["x"]


def test_a_flipped_bit_is_found_and_removed(server: Hub, tmp_path: Path) -> None:
    server.repos["org/data", COMMIT] = {"data/train-0.parquet": parquet("x")}
    server.damage = True
    with pytest.raises(SourceError, match="SHA-256"):
        texts(declared("hub:org/data"), tmp_path)
    server.damage = False
    assert texts(declared("hub:org/data"), tmp_path) == ["x"]


def test_what_the_hub_does_not_have_is_one_line(server: Hub, tmp_path: Path) -> None:
    server.repos["org/data", COMMIT] = {"data/train-0.parquet": parquet("x")}
    for path, words in [
        ("hub:org/none", "no such data set"),
        ("hub:org/data@v9", "no such revision"),
        ("hub:org/data@main", "has no Parquet of split test: it has data/train-0.parquet"),
    ]:
        with pytest.raises(SourceError, match=words) as error:
            texts(declared(path, split="test"), tmp_path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "set HF_TOKEN"), (403, "set HF_TOKEN"), (429, "again later"), (500, "again later")],
)
def test_a_hub_that_refuses_says_why(server: Hub, tmp_path: Path, status: int, words: str) -> None:
    server.refuses = status
    with pytest.raises(SourceError, match=f"the hub answered {status}: .*{words}"):
        texts(declared("hub:org/data"), tmp_path)


def test_a_hub_out_of_reach_is_one_line(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        hub, "_endpoint", lambda: "http://127.0.0.1:9"
    )  # the discard port: nobody listens
    with pytest.raises(SourceError, match="cannot be reached") as error:
        texts(declared("hub:org/data"), tmp_path)
    assert "HF_ENDPOINT" in str(error.value) and "\n" not in str(error.value)
