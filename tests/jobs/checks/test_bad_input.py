"""What people bring that cannot be used: one line with file, field and what would be right.

At `check` where small files and headers can tell; where every number must be read, at adoption,
which leaves nothing half-written. `tests/resources/pretrained/test_checking.py` has more for
checkpoints, `tests/resources/sources/test_reading.py` for data, `test_hub.py` for the hub.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from assets.parents.adopt import adopt
from jobs import cli
from jobs.checks import data, models, templates
from jobs.checks.asked import Asked
from resources.chat.errors import ChatError
from resources.execution import Execution
from resources.models.errors import CheckpointError
from resources.pretrained.source import parse
from resources.recipe.loading import load
from resources.recipe.reading.faults import Fault
from resources.store.home import Home
from tests.resources.pretrained.folders import (
    TEMPLATE,
    instruct,
    rewrite_header,
    set_json,
    set_numbers,
    sharded,
)
from warehouse.store import Request, Store

WEIGHTS = "model.safetensors"
Spoil = Callable[[Path], object]


def shard(folder: Path) -> Path:
    return sorted(sharded(folder).glob("model-00002-*"))[0]


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-64])


def empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def tied(folder: Path, **tensors: float) -> None:
    """Tie the head to the embedding, and store it too, moved by so much."""
    from safetensors.torch import load_file, save_file

    found = load_file(folder / WEIGHTS)
    set_json(folder / "config.json", tie_word_embeddings=True)
    found.pop("lm_head.weight", None)
    for name, moved in tensors.items():
        found[name.replace("_weight", ".weight")] = found["model.embed_tokens.weight"] + moved
    save_file(found, folder / WEIGHTS, metadata={"format": "pt"})


def without(folder: Path, name: str) -> None:
    from safetensors.torch import load_file, save_file

    found = load_file(folder / WEIGHTS)
    del found[name]
    save_file(found, folder / WEIGHTS, metadata={"format": "pt"})


def template(text: str) -> Spoil:
    return lambda folder: (folder / "chat_template.jinja").write_text(text)


def larger_vocabulary(folder: Path) -> None:
    values = json.loads((folder / "tokenizer.json").read_text())
    values["added_tokens"].append({**values["added_tokens"][-1], "id": 300, "content": "<more>"})
    (folder / "tokenizer.json").write_text(json.dumps(values))


# What is done to a sound parent -> (how, pieces of the one line that `check` prints of it).
AT_CHECK: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "missing file": (lambda f: (f / "config.json").unlink(), ("no config.json",)),
    "missing weights": (lambda f: (f / WEIGHTS).unlink(), (f"no {WEIGHTS}",)),
    "empty folder": (empty, ("the folder is empty",)),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), ("no tokenizer.json",)),
    "tokenizer without template": (
        lambda f: (f / "chat_template.jinja").unlink(),
        ("no chat_template.jinja", "template: ./chat.jinja"),
    ),
    "template that drops turns": (
        template(TEMPLATE.replace("{{ m.content }}", "{{ m.content if m.role != 'user' }}")),
        ("the chat template is refused", "it drops turn", "it must write all"),
    ),
    "template that loops": (
        template("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
        ("template", "loop"),
    ),
    "template that reads what is not given": (
        template("{{ nobody.gives }}" + TEMPLATE),
        ("template", "nobody"),
    ),
    "unknown family": (
        lambda f: set_json(f / "config.json", model_type="mamba"),
        ("config.json: model_type 'mamba' is not supported",),
    ),
    "truncated file": (lambda f: cut(f / WEIGHTS), (WEIGHTS, "so it is truncated")),
    "truncated shard": (lambda f: cut(shard(f)), ("model-00002-of-", "so it is truncated")),
    "missing shard": (lambda f: shard(f).unlink(), ("model-00002-of-", "names it")),
    "a header that lies": (
        lambda f: rewrite_header(f / WEIGHTS, "model.norm.weight", shape=[64]),
        (WEIGHTS, "model.norm.weight is F32 of shape [64]"),
    ),
    "a header that lies of the model": (
        lambda f: set_json(f / "config.json", num_hidden_layers=5),
        (WEIGHTS, "missing tensors, first model.layers.4"),
    ),
    "untied head missing": (
        lambda f: (tied(f), set_json(f / "config.json", tie_word_embeddings=False)),
        ("lm_head.weight is missing and tie_word_embeddings in config.json is false",),
    ),
    "vocabulary larger than the embedding": (
        larger_vocabulary,
        ("tokenizer.json: its largest token id is 300 and the embedding has 300 rows",),
    ),
    "tied embedding missing": (
        lambda f: (tied(f), without(f, "model.embed_tokens.weight")),
        (WEIGHTS, "model.embed_tokens.weight"),
    ),
    "code of its own": (
        lambda f: set_json(f / "config.json", auto_map={"AutoConfig": "evil.Config"}),
        ("auto_map names code to run", "never run"),
    ),
    "a pickle": (
        lambda f: (f / WEIGHTS).rename(f / "pytorch_model.bin"),
        ("pytorch_model.bin is a pickle, which is never opened",),
    ),
}
# Where every number must be read.
AT_ADOPTION: dict[str, tuple[Spoil, tuple[str, ...]]] = {
    "NaN in weights": (
        lambda f: set_numbers(f / WEIGHTS, "model.norm.weight", 3, float("nan")),
        (WEIGHTS, "model.norm.weight has a NaN or infinity at [3]"),
    ),
    "NaN in a shard": (
        lambda f: set_numbers(shard(f), _first(shard_of(f)), 0, float("nan")),
        ("model-00002-of-", "has a NaN or infinity at [0"),
    ),
    "tied weights stored twice": (
        lambda f: tied(f, lm_head_weight=1.0),
        ("lm_head.weight differs from model.embed_tokens.weight", "config.json ties"),
    ),
}


def shard_of(folder: Path) -> Path:
    return sorted(folder.glob("model-00002-*"))[0]


def _first(file: Path) -> str:
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        return str(next(iter(opened.keys())))


def faults(recipe: Path, tmp_path: Path, *checks: Callable[[Asked], object]) -> list[str]:
    made = []
    for number, check in enumerate(checks):
        scratch = tmp_path / f"scratch-{number}"
        scratch.mkdir()
        found = check(Asked(load(str(recipe), check_paths=False), True, scratch))
        made += [str(each) for each in found if isinstance(each, Fault)]  # type: ignore[attr-defined]
    return made


@pytest.fixture
def recipe(tmp_path: Path, tiny_llama: Path) -> Path:
    instruct(tiny_llama, tmp_path / "parent")
    path = tmp_path / "mine.yaml"
    path.write_text("extends: heirloom/smoke\nmodels: {super: {parent: ./parent}}\n")
    return path


def test_a_sound_parent_passes(recipe: Path, tmp_path: Path) -> None:
    assert faults(recipe, tmp_path, models.parents, templates.templates) == []


@pytest.mark.parametrize("name", AT_CHECK)
def test_check_says_it_in_one_line(name: str, recipe: Path, tmp_path: Path) -> None:
    spoil, said = AT_CHECK[name]
    spoil(tmp_path / "parent")
    found = faults(recipe, tmp_path, models.parents, templates.templates)
    print(f"{name:>38}: {found}")  # the table, with -s
    assert len(found) == 1 and "\n" not in found[0], found
    assert found[0].startswith(f"{recipe}:2: models.super.parent: ")
    for piece in (str(tmp_path / "parent"), *said):
        assert piece in found[0], found[0]


@pytest.mark.parametrize("name", [*AT_CHECK, *AT_ADOPTION])
def test_adoption_refuses_it_and_leaves_nothing(name: str, recipe: Path, tmp_path: Path) -> None:
    spoil, said = (AT_CHECK | AT_ADOPTION)[name]
    spoil(tmp_path / "parent")
    store = Store(tmp_path / "home")
    execution = Execution(source=parse("./parent", tmp_path))
    with pytest.raises((CheckpointError, ChatError)) as caught:
        store.build(Request("x/parent", None, adopt, {}, {}, 0, "1"), execution=execution)
    message = str(caught.value)
    print(f"{name:>38}: {message}")
    assert "\n" not in message
    for piece in said:
        assert piece in message, message
    left = [file for file in (tmp_path / "home").rglob("*") if file.is_file()]
    assert {file.relative_to(tmp_path / "home").parts[0] for file in left} <= {"locks", "work"}


LINE = json.dumps({"messages": [{"role": "user", "content": "a"}]}) + "\n"
# What a source or benchmark is -> (its declaration, its file, pieces of the line).
DATA: dict[str, tuple[str, str, bytes, tuple[str, ...]]] = {
    "an empty file": ("sources", "kind: conversations", b"", ("x.jsonl", "no rows")),
    "no row that can be used": (
        "sources",
        "kind: conversations",
        LINE.encode() * 3,
        ("none of the 3 rows looked at can be used", "x.jsonl, line 1: messages"),
    ),
    "no text in any row": (
        "sources",
        "kind: text",
        b'{"text": ""}\n' * 2,
        ("none of the 2 rows looked at can be used", "x.jsonl, line 1: text"),
    ),
    "a compressed file that is none": ("sources", "kind: text", b"plain", ("x.jsonl",)),
    "a benchmark's column absent": (
        "benchmarks",
        "fields: {question: q, answer: a}, verifier: exact",
        b'{"q": "2 + 2?", "solution": "4"}\n',
        ("x.jsonl", "a: no such field", "q"),
    ),
    "a benchmark without rows": (
        "benchmarks",
        "fields: {question: q, answer: a}, verifier: exact",
        b"",
        ("x.jsonl",),
    ),
}


@pytest.mark.parametrize("name", DATA)
def test_data_that_cannot_be_used_is_one_line(name: str, tmp_path: Path) -> None:
    section, declared, content, said = DATA[name]
    (tmp_path / "x.jsonl").write_bytes(content)
    file = "./x.jsonl"
    if "compressed" in name:
        file = "./x.jsonl.gz"
        (tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 99)[:-9])
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"extends: heirloom/smoke\n{section}: {{x: {{path: {file}, license: mit, {declared}}}}}\n"
    )
    found = faults(path, tmp_path, data.sources, data.benchmarks)
    print(f"{name:>38}: {found}")
    assert len(found) == 1 and "\n" not in found[0], found
    assert found[0].startswith(f"{path}:2: {section}.x")
    for piece in said:
        assert piece in found[0], found[0]


def test_a_hub_out_of_reach_is_one_line_of_check(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from jobs.checks import command

    wanted = {"parents", "files and columns"}
    monkeypatch.setattr(command, "CHECKS", [c for c in command.CHECKS if c[0] in wanted])
    path = tmp_path / "mine.yaml"
    path.write_text("extends: heirloom/smoke\nmodels: {super: {parent: org/never}}\n")
    capsys.readouterr()
    assert cli.main(["check", str(path)]) == 1
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if "models.super.parent" in line]
    assert len(lines) == 1 and "the hub cannot be reached" in lines[0], out
    assert "Traceback" not in out and not (home.path / "current").exists()
