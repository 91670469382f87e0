"""Our plugin in vLLM: every kind of layer that we have, computed there as here."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from resources.engines import vllm, vllm_plugin
from resources.engines.verification.compare import verify
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


def test_our_configurations_are_read_without_the_code_of_a_folder(
    tmp_path: Path, tokenizer_dir: Path
) -> None:
    nemotron_nas.export(random(), tmp_path / "stock", tokenizer_dir)
    heirloom.export(random(qk_norm=True), tmp_path / "ours", tokenizer_dir)
    assert not list((tmp_path / "ours").glob("*.py"))
    # What the folder brings is never run, whatever it says.
    (tmp_path / "stock" / "configuration_decilm.py").write_text("raise SystemExit('it ran')\n")
    read = (
        "import sys; from transformers import AutoConfig, AutoTokenizer\n"
        "from resources.engines.vllm_plugin import configurations; configurations()\n"
        "for folder in sys.argv[1:]:\n"
        "    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)\n"
        "    AutoTokenizer.from_pretrained(folder, trust_remote_code=False)\n"
        "    print(type(config).__module__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", read, str(tmp_path / "stock"), str(tmp_path / "ours")],
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    modules = done.stdout.split()
    assert modules == ["resources.models.export.nemotron_nas_config", "resources.models.config"]


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
