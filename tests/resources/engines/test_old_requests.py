"""A home from before chats were the models' own: what was paid for is found under today's keys.

`HEIRLOOM_OLD_HOME` names such a home (of the recipe `smoke`); skipped without it. It is only read.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from resources.chat import llama3
from resources.chat.chat import Chat
from resources.engines.identity import former, identity
from resources.engines.protocol import Request, Sampling, request_key
from resources.engines.store.store import RequestStore
from resources.pretrained.source import BUNDLED
from warehouse.manifest import derived_seed
from warehouse.store import Output, Store
from warehouse.store import Request as Build


def test_every_generation_is_a_hit(tmp_path: Path) -> None:
    given = os.environ.get("HEIRLOOM_OLD_HOME")
    if not given:
        pytest.skip("HEIRLOOM_OLD_HOME names no home")
    home = Path(shutil.copytree(given, tmp_path / "home"))
    store, cache = Store(home), RequestStore(home / "requests")
    chat = Chat.load(BUNDLED / "super")
    manifests = list(store.manifests())
    questions = {
        row["row_id"]: row["question"]
        for manifest in manifests
        if "problems" in manifest["tables"]
        for row in store.artifact(manifest).table("problems", ["row_id", "question"]).to_pylist()
    }
    found = 0
    for manifest in manifests:
        if not {"generations"} <= set(manifest["tables"]):
            continue
        seed = derived_seed(manifest["seed"], manifest["asset_key"], manifest["partition"])
        for row in store.artifact(manifest).table("generations").to_pylist():
            asked = Request(
                (("user", questions[row["problem_id"]]),), row["sample_index"], row["reasoning"]
            )
            keys = [
                request_key(
                    asked,
                    row["model_version"],
                    Sampling(row["temperature"], row["top_p"], longest, seed),
                    chat,
                )
                for longest in limits(manifest["recipe"])
            ]
            hits = cache.get(keys)
            assert [one.text for one in hits.values()] == [row["response"]]
            found += 1
    assert found


def test_a_checkpoint_that_gained_files_is_the_same_model(tmp_path: Path) -> None:
    """As its template and generation config came beside it: former names find what was paid."""
    given = os.environ.get("HEIRLOOM_OLD_HOME")
    if not given:
        pytest.skip("HEIRLOOM_OLD_HOME names no home")
    store = Store(Path(shutil.copytree(given, tmp_path / "home")))
    asked = {
        (row["model"], row["model_version"])
        for manifest in list(store.manifests())
        if "generations" in manifest["tables"]
        for row in store.artifact(manifest).table("generations").to_pylist()
    }
    assert asked
    for number, (key, version) in enumerate(sorted(asked)):
        old = store.at(key, version)
        folder = Path(shutil.copytree(old.path(), tmp_path / str(number)))
        (folder / "chat_template.jinja").unlink(missing_ok=True)
        (folder / "chat_template.jinja").write_text(llama3.CHAT_TEMPLATE)
        (folder / "README.md").write_text("what it is")
        new = store.build(
            Build(key, None, lambda *_, made=folder: Output(files={"": made}), {}, {}, 0, "new")
        )
        assert new.data_version != version and identity(new) == identity(old)
        assert version in former(new, store.home)


def limits(recipe: Any) -> set[int]:
    """Every `max_new_tokens` that a recipe slice names."""
    if not isinstance(recipe, dict):
        return set()
    own = {recipe["max_new_tokens"]} if "max_new_tokens" in recipe else set()
    return own.union(*map(limits, recipe.values()))
