"""Servers of our own: what they are started with, and that a real one answers as the model here.

`HEIRLOOM_SMOLLM2` names a folder of SmolLM2-135M-Instruct for the real one; skipped without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from resources.engines.opening import open_engine
from resources.engines.protocol import Request, Sampling
from resources.engines.server import managed
from resources.engines.vllm import missing
from resources.execution import Execution
from resources.recipe.sections.roles import Managed, Role, VllmSettings


def test_servers_are_started_as_the_role_says(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, Any]] = []
    over: list[int] = []

    @contextmanager
    def serving(folder: Path, name: str, port: int, **told: Any) -> Iterator[Any]:
        begun.append({"folder": folder, "name": name, **told})
        yield SimpleNamespace(url=f"http://127.0.0.1:{port}")
        over.append(port)

    monkeypatch.setattr(managed, "serving", serving)
    monkeypatch.setattr(managed, "on_cpu", lambda: True)
    settings = VllmSettings(
        tensor_parallel=2, devices=[1, 3], arguments={"max-model-len": 64, "enable-lora": True}
    )
    servers = [Managed(vllm=settings, concurrency=9), Managed(vllm=VllmSettings())]
    with ExitStack() as stack:
        found = managed.start(stack, tiny_llama, "super/sft", "float32", servers, tmp_path)
        assert not over
    assert len(over) == 2 and len({each.url for each in found}) == 2
    first, second = begun
    assert first["devices"] == {"CUDA_VISIBLE_DEVICES": "1,3"} and second["devices"] == {}
    assert (found[0].concurrency, first["dtype"], first["log"].parent) == (9, "float32", tmp_path)
    words = " ".join(first["extra"])
    for part in ("--tensor-parallel-size 2", "--max-model-len 64", "--generation-config vllm"):
        assert part in words
    assert first["extra"].count("--max-model-len") == 1 and words.endswith("--enable-lora")


def test_nothing_is_started_where_nothing_is_asked(tiny_llama: Path, tmp_path: Path) -> None:
    execution = Execution(requests=tmp_path / "requests", engine="vllm")
    assert open_engine(tiny_llama, "v1", execution).generate([], Sampling(0.0)) == []


def test_a_real_server_answers_as_the_model_here(tmp_path: Path) -> None:
    folder = os.environ.get("HEIRLOOM_SMOLLM2")
    if not folder or missing() is not None:
        pytest.skip("HEIRLOOM_SMOLLM2 names no folder, or vLLM is not installed")
    role = Role(engine=Managed(vllm=VllmSettings(arguments={"max-model-len": 256})))
    home = tmp_path / "home"
    execution = Execution(home=str(home), requests=tmp_path / "vllm", roles={"evaluation": role})
    asked = [Request((("user", f"What is {n} plus 3?"),)) for n in range(3)]
    asked.append(Request((("user", "one two three " * 200),)))
    sampling = Sampling(0.0, 1.0, 12)
    engine = open_engine(folder, "v1", execution, role="evaluation")
    served = engine.generate(asked, sampling)
    here = open_engine(folder, "v1", Execution(requests=tmp_path / "here", threads=1))
    own = here.generate(asked[:3], sampling)
    for one, other in zip(served[:3], own, strict=True):
        assert one.prompt_ids == other.prompt_ids
        assert (one.text, one.token_ids, one.finish_reason) == (
            other.text,
            other.token_ids,
            other.finish_reason,
        )
    assert served[3].finish_reason == "no_room"
    assert len(list((home / "logs").glob("engine-*.log"))) == 1
