"""Models of the hub, against a loopback server of its shape: pinned, verified, and used offline."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from assets.parents.adopt import adopt
from resources.execution import Execution
from resources.models.errors import CheckpointError
from resources.pretrained import commits, hub
from resources.pretrained.checking import source_faults
from resources.pretrained.commits import Commits
from resources.pretrained.source import ParentSource, parse
from resources.store.building import Code, materialise, states_of
from resources.store.digests import Digests
from resources.store.spec import Spec
from tests.resources import loopback
from tests.resources.answering import Answering
from tests.resources.pretrained.folders import instruct, sharded
from warehouse.errors import WarehouseError
from warehouse.store import Store

FIRST, SECOND = "1" * 40, "2" * 40
NOBODY = "http://127.0.0.1:9"  # the discard port, where nobody listens
NAME, TOKEN = "org/model", "hf_secretsecret"
Files = dict[str, bytes]


class Hub(ThreadingHTTPServer):
    """What the hub's library asks for: model info, and files of a revision."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.commits = {"main": FIRST}
        self.repos: dict[str, Files] = {}
        self.asked: list[str] = []  # whole files
        self.ranges: list[str] = []  # files of which a range was asked for
        self.tokens: set[str | None] = set()
        self.gated = self.damaged = False


class Handler(Answering):
    server: Hub

    def do_GET(self) -> None:
        here = self.server
        path = unquote(self.path.partition("?")[0])
        (here.ranges if "Range" in self.headers else here.asked).append(path)
        here.tokens.add(self.headers.get("Authorization"))
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        name = "/".join(parts[2:4] if api else parts[:2])
        revision = "/".join(parts[5:]) if api else parts[3]
        commit = here.commits.get(revision or "main", revision)
        if name != NAME:
            return self.answer(401, X_Error_Code="RepoNotFound")
        if here.gated and TOKEN not in str(self.headers.get("Authorization")):
            return self.answer(403, X_Error_Code="GatedRepo")
        if commit not in here.repos:
            return self.answer(404, X_Error_Code="RevisionNotFound")
        files = here.repos[commit]
        if api:
            siblings = [_sibling(name, body) for name, body in files.items()]
            body = json.dumps({"id": NAME, "sha": commit, "siblings": siblings}).encode()
            return self.answer(200, body, Content_Type="application/json")
        body = files.get("/".join(parts[4:]), b"")
        etag = hashlib.sha256(body).hexdigest()
        if here.damaged and parts[-1].endswith(".safetensors"):
            body = body[:-2] + bytes([body[-2] ^ 1]) + body[-1:]
        if (asked := self.headers.get("Range")) is not None:
            first, last = map(int, asked.removeprefix("bytes=").split("-"))
            return self.answer(206, body[first : last + 1])
        return self.answer(200, body, ETag=f'"{etag}"', X_Repo_Commit=commit)


def _sibling(name: str, body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"rfilename": name, "size": len(body)}
    if name.endswith(".safetensors"):
        digest = hashlib.sha256(body).hexdigest()
        found["lfs"] = {"sha256": digest, "size": len(body), "pointerSize": 130}
    return found


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_llama: Path) -> Iterator[Hub]:
    folder = sharded(instruct(tiny_llama, tmp_path / "published"))
    for name in ("pytorch_model.bin", "README.md", "modeling_x.py"):
        (folder / name).write_bytes(b"never fetched")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with loopback.hub(Hub(), tmp_path / "cache", monkeypatch) as running:
        running.repos[FIRST] = {file.name: file.read_bytes() for file in folder.iterdir()}
        yield running


def switch_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def source(revision: str = "@main") -> ParentSource:
    return parse(NAME + revision, Path("/"))


def spec(revision: str = "@main") -> Spec:
    fn = "assets.parents.adopt:adopt"
    return Spec(key="x/parent", stage="parents", fn=fn, source=source(revision))


def refused(source: ParentSource, tmp_path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        adopt(tmp_path / "work", {}, {}, Execution(source=source))
    message = str(caught.value)
    print(message)
    assert "\n" not in message and TOKEN not in message
    return message


def test_a_revision_is_adopted_at_its_commit_and_stays_without_network(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(commits.log, "disabled", False)  # migrations of a database disable loggers
    caplog.set_level(logging.INFO, "heirloom")
    store = Store(tmp_path / "home")
    (tmp_path / "home").mkdir()
    [(_, state)] = states_of(store, [spec("")])
    assert state.state == "missing"
    assert f"{NAME}: no revision is written; it is commit {FIRST} now" in caplog.text
    artifact = materialise(store, spec(""), Code("1"))
    assert artifact.manifest["observed"] == {"source": f"hub:{NAME}@{FIRST}"}
    assert artifact.manifest["execution"]["source"]["commit"] == FIRST
    assert artifact.observations["commit"] == FIRST
    names = set(artifact.manifest["files"])
    assert {"config.json", "tokenizer.json", "chat_template.jinja"} < names
    assert not names & {"pytorch_model.bin", "README.md", "modeling_x.py"}
    assert not any("pytorch_model" in path or "modeling" in path for path in server.asked)
    assert server.tokens == {f"Bearer {TOKEN}"} and TOKEN not in caplog.text
    server.commits["main"] = SECOND
    switch_off(monkeypatch)
    asked = len(server.asked)
    again = Digests(tmp_path / "home" / "digests.json")
    assert again.observed(spec("")) == {"source": f"hub:{NAME}@{FIRST}"}
    assert materialise(store, spec(""), Code("1")).memo_key == artifact.memo_key
    assert len(server.asked) == asked


def test_a_branch_that_moved_is_told(server: Hub, tmp_path: Path) -> None:
    settled = Commits(tmp_path / "hub.json").settled(source())
    assert settled.commit == FIRST and hub.moved(settled) is None
    server.repos[SECOND], server.commits["main"] = server.repos[FIRST], SECOND
    assert Commits(tmp_path / "hub.json").settled(source()).commit == FIRST
    assert hub.moved(settled) == SECOND
    asked = len(server.asked)
    assert Commits(None).settled(source(f"@{SECOND}")).commit == SECOND
    assert len(server.asked) == asked  # a commit is what it is


@pytest.mark.parametrize("unreachable", [False, True])
def test_what_is_cached_is_adopted_without_network(
    unreachable: bool, server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import hf_hub_download

    online = adopt(tmp_path / "a", {}, {}, Execution(source=source().at(FIRST)))
    hf_hub_download(NAME, "config.json", revision="main", endpoint=os.environ["HF_ENDPOINT"])
    if unreachable:
        monkeypatch.setenv("HF_ENDPOINT", NOBODY)
    else:
        switch_off(monkeypatch)
    settled = Commits(None).settled(source())
    offline = adopt(tmp_path / "b", {}, {}, Execution(source=settled))
    assert settled.commit == FIRST and offline.files == online.files


def test_the_hub_says_no_in_one_line(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = source().at(FIRST)
    other = ParentSource("hub", "org/other", commit=FIRST)
    assert "the hub has no such model, or it is private" in refused(other, tmp_path)
    assert f"no revision '{SECOND}'" in refused(source().at(SECOND), tmp_path)
    with pytest.raises(CheckpointError, match="has no revision 'v9'"):
        Commits(None).settled(source("@v9"))
    server.gated = True
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    assert "the model is gated: accept its terms on its page and set HF_TOKEN" in refused(
        here, tmp_path
    )
    server.gated = False
    files = server.repos[FIRST]
    server.repos[FIRST] = {"config.json": b"{}", "pytorch_model.bin": b"x"}
    assert "pytorch_model.bin is a pickle, which is never opened" in refused(here, tmp_path)
    server.repos[FIRST] = {"config.json": b"{}", "model-Q4.gguf": b"x"}
    assert "name the GGUF file itself, model-Q4.gguf" in refused(here, tmp_path)
    server.repos[FIRST] = files
    monkeypatch.setenv("HF_ENDPOINT", NOBODY)
    assert "the hub cannot be reached and its cache here has no copy" in refused(
        ParentSource("hub", "org/never", commit=FIRST), tmp_path
    )
    switch_off(monkeypatch)
    assert "the hub cannot be reached (HF_HUB_OFFLINE is set)" in refused(
        ParentSource("hub", "org/never", commit=FIRST), tmp_path
    )


def test_a_bit_that_flips_on_the_way_is_found(server: Hub, tmp_path: Path) -> None:
    server.damaged = True
    message = refused(source().at(FIRST), tmp_path)
    assert "the hub says SHA-256 " in message and "so a bit is wrong; it was removed" in message
    assert message.startswith(f"{NAME}@main/model-0000")
    server.damaged = False
    adopt(tmp_path / "whole", {}, {}, Execution(source=source().at(FIRST)))
    [first, *_] = (tmp_path / "cache").rglob("model-00001-*.safetensors")
    body = first.read_bytes()
    first.resolve().write_bytes(body[:-2] + bytes([body[-2] ^ 1]) + body[-1:])
    message = refused(source().at(FIRST), tmp_path)
    assert ".safetensors: its SHA-256 is " in message and "so a bit is wrong" in message
    assert message.startswith(f"{NAME}@main/model-0000") and "delete /" in message


def test_planning_what_cannot_be_reached_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch_off(monkeypatch)
    store = Store(tmp_path / "home")
    (tmp_path / "home").mkdir()
    [(_, state)] = states_of(store, [spec()])
    assert state.state == "missing" and not (tmp_path / "home" / "hub.json").exists()
    (tmp_path / "home" / "hub.json").write_text("{")
    with pytest.raises(WarehouseError, match=r"hub\.json: cannot be read .* delete it to ask"):
        states_of(store, [spec()])


def test_checking_fetches_no_weights(server: Hub, tmp_path: Path) -> None:
    assert source_faults(source(), tmp_path) == []
    assert not any(path.endswith(".safetensors") for path in server.asked)
    assert sum(path.endswith(".safetensors") for path in server.ranges) > 1
    server.repos[SECOND] = {**server.repos[FIRST]}
    del server.repos[SECOND]["chat_template.jinja"]
    server.commits["v2"] = SECOND
    [line] = source_faults(source("@v2"), tmp_path)
    assert line.startswith(f"{NAME}@v2: no chat_template.jinja")
    (tmp_path / "chat.jinja").write_text("{{ messages[0].content }}")
    mended = parse({"path": f"{NAME}@v2", "template": str(tmp_path / "chat.jinja")}, tmp_path)
    assert source_faults(mended, tmp_path) == []


def test_headers_of_the_hub_that_do_not_fit_are_said_before_anything_is_fetched(
    server: Hub, tmp_path: Path
) -> None:
    files = server.repos[FIRST]
    config = json.loads(files["config.json"])
    wider = json.dumps({**config, "intermediate_size": 2 * config["intermediate_size"]}).encode()
    server.repos[FIRST] = {**files, "config.json": wider}
    [line] = source_faults(source(), tmp_path)
    assert "does not fit config.json" in line and line.startswith(f"{NAME}@main/model-")
    name = next(each for each in files if each.endswith(".safetensors"))
    server.repos[FIRST] = {**files, name: files[name][:-4000]}
    [line] = source_faults(source(), tmp_path)
    assert f"{name}: its header promises" in line and "truncated" in line
    server.repos[FIRST] = {**files, name: b"<html>"}
    [line] = source_faults(source(), tmp_path)
    assert f"{name} has no safetensors header" in line and "name another revision" in line
    assert not any(path.endswith(".safetensors") for path in server.asked)


def test_nothing_is_built_of_an_unknown_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch_off(monkeypatch)
    (tmp_path / "home").mkdir()
    with pytest.raises(CheckpointError, match="the hub cannot be reached"):
        materialise(Store(tmp_path / "home"), spec(), Code("1"))
