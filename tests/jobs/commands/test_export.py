"""`heirloom export` and `heirloom serve`: what they write, refuse and say; a real vLLM server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from jobs import cli
from resources.chat.chat import Chat
from resources.checkout import CHECKOUT
from resources.engines import vllm
from resources.engines.verification import compare
from resources.engines.verification.compare import Comparison
from resources.models.loading import load, save
from resources.store.home import Home
from tests.jobs.background import in_background
from tests.resources.models.served import random
from warehouse.store import Artifact, Output, Request, Store

KEY = "nano/parent"


@pytest.fixture
def built(home: Home, tmp_path: Path, tokenizer_dir: Path) -> Artifact:
    """A heterogeneous checkpoint, published in the home under a key of the smoke recipe."""

    def fn(
        workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: object
    ) -> Output:
        save(random(tie_word_embeddings=True), workdir / "model", tokenizer_dir)
        return Output(files={"": workdir / "model"})

    return Store(home.path).build(Request(KEY, None, fn, {}, {}, 0, code_version="1"))


def run(home: Home, *words: str) -> int:
    return cli.main([words[0], "--home", str(home.path), "--recipe", "smoke", *words[1:]])


def test_every_format_is_written_and_only_ours_is_replaced(
    home: Home, built: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for form, family in (
        ("nemotron-nas", "nemotron-nas"),
        ("padded", "llama"),
        ("heirloom", "heterogeneous_llama"),
    ):
        assert run(home, "export", KEY, str(out), "--format", form, "--no-verify") == 0
        said = capsys.readouterr().out
        assert f"{KEY}@{built.data_version[:12]} as {form}" in said and str(out) in said
        assert "not verified" in said
        assert json.loads((out / "config.json").read_text())["model_type"] == family
        note = json.loads((out / "heirloom.json").read_text())
        assert note == {"asset_key": KEY, "data_version": built.data_version, "format": form}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert run(home, "export", KEY, str(tmp_path / "mine"), "--no-verify") == 1
    assert "no export wrote" in capsys.readouterr().err
    assert run(home, "export", KEY, str(tmp_path / "mine" / "letter.txt"), "--no-verify") == 1
    assert "is a file" in capsys.readouterr().err
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_an_export_that_vllm_computes_otherwise_fails_and_a_missing_vllm_claims_nothing(
    home: Home,
    built: Artifact,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(compare, "missing", lambda: "vLLM is not here")
    assert run(home, "export", KEY, str(tmp_path / "a")) == 0
    assert "not verified in vLLM: vLLM is not here" in capsys.readouterr().out

    def other(*given: object) -> Comparison:
        return Comparison(vllm="0", prompts=1, compared=8, differing=3, log_difference=0.5)

    monkeypatch.setattr(compare, "verify", other)
    assert run(home, "export", KEY, str(tmp_path / "b")) == 1  # the same artifact, asked again
    said = capsys.readouterr()
    assert "3 of 8 greedy tokens" in said.out and "do not use nano/exported_parent" in said.err
    assert run(home, "export", KEY, str(tmp_path / "c"), "--format", "padded") == 1
    said = capsys.readouterr()
    assert "3 of 8 greedy tokens" in said.err and "is not published" in said.err
    assert not (tmp_path / "b").exists() and not (tmp_path / "c").exists()
    assert not Store(home.path).parts("nano/exported_parent_padded")


def test_an_export_is_an_artifact_made_once(
    home: Home, built: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resources.models.export import nemotron_nas

    assert run(home, "export", KEY, str(tmp_path / "a"), "--no-verify") == 0
    store = Store(home.path)
    made = store.parts("nano/exported_parent")[None]
    assert made.manifest["inputs"]["model"]["data_version"] == built.data_version
    assert [check.name for check in made.checks] == ["layout_sound"]
    (tmp_path / "a" / "config.json").write_text("changed by its owner")

    def again(*given: object) -> None:
        raise AssertionError("written twice")

    monkeypatch.setattr(nemotron_nas, "export", again)
    assert run(home, "export", KEY, str(tmp_path / "b"), "--no-verify") == 0
    assert store.parts("nano/exported_parent")[None].memo_key == made.memo_key
    names = {file.name for file in (tmp_path / "b").iterdir()}
    assert names == {*made.manifest["files"], "heirloom.json"}
    for name in made.manifest["files"]:
        assert (tmp_path / "b" / name).read_bytes() == (made.path() / name).read_bytes()


def test_serving_says_what_is_in_the_way(
    home: Home,
    built: Artifact,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(vllm, "missing", lambda: "vLLM is not here")
    assert run(home, "serve", KEY) == 1
    assert "vLLM is not here" in capsys.readouterr().err
    monkeypatch.setattr(vllm, "missing", lambda: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(home, "serve", KEY, "--port", str(port), "--", "--max-model-len", "64") == 1
    assert f"port {port} on 127.0.0.1 is taken" in capsys.readouterr().err
    assert not Store(home.path).parts("nano/exported_parent")


def test_comparisons_pass_only_when_vllm_ran_and_agreed() -> None:
    good = Comparison(vllm="0", prompts=2, compared=8, log_difference=1e-5)
    assert good.equal and "0 of 8 greedy tokens of 2 prompts differ" in good.describe()
    rounded = Comparison(compared=8, log_difference=1e-5, stored="bfloat16", stored_differing=3)
    assert rounded.equal and "in bfloat16 3 of as many differ" in rounded.describe()
    assert Comparison(compared=8, differing=1, ties=1, log_difference=1e-5).equal
    assert not Comparison(compared=8, differing=2, ties=1, log_difference=1e-5).equal
    assert not Comparison(compared=8, log_difference=0.01).equal
    assert not Comparison(compared=8, log_difference=float("inf")).equal
    assert not Comparison().equal
    assert not Comparison(reason="no vLLM").equal


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(vllm.missing() is not None, reason=str(vllm.missing()))
def test_a_served_model_answers_as_ours_does(home: Home, built: Artifact) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "jobs.cli", "serve", KEY, "--port", str(port)]
    command += ["--home", str(home.path), "--recipe", "smoke", "--", "--max-model-len", "96"]
    server = subprocess.Popen(
        in_background(command), cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = server.stdout.readline()
            assert line, f"the server stopped: {said}"
            said += line
        assert f"http://127.0.0.1:{port}/v1" in said and "--max-model-len 96" in said
        _compare(f"http://127.0.0.1:{port}/v1", built.path())
        os.kill(server.pid, signal.SIGINT)
        assert server.wait(60) == 0
        with socket.socket() as probe:  # nobody listens any more
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    finally:
        if server.poll() is None:
            server.terminate()
            server.wait(60)


def _compare(url: str, folder: Path) -> None:
    """Greedy completions and log-probabilities over HTTP, from token ids and through the chat."""
    model, chat = load(folder), Chat.load(folder)
    prompts = [[0, *range(5 + index, 25 + 3 * index)] for index in range(4)]
    body = {"model": KEY, "max_tokens": 24, "temperature": 0, "logprobs": 0, "ignore_eos": True}
    answers = _post(f"{url}/completions", {**body, "prompt": prompts, "return_token_ids": True})
    assert len(answers["choices"]) == len(prompts)
    for prompt, answer in zip(prompts, answers["choices"], strict=True):
        tokens = answer["token_ids"]
        assert len(tokens) == 24
        logs = _logs(model, [*prompt, *tokens])[len(prompt) - 1 : -1]
        assert logs.argmax(-1).tolist() == tokens
        ours = logs[torch.arange(24), torch.tensor(tokens)]
        theirs = torch.tensor(answer["logprobs"]["token_logprobs"])
        assert (ours - theirs).abs().max() < 1e-3
    messages, _ = chat.told([{"role": "user", "content": "What is 1 + 2?"}], "off")
    asked = {"model": KEY, "messages": list(messages), "max_tokens": 1, "temperature": 0}
    answer = _post(f"{url}/chat/completions", {**asked, "return_token_ids": True})
    (ids,) = chat.prompts([messages])
    assert answer["prompt_token_ids"] == ids
    assert answer["choices"][0]["token_ids"] == [int(_logs(model, ids)[-1].argmax())]


def _logs(model: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0].log_softmax(-1)


def _post(url: str, body: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.loads(reply.read())
