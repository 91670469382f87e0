"""Bad checkpoints: each is refused by one line with file, field and what would be right."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.parents.adopt import adopt
from resources.chat.folder import MORE_TEMPLATES, digest
from resources.execution import Execution
from resources.models.errors import CheckpointError
from resources.pretrained.checking import faults, read_weights
from resources.pretrained.source import parse
from tests.resources.pretrained.folders import (
    TEMPLATE,
    instruct,
    rewrite_header,
    set_json,
    set_numbers,
    sharded,
)

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
Spoil = Callable[[Path], object]


def _untied(folder: Path) -> None:
    set_json(folder / "config.json", tie_word_embeddings=False)


def _tied_twice(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"] + 1
    save_file(tensors, folder / WEIGHTS)


def _pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _no_index(folder: Path) -> None:
    sharded(folder)
    (folder / INDEX).unlink()


def _no_shard(folder: Path) -> None:
    sharded(folder)
    sorted(folder.glob("model-00002-*"))[0].unlink()


def _outside(folder: Path) -> None:
    sharded(folder)
    index = json.loads((folder / INDEX).read_text())
    index["weight_map"]["model.norm.weight"] = "../other.safetensors"
    (folder / INDEX).write_text(json.dumps(index))


def _truncated(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[:-100])


def _holds_none(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file({}, folder / WEIGHTS, metadata={"format": "pt"})


def _compiled(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    save_file({f"_orig_mod.{name}": each for name, each in tensors.items()}, folder / WEIGHTS)


def _saved_without_head(folder: Path) -> None:
    """As Qwen3-Embedding is published: by the model below the output head."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / WEIGHTS)
    bare = {name.removeprefix("model."): each for name, each in tensors.items()}
    save_file(bare | {"lm_head.weight": tensors["model.embed_tokens.weight"] + 1}, folder / WEIGHTS)


def _packed(folder: Path) -> None:
    """As GPTQ writes them, whose own file beside config.json says so."""
    import torch
    from safetensors.torch import load_file, save_file

    tensors = {
        name.replace(".weight", ".qweight") if "proj" in name else name: torch.zeros(
            4, 4, dtype=torch.int32
        )
        if "proj" in name
        else each
        for name, each in load_file(folder / WEIGHTS).items()
    }
    save_file(tensors, folder / WEIGHTS)


def _adapter(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.safetensors")
    (folder / "config.json").rename(folder / "adapter_config.json")


def _dangling(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to(folder.parent / "blobs" / "gone")


def _named_otherwise(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    templates = [{"name": "rag", "template": "{{ messages }}"}]
    set_json(folder / "tokenizer_config.json", chat_template=templates)


# Name -> (what is done to a sound folder, pieces of the line that refuses it).
SPOILED: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "empty folder": (_empty, ("the folder is empty",)),
    "no folder": (shutil.rmtree, ("no such folder: give an existing one, or a hub id",)),
    "no config.json": (
        lambda f: (f / "config.json").unlink(),
        ("no config.json, so this is no checkpoint folder",),
    ),
    "config is a list": (
        lambda f: (f / "config.json").write_text("[]"),
        ("config.json: holds list, should be an object",),
    ),
    "config is no JSON": (
        lambda f: (f / "config.json").write_text("{"),
        ("config.json: not valid JSON",),
    ),
    "unknown family": (
        lambda f: set_json(f / "config.json", model_type="mamba"),
        ("config.json: model_type 'mamba' is not supported: state-space",),
    ),
    "remote code": (
        lambda f: set_json(f / "config.json", auto_map={"AutoConfig": "evil.Config"}),
        ("config.json: auto_map names code to run (AutoConfig), which is never run",),
    ),
    "remote code that is none": (
        lambda f: set_json(f / "config.json", auto_map=5),
        ("config.json: auto_map names code to run (5), which is never run",),
    ),
    "one layer too many": (
        lambda f: set_json(f / "config.json", num_hidden_layers=5),
        (WEIGHTS, "9 missing tensors, first model.layers.4", "correct config.json"),
    ),
    "head size wrong": (
        lambda f: set_json(f / "config.json", intermediate_size=48),
        (WEIGHTS, "mlp.down_proj.weight is [32, 64], which does not fit config.json"),
    ),
    "a pickle": (_pickled, ("pytorch_model.bin is a pickle, which is never opened",)),
    "no weights": (
        lambda f: (f / WEIGHTS).unlink(),
        (f"no {WEIGHTS} and no {INDEX}",),
    ),
    "no index": (_no_index, (f"{INDEX} is missing, which says what lies in which shard",)),
    "shard missing": (
        _no_shard,
        ("model-00002-of-", "missing, though", "names it"),
    ),
    "index leads out": (_outside, (INDEX, "weight_map names '../other.safetensors'")),
    "truncated": (_truncated, (WEIGHTS, "its header promises", "so it is truncated")),
    "header lies: shape": (
        lambda f: rewrite_header(f / WEIGHTS, "model.norm.weight", shape=[64]),
        ("model.norm.weight is F32 of shape [64], which takes 256 bytes", "give 128"),
    ),
    "header lies: dtype": (
        lambda f: rewrite_header(f / WEIGHTS, "model.norm.weight", dtype="BF16"),
        ("model.norm.weight is BF16 of shape [32], which takes 64 bytes",),
    ),
    "header lies: offsets": (
        lambda f: rewrite_header(f / WEIGHTS, "model.norm.weight", data_offsets=[0, 128]),
        (WEIGHTS, "data_offsets of", "where the tensor before ends at"),
    ),
    "NaN": (
        lambda f: set_numbers(f / WEIGHTS, "model.layers.2.mlp.up_proj.weight", 35, float("nan")),
        (WEIGHTS, "model.layers.2.mlp.up_proj.weight has a NaN or infinity at [1, 3]"),
    ),
    "infinity": (
        lambda f: set_numbers(f / WEIGHTS, "model.norm.weight", 31, float("-inf")),
        ("model.norm.weight has a NaN or infinity at [31]", "give a checkpoint whose weights"),
    ),
    "head missing": (
        _untied,
        ("lm_head.weight is missing and tie_word_embeddings in config.json is false",),
    ),
    "tied, stored twice": (
        _tied_twice,
        ("lm_head.weight differs from model.embed_tokens.weight, with which config.json ties it",),
    ),
    "no tokenizer": (
        lambda f: (f / "tokenizer.json").unlink(),
        ("no tokenizer.json", "or name one: {path: …, tokenizer: ./folder}"),
    ),
    "tokenizer is none": (
        lambda f: (f / "tokenizer.json").write_text("{}"),
        ("tokenizer.json: cannot be read as a tokenizer",),
    ),
    "no template": (
        lambda f: (f / "chat_template.jinja").unlink(),
        ("no chat_template.jinja, and tokenizer_config.json has no chat_template",),
    ),
    "stop id outside": (
        lambda f: set_json(f / "config.json", eos_token_id=[3, 300]),
        ("config.json: eos_token_id is 300 and the embedding has 300 rows",),
    ),
    "weights hold nothing": (_holds_none, (WEIGHTS, "its tensors have other names", "holds none")),
    "saved by a compiled model": (_compiled, ("they are called like _orig_mod.model.embed",)),
    "saved without its head": (
        _saved_without_head,
        ("its tensors have other names than model.", "they are called like embed_tokens.weight"),
    ),
    "packed": (_packed, ("down_proj.qweight is stored as I32; quantized weights are not supp",)),
    "an adapter": (_adapter, ("adapter_config.json says that this is an adapter: merge it",)),
    "a link to nothing": (_dangling, (WEIGHTS, "is a link to a file that is not there")),
    "a pointer of Git LFS": (
        lambda f: (f / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid x"),
        (WEIGHTS, "is a pointer of Git LFS", "git lfs pull"),
    ),
    "header lies: no number": (
        lambda f: rewrite_header(f / WEIGHTS, "model.norm.weight", shape=[float("inf")]),
        (WEIGHTS, "its header is no safetensors header"),
    ),
    "config nests without end": (
        lambda f: (f / "config.json").write_text("[" * 100_000),
        ("config.json: not valid JSON",),
    ),
    "layers without end": (
        lambda f: set_json(f / "config.json", num_hidden_layers=10**7),
        ("config.json: num_hidden_layers is 10000000: at most 10,000 are read",),
    ),
    "tokenizer's code": (
        lambda f: set_json(f / "tokenizer_config.json", auto_map={"AutoTokenizer": ["x.Y", None]}),
        ("tokenizer_config.json: auto_map names code to run, which is never run",),
    ),
    "tokens beside tokenizer.json": (
        lambda f: set_json(f / "tokenizer_config.json", extra_special_tokens=["<+>"]),
        ("tokenizer_config.json adds '<+>': the largest token id is 300", "has 300 rows"),
    ),
    "no default template": (
        _named_otherwise,
        ("no chat_template.jinja, and tokenizer_config.json has no chat_template",),
    ),
    "template is no text": (
        lambda f: (f / "chat_template.jinja").write_bytes(b"\xff\xfe"),
        ("chat_template.jinja: cannot be read as UTF-8 text",),
    ),
    "id is text": (
        lambda f: set_json(f / "generation_config.json", bos_token_id="<s>"),
        ("generation_config.json: bos_token_id is '<s>'",),
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_one_line_says_what_is_wrong(name: str, tmp_path: Path, tiny_llama: Path) -> None:
    spoil, said = SPOILED[name]
    folder = instruct(tiny_llama, tmp_path / "model")
    spoil(folder)
    with pytest.raises(CheckpointError) as caught:
        adopt(tmp_path / "work", {}, {}, Execution(source=parse(str(folder), tmp_path)))
    message = str(caught.value)
    print(f"{name:>22}: {message.replace(str(tmp_path), '…')}")  # the table, with -s
    assert "\n" not in message
    for piece in said:
        assert piece in message, message


def test_a_sound_folder_has_no_fault(tmp_path: Path, tiny_llama: Path) -> None:
    folder = instruct(tiny_llama, tmp_path / "model")
    assert faults(folder) == []
    read_weights(folder)
    assert faults(sharded(folder)) == []
    read_weights(folder)


def test_all_that_makes_the_chat_is_adopted(tmp_path: Path, tiny_llama: Path) -> None:
    """The digest that a plan takes from the source is that of the adopted parent."""
    folder = instruct(tiny_llama, tmp_path / "model")
    (folder / "added_tokens.json").write_text(json.dumps({"<0x0A>": 299}))
    (folder / MORE_TEMPLATES).mkdir()
    (folder / MORE_TEMPLATES / "tool_use.jinja").write_text("{{ tools }}" + TEMPLATE)
    source = parse(str(folder), tmp_path)
    output = adopt(tmp_path / "work", {}, {}, Execution(source=source))
    assert f"{MORE_TEMPLATES}/tool_use.jinja" in output.files
    assert output.observations["chat"] == digest(folder)
    (tmp_path / "plain.jinja").write_text(TEMPLATE)
    replaced = parse({"path": str(folder), "template": "./plain.jinja"}, tmp_path)
    output = adopt(tmp_path / "again", {}, {}, Execution(source=replaced))
    assert not [name for name in output.files if name.startswith(MORE_TEMPLATES)]
    assert output.observations["chat"] == digest(folder, template=tmp_path / "plain.jinja")


def test_every_fault_is_listed(tmp_path: Path, tiny_llama: Path) -> None:
    folder = instruct(tiny_llama, tmp_path / "model", eos_token_id=999, num_hidden_layers=5)
    (folder / "chat_template.jinja").unlink()
    found = faults(folder)
    assert [any(word in line for line in found) for word in ("layers.4", "chat_template", "999")]
    assert len(found) == 3


def test_a_vocabulary_larger_than_the_embedding(tmp_path: Path, tiny_llama: Path) -> None:
    folder = instruct(tiny_llama, tmp_path / "model")
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    tokenizer["added_tokens"].append({**tokenizer["added_tokens"][-1], "id": 300, "content": "<+>"})
    file.write_text(json.dumps(tokenizer))
    [line] = faults(folder)
    assert "its largest token id is 300 and the embedding has 300 rows, 0 to 299" in line


def test_equal_tied_weights_may_be_stored_twice(tmp_path: Path, tiny_llama: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = instruct(tiny_llama, tmp_path / "model")
    tensors = load_file(folder / WEIGHTS)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, folder / WEIGHTS)
    assert faults(folder) == []
    read_weights(folder)


def test_a_teacher_may_be_of_any_family_that_transformers_has(
    tmp_path: Path, tiny_llama: Path
) -> None:
    folder = instruct(
        tiny_llama, tmp_path / "model", model_type="gpt_neox", auto_map={"AutoConfig": "x.Y"}
    )
    assert faults(folder, "teacher") == []
    assert len(faults(folder)) == 2
    set_json(folder / "config.json", model_type="my_own")
    lines = faults(folder, "teacher")
    assert len(lines) == 2 and "is no causal model of the installed transformers" in lines[1]


def test_memory_is_flat_while_weights_are_read(tmp_path: Path) -> None:
    """Reading 96 MB takes less than 30 MB more than reading 1 MB does, in a process of its own."""
    import subprocess
    import sys

    import torch
    from safetensors.torch import save_file

    for name, rows in (("small", 1 << 9), ("large", 48 << 10)):
        (tmp_path / name).mkdir()
        save_file(
            {"w": torch.zeros(rows, 1 << 10, dtype=torch.bfloat16)}, tmp_path / name / WEIGHTS
        )
        (tmp_path / name / "config.json").write_text("{}")
    code = (
        "import sys; from pathlib import Path\n"
        "from resources.pretrained.checking import read_weights\n"
        "for name in ('small', 'large'):\n"
        "    read_weights(Path(sys.argv[1]) / name)\n"
        "    status = Path('/proc/self/status').read_text().split()\n"
        "    print(status[status.index('VmHWM:') + 1])"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
    )
    small, large = map(int, done.stdout.split())
    assert large - small < 30 << 10
