"""Our plugin in vLLM: every kind of layer that we have, computed there as here."""

from __future__ import annotations

import importlib
import json
import tomllib
from pathlib import Path

import pytest

from resources.engines import vllm, vllm_plugin
from resources.engines.vllm_verify import verify
from resources.models.export import heirloom, nemotron_nas
from resources.store.home import CHECKOUT
from tests.resources.models.served import NOOP, random

LINEAR = {"kind": "linear"}
BLOCKS = [
    {"attention": NOOP, "ffn": {"intermediate_size": 96}},  # before the first attention
    {"attention": {"window": 8}},
    {"attention": LINEAR, "ffn": {"intermediate_size": 77}},
    {"attention": {"num_key_value_heads": 1, "window": 5, "rope": False}, "ffn": LINEAR},
    {"attention": NOOP, "ffn": NOOP},
    {"attention": {"num_key_value_heads": 4}, "ffn": NOOP},
]


def test_vllm_finds_the_plugin_by_its_entry_point() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    [entry] = project["entry-points"]["vllm.general_plugins"].values()
    module, _, function = entry.partition(":")
    assert getattr(importlib.import_module(module), function) is vllm_plugin.register


def test_only_our_own_class_is_ever_run(tmp_path: Path, tokenizer_dir: Path) -> None:
    nemotron_nas.export(random(), tmp_path / "stock", tokenizer_dir)
    heirloom.export(random(qk_norm=True), tmp_path / "ours", tokenizer_dir)
    assert vllm.runs_class(tmp_path / "stock") and not vllm.runs_class(tmp_path / "ours")
    assert vllm.environment(tmp_path / "stock")["VLLM_PLUGINS"] == ""
    assert "VLLM_PLUGINS" not in vllm.environment(tmp_path / "ours")
    assert not list((tmp_path / "ours").glob("*.py"))
    with (tmp_path / "stock" / "configuration_decilm.py").open("a") as file:
        file.write("# more\n")
    with pytest.raises(ValueError, match="names code that no export of ours wrote"):
        vllm.runs_class(tmp_path / "stock")


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(vllm.missing() is not None, reason=str(vllm.missing()))
def test_every_kind_of_layer_is_computed_as_ours(tmp_path: Path, tokenizer_dir: Path) -> None:
    model = random(block_configs=BLOCKS, qk_norm=True, family="qwen3", tie_word_embeddings=True)
    remarks = heirloom.export(model, tmp_path / "out", tokenizer_dir)
    assert remarks == [heirloom.PLUGIN]
    values = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "auto_map" not in values and values["qk_norm"]
    prompts = [list(range(5, 5 + length)) for length in (3, 9, 31)]
    found = verify(tmp_path / "out", tmp_path / "out", prompts, 24)
    assert found.equal, found.describe()
