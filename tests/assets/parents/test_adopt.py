"""Given checkpoints enter unchanged or are refused with what would be right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from assets.parents.adopt import adopt, adopt_tokenizer
from assets.parents.checks import weights_complete
from resources.models.errors import CheckpointError
from resources.models.loading import load
from warehouse.store import Artifact, Store


def published(tmp_path: Path, source: Path) -> Artifact:
    execution = {"source": str(source)}
    store = Store(tmp_path / "home")
    return store.build("x/parent", None, adopt, {}, {}, 0, code_version="1", execution=execution)


def refused(tmp_path: Path, source: Path | str, function: Any = adopt) -> str:
    with pytest.raises(CheckpointError) as caught:
        function(tmp_path, {}, {}, {"source": str(source)})
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_llama_folder_is_taken_in_unchanged(tmp_path: Path, tiny_llama: Path) -> None:
    artifact = published(tmp_path, tiny_llama)
    for file in tiny_llama.iterdir():
        assert (artifact.path() / file.name).read_bytes() == file.read_bytes()
    parameters = sum(p.numel() for p in load(tiny_llama).parameters())
    assert artifact.metrics["parameters"] == parameters
    assert weights_complete(artifact, {}).passed


def test_another_family_is_refused(tmp_path: Path, tiny_llama: Path) -> None:
    other = shutil.copytree(tiny_llama, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "model_type": "qwen3"}))
    message = refused(tmp_path, other)
    assert "model family 'qwen3' is not supported because it normalises queries and keys" in message
    assert "supported are llama, mistral, qwen2" in message


@pytest.mark.parametrize("function", [adopt, adopt_tokenizer])
def test_what_is_not_there_is_refused(tmp_path: Path, function: Any) -> None:
    assert "give a folder or a hub id" in refused(tmp_path, tmp_path / "absent", function)
    message = refused(tmp_path, "nobody/no-such-model", function)
    assert "nobody/no-such-model: no such folder, and the hub could not give it" in message
    assert message.endswith("give the path of a downloaded copy")


def test_a_missing_layer_fails_the_check(tmp_path: Path, tiny_llama: Path) -> None:
    cut = shutil.copytree(tiny_llama, tmp_path / "cut")
    config = json.loads((cut / "config.json").read_text())
    (cut / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 5}))
    result = weights_complete(published(tmp_path, cut), {})
    assert not result.passed and "model.layers.4" in result.description


def test_a_tokenizer_is_taken_in(tmp_path: Path, tokenizer_dir: Path) -> None:
    made = adopt_tokenizer(tmp_path, {}, {}, {"source": str(tokenizer_dir)})
    assert made.metrics == {"vocabulary": 300.0}
