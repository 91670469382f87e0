"""A model is its weights, configuration, chat and stop tokens: other files do not change its name.

Completions paid for under a data version stay hits for every version of the same model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from resources.engines.cache import CachedEngine
from resources.engines.identity import former, identity
from resources.engines.opening import open_engine
from resources.engines.protocol import Request, Sampling, request_key
from resources.engines.store.store import RequestStore
from resources.execution import Execution
from warehouse.store import Artifact, Output, Store
from warehouse.store import Request as Build

SAMPLING = Sampling(1.0, max_new_tokens=4, seed=3)
ASKED = [Request((("user", f"question {i}"),)) for i in range(3)]


def published(store: Store, folder: Path, seed: int) -> Artifact:
    """A checkpoint folder as a version of one asset."""
    return store.build(
        Build("m/parent", None, lambda *_: Output(files={"": folder}), {}, {}, seed, "1")
    )


@pytest.fixture
def folder(tmp_path: Path, tiny_llama: Path) -> Path:
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def note(folder: Path) -> None:
    (folder / "README.md").write_text("a side file")


def setting(folder: Path) -> None:
    values = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(values | {"use_cache": True}))


def writer(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"transformers_version": "9"}))


def rotation(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"rms_norm_eps": 0.5}))


def weight(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")


def toggle(folder: Path) -> None:
    thinking = {"on": {"system": "think"}, "off": {}}
    (folder / "chat.json").write_text(json.dumps({"thinking": thinking}))


def stop(folder: Path) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 5}))


@pytest.mark.parametrize("change", [note, setting, writer])
def test_what_decides_no_completion_keeps_the_name(
    change: Callable[[Path], None], tmp_path: Path, folder: Path
) -> None:
    store = Store(tmp_path / "home")
    before = published(store, folder, 1)
    change(folder)
    after = published(store, folder, 2)
    assert before.data_version != after.data_version
    assert identity(before) == identity(after)
    assert former(after, store.home) == [after.data_version, before.data_version]
    assert former(after, None) == [after.data_version]


@pytest.mark.parametrize("change", [rotation, weight, toggle, stop])
def test_what_decides_completions_gives_another_name(
    change: Callable[[Path], None], tmp_path: Path, folder: Path
) -> None:
    store = Store(tmp_path / "home")
    before = published(store, folder, 1)
    change(folder)
    after = published(store, folder, 2)
    assert identity(before) != identity(after)
    assert former(after, store.home) == [after.data_version]


def test_completions_paid_for_under_a_data_version_stay_hits(tmp_path: Path, folder: Path) -> None:
    store, requests = Store(tmp_path / "home"), tmp_path / "requests"
    before = published(store, folder, 1)
    execution = Execution(home=store.home, requests=requests, threads=1)
    then = open_engine(before.path(), before.data_version, execution)  # by its data version
    answers = then.generate(ASKED, SAMPLING)
    note(folder)
    after = published(store, folder, 2)
    now = open_engine(after, after.data_version, execution)
    assert now.generate(ASKED, SAMPLING) == answers
    assert isinstance(now, CachedEngine) and (now.usage.asked, now.usage.cached) == (0, 3)
    keys = [request_key(each, identity(after), SAMPLING, now.chat) for each in ASKED]
    assert set(RequestStore(requests).get(keys)) == set(keys), "they lie under today's keys too"
    replay = open_engine(after, after.data_version, execution.but(engine="replay"))
    assert replay.generate(ASKED, SAMPLING) == answers
    weight(folder)
    other = published(store, folder, 3)
    fresh = open_engine(other, other.data_version, execution)
    fresh.generate(ASKED, SAMPLING)
    assert isinstance(fresh, CachedEngine) and fresh.usage.asked == 3
