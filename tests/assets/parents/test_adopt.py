"""Given checkpoints enter as they are, and only what matters of them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from assets.parents.adopt import TEACHER, adopt
from assets.parents.checks import weights_complete
from resources.chat.chat import Chat
from resources.execution import Execution
from resources.models.errors import CheckpointError
from resources.models.loading import load
from resources.pretrained.source import parse
from resources.recipe.chats import chats_of
from resources.recipe.loading import load as load_recipe
from resources.store.digests import Digests
from tests.resources.pretrained.folders import TEMPLATE, instruct, set_json
from warehouse.errors import WarehouseError
from warehouse.store import Artifact, Request, Store


def given(source: Any) -> Execution:
    return Execution(source=parse(source if isinstance(source, dict) else str(source), Path("/")))


def published(tmp_path: Path, source: Any, key: str = "x/parent") -> Artifact:
    store = Store(tmp_path / "home")
    return store.build(Request(key, None, adopt, {}, {}, 0, "1"), execution=given(source))


@pytest.fixture
def model(tmp_path: Path, tiny_llama: Path) -> Path:
    return instruct(tiny_llama, tmp_path / "model")


def test_a_llama_folder_is_taken_in_unchanged(tmp_path: Path, model: Path) -> None:
    artifact = published(tmp_path, model)
    names = sorted(file.name for file in model.iterdir())
    assert sorted(artifact.manifest["files"]) == names
    for name in names:
        assert (artifact.path() / name).read_bytes() == (model / name).read_bytes()
    parameters = sum(p.numel() for p in load(model).parameters())
    assert artifact.metrics["parameters"] == parameters
    assert weights_complete(artifact, {}).passed


def test_only_what_matters_is_taken_in(tmp_path: Path, model: Path) -> None:
    wanted = {*(file.name for file in model.iterdir()), "LICENSE"}
    (model / "LICENSE").write_text("Apache-2.0")
    for name in ("consolidated.safetensors", "pytorch_model.bin", "README.md", "modeling_x.py"):
        (model / name).write_bytes(b"x")
    for folder in (".git", "original", "onnx"):
        (model / folder).mkdir()
        (model / folder / "consolidated.00.pth").write_bytes(b"x")
    assert set(published(tmp_path, model).manifest["files"]) == wanted


@pytest.mark.parametrize("name", ["nano", "teacher"])
def test_bundled_folders_keep_their_versions(tmp_path: Path, name: str) -> None:
    """The digest in the memo key and the files that are adopted are the whole folder's."""
    recipe = load_recipe("tiny")
    source = recipe.parent_source(f"bundled/{name}")
    folder = Path(source.location)
    output = adopt(tmp_path, {}, {}, Execution(source=source))
    assert output.files == {file.name: file for file in sorted(folder.iterdir())}
    from assets.parents.assets import specs

    keys = {"nano": "nano/parent", "teacher": TEACHER}
    [spec] = [spec for spec in specs(recipe) if spec.key == keys[name]]
    assert Digests().observed(spec) == {"source": Digests().digest(folder)}


def test_its_own_parts_can_be_replaced(tmp_path: Path, model: Path, tokenizer_dir: Path) -> None:
    (tmp_path / "chat.jinja").write_text(TEMPLATE)
    theirs = shutil.copytree(tokenizer_dir, tmp_path / "theirs")
    set_json(theirs / "tokenizer_config.json", unk_token="<think>")
    artifact = published(
        tmp_path,
        {
            "path": str(model),
            "tokenizer": str(theirs),
            "template": str(tmp_path / "chat.jinja"),
            "thinking": {"on": {"system": "think"}, "off": {}, "tags": ["<think>", "</think>"]},
        },
    )
    folder = artifact.path()
    assert (folder / "chat_template.jinja").read_text() == TEMPLATE
    assert "unk_token" in json.loads((folder / "tokenizer_config.json").read_text())
    assert json.loads((folder / "chat.json").read_text()) == {
        "thinking": {"on": {"system": "think"}, "off": {}, "tags": ["<think>", "</think>"]}
    }
    assert "chat.json" not in published(tmp_path, model, "y/parent").manifest["files"]
    with pytest.raises(CheckpointError, match=r"gone\.jinja: no such file: give the chat template"):
        adopt(tmp_path, {}, {}, given({"path": str(model), "template": "/gone.jinja"}))
    (theirs / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"theirs/tokenizer\.json: cannot be read"):
        adopt(tmp_path, {}, {}, given({"path": str(model), "tokenizer": str(theirs)}))


def test_the_day_that_a_template_writes_is_the_recipes(tmp_path: Path, model: Path) -> None:
    """Llama 3.2 and SmolLM3 write today's: it stands still, goes along, and is in the digest."""
    dated = "{{ strftime_now('%d %b %Y') }}" + TEMPLATE
    (tmp_path / "dated.jinja").write_text(dated)
    (tmp_path / "mine.yaml").write_text(
        "extends: heirloom/smoke\nmodels:\n  super:\n    parent:\n"
        f"      {{path: {model}, template: ./dated.jinja, date: 2025-01-31}}\n"
    )
    recipe = load_recipe(str(tmp_path / "mine.yaml"))
    source = recipe.parent_source(recipe.models["super"].parent)
    written = {"path": str(model), "template": str(tmp_path / "dated.jinja")}
    with_date = published(tmp_path, {**written, "date": source.date})
    without = published(tmp_path, written, "y/parent")
    assert json.loads((with_date.path() / "chat.json").read_text()) == {"date": "2025-01-31"}
    chats = [Chat.load(each.path()) for each in (with_date, without)]
    asked = [[{"role": "user", "content": "Why?"}]]
    texts = [chat.decode(chat.prompts(asked)[0]) for chat in chats]
    assert "31 Jan 2025" in texts[0] and "26 Jul 2024" in texts[1]
    assert chats[0].digest != chats[1].digest
    assert chats_of(recipe)["super"] == chats[0].digest, "known before the parent is adopted"
    with pytest.raises(CheckpointError, match="its chat template asks for none: leave it out"):
        adopt(tmp_path, {}, {}, given({"path": str(model), "date": "2025-01-31"}))


def test_a_teacher_may_be_of_another_family(tmp_path: Path, tokenizer_dir: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM

    folder = tmp_path / "neox"
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=300,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        bos_token_id=0,
        eos_token_id=3,
    )
    made = GPTNeoXForCausalLM(config)
    made.save_pretrained(folder)
    shutil.copytree(tokenizer_dir, folder, dirs_exist_ok=True)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    artifact = published(tmp_path, folder, TEACHER)
    assert weights_complete(artifact, {}).passed
    loaded = AutoModelForCausalLM.from_pretrained(artifact.path(), trust_remote_code=False)
    assert loaded.num_parameters() == artifact.metrics["parameters"] == made.num_parameters()
    with pytest.raises(CheckpointError, match="model_type 'gpt_neox' is not supported"):
        published(tmp_path, folder)


def test_a_flipped_bit_after_adoption_is_found(tmp_path: Path, model: Path) -> None:
    artifact = published(tmp_path, model)
    for name, entry in artifact.manifest["files"].items():
        stored = tmp_path / "home" / "checkpoints" / entry["sha256"][:2] / entry["sha256"]
        stored.chmod(0o644)
        sound = stored.read_bytes()
        for place in (0, len(sound) // 2, len(sound) - 1):
            spoiled = bytearray(sound)
            spoiled[place] ^= 1
            stored.write_bytes(spoiled)
            with pytest.raises(WarehouseError, match=rf"{re.escape(name)} of x/parent is corrupt"):
                artifact.path()
        stored.write_bytes(sound)
    assert artifact.path().is_dir()


def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from warehouse.files import filesystem

    def full(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(filesystem.shutil, "copyfile", full)
        with pytest.raises(WarehouseError, match="the disk is full; free space") as caught:
            published(tmp_path, model)
    assert "\n" not in str(caught.value)
    home = tmp_path / "home"
    assert not list(home.glob("manifests/*")) and not list(home.glob("current/**/*.json"))
    assert not [file for file in home.glob("checkpoints/**/*") if file.is_file()]
    assert published(tmp_path, model).path().is_dir()
