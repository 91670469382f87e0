"""Downloads from a server of the hub's shape that breaks off: gone on with, verified, never half.

The server stands for the hub: nothing outside can be reached in tests.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from resources.checkout import CHECKOUT
from resources.downloading import DownloadError, download
from resources.sources import hub
from resources.sources.account import SourceError
from tests.resources import loopback
from tests.resources.answering import Answering

COMMIT, NAME, FILE = "1" * 40, "org/model", "model.safetensors"
BODY = hashlib.shake_256(b"weights").digest(200_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
CHUNK = 1 << 10


class Hub(ThreadingHTTPServer):
    """One file of one commit."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = BODY
        self.breaks: int | None = None  # the place in the file behind which nothing is sent
        self.stalls = self.deaf = False  # it waits there; it knows no ranges
        self.over = threading.Event()
        self.starts: list[int] = []


class Handler(Answering):
    server: Hub

    def do_GET(self) -> None:
        here, first = self.server, 0
        if (asked := self.headers.get("Range")) is not None and not here.deaf:
            first = int(asked.removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if first else 200)
        for name, value in {
            "ETag": f'"{SHA256}"',
            "X-Repo-Commit": COMMIT,
            "Content-Length": str(len(BODY) - first),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        here.starts.append(first)
        self.wfile.write(here.body[first : here.breaks])
        if here.breaks is not None:
            self.wfile.flush()
            here.over.wait(60 if here.stalls else 0)
            self.close_connection = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    from huggingface_hub import constants, file_download

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", CHUNK)
    monkeypatch.setattr(file_download, "time", SimpleNamespace(sleep=lambda seconds: None))
    with loopback.hub(Hub(), tmp_path, monkeypatch) as running:
        yield running
        running.over.set()


def blobs(cache: Path, kind: str = "models") -> dict[str, int]:
    folder = cache / f"{kind}--org--model"
    assert not list(folder.glob("snapshots/*/*")), "half a file is to be seen"
    return {path.name: path.stat().st_size for path in (folder / "blobs").iterdir()}


def whole(path: Path) -> bool:
    return path.name == FILE and path.read_bytes() == BODY and path.resolve().name == SHA256


def test_a_broken_download_goes_on_where_it_ended(server: Hub, tmp_path: Path) -> None:
    server.breaks = 70_000
    with pytest.raises(DownloadError, match="run again to go on from there") as caught:
        download(NAME, FILE, COMMIT, sha256=SHA256)
    there = blobs(tmp_path)[f"{SHA256}.incomplete"]
    assert 70_000 - CHUNK <= there <= 70_000
    assert re.match(rf"{there:,} of 200,000 bytes came", str(caught.value))
    server.breaks, server.starts = None, []
    path = download(NAME, FILE, COMMIT, sha256=SHA256)
    assert server.starts == [there] and whole(path)
    assert not list(tmp_path.rglob("*.incomplete"))
    assert download(NAME, FILE, COMMIT, sha256=SHA256) == path and server.starts == [there]


def test_a_server_without_ranges_gives_it_anew(server: Hub, tmp_path: Path) -> None:
    server.breaks = 70_000
    with pytest.raises(DownloadError):
        download(NAME, FILE, COMMIT, sha256=SHA256)
    server.breaks, server.deaf = None, True
    assert whole(download(NAME, FILE, COMMIT, sha256=SHA256))


def test_what_was_put_together_wrongly_is_removed(server: Hub, tmp_path: Path) -> None:
    server.breaks, server.body = 70_000, b"?" + BODY[1:]
    with pytest.raises(DownloadError):
        download(NAME, FILE, COMMIT, sha256=SHA256)
    server.breaks, server.body = None, BODY
    with pytest.raises(DownloadError, match=r"so a bit is wrong; it was removed"):
        download(NAME, FILE, COMMIT, sha256=SHA256)
    assert blobs(tmp_path) == {}
    assert whole(download(NAME, FILE, COMMIT, sha256=SHA256))


def test_what_is_longer_than_the_file_is_no_beginning_of_it(server: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "models--org--model" / "blobs"
    folder.mkdir(parents=True)
    (folder / f"{SHA256}.incomplete").write_bytes(BODY + b"more")
    assert whole(download(NAME, FILE, COMMIT, sha256=SHA256)) and server.starts == [0]


def test_a_data_set_says_how_much_came(server: Hub, tmp_path: Path) -> None:
    remote = hub.Remote(NAME, COMMIT, FILE, len(BODY), SHA256)
    server.breaks = 70_000
    with pytest.raises(SourceError, match=f"^{remote.identity}: .* of 200,000 bytes came"):
        hub.fetched(remote)
    assert list(blobs(tmp_path, "datasets")) == [f"{SHA256}.incomplete"]
    server.breaks = None
    assert whole(hub.fetched(remote)) and len(set(server.starts)) > 1


KILLED = f"""
from huggingface_hub import constants
constants.HF_HUB_OFFLINE, constants.DOWNLOAD_CHUNK_SIZE = False, {CHUNK}
from resources.downloading import download
download("{NAME}", "{FILE}", "{COMMIT}", sha256="{SHA256}")
"""


def test_a_kill_leaves_nothing_that_is_taken_for_whole(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    server.breaks, server.stalls = 70_000, True
    partial = tmp_path / "models--org--model" / "blobs" / f"{SHA256}.incomplete"
    process = subprocess.Popen([sys.executable, "-c", KILLED], cwd=CHECKOUT)
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size) and process.poll() is None:
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.05)
    process.kill()
    process.wait()
    there = blobs(tmp_path)[partial.name]
    assert 0 < there <= 70_000
    server.breaks, server.stalls, server.starts = None, False, []
    assert whole(download(NAME, FILE, COMMIT, sha256=SHA256)) and server.starts == [there]
