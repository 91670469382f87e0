"""What a slip in a recipe is answered with: the field, what was given, and what would be right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from resources.recipe.loading import examine
from resources.recipe.naming import type_name
from resources.recipe.sections.execution import ExecutionSettings
from resources.recipe.sections.family import Family
from resources.recipe.sections.model import ModelRecipe

RECIPE = """
extends: [heirloom/single-gpu, heirloom/laptop]
models:
  m:
    parent: bundled/super
    sft:
      main: {mix: {chats: 1}, epochs: 1, packed: true, learning_rate: 2e-5,
             batch_tokens: 4096, sequence_length: 1024}
sources:
  chats: {kind: conversations, path: ./chats.jsonl, license: unstated}
  docs: {kind: text, path: "python:docstrings", license: psf-2.0}
corpus: {mix: {docs: 1, chats: 1}, tokens: 160K}
"""
MAIN = "models.m.sft.main"
BOMB = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise("abcdefgh")
)


def sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from sections(field.annotation)
    for part in get_args(annotation):
        yield from sections(part)


def test_no_type_is_called_as_python_calls_it() -> None:
    seen = {each for root in (Family, ModelRecipe, ExecutionSettings) for each in sections(root)}
    assert len(seen) > 30
    for section in seen:
        for field in section.model_fields.values():
            name = type_name(field.annotation)
            assert not re.search(r"Annotated|Union|FieldInfo|resources|class |\[|typing", name)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("corpus.tokens=lots", "corpus.tokens: must be a whole number, found 'lots'; such as 8,"),
        ("corpus.tokens=160k", "found '160k'; write 160K"),
        ("corpus.tokens=3 MB", "found '3 MB'; write 3M"),
        ('corpus.tokens="100,000"', "found '100,000'; write 100000"),
        ("corpus.tokens=1e5", "found 100000.0; write 100000"),
        ("corpus.tokens=-5", "corpus.tokens: must be greater than 0, found -5"),
        ("corpus.holdout=110%", "corpus.holdout: must be less than 1, found '110%'"),
        ("corpus.mix.docs=much", "corpus.mix.docs: must be a number, found 'much'; such as 0.5"),
        ("corpus.mix={doc: 1}", "corpus.mix.doc: no such source; did you mean 'docs'?"),
        ("models.m.puzzle.search.limits.parameters=80%", "must be a number, found '80%'; write 0."),
        (f'{MAIN}.learning_rate="2e-5"', f"{MAIN}.learning_rate: must be a number, found '2e-5';"),
        (f"{MAIN}.packed=on", f"{MAIN}.packed: must be true or false, found 'on'; write true"),
        (f"{MAIN}.mix={{chat: 1}}", f"{MAIN}.mix: no source or domain 'chat'; did you mean"),
        ("sources.chats.path=[a, b]", "sources.chats.path: must be text, found ['a', 'b']; give"),
        ("sources.chats.fields=[a]", "sources.chats.fields: must be a mapping, found ['a']; wri"),
        ("sources.chats.path=s3://a/b", "sources.chats.path: 's3://a/b' is an address; fetch it"),
        ("sources.chats.path=~nobody-here/a", "sources.chats.path: '~nobody-here/a' names a home"),
        ("sources.My-Chats={kind: text, path: a, license: b}", "found 'My-Chats'; write my_chats"),
        (f"{MAIN}.learning_rate=1e999", f"{MAIN}.learning_rate: must be a finite number, found in"),
        (f"{MAIN}.learning_rate=nan", "must be a number, found 'nan'; such as 0.5 or 2e-5"),
        ("models.m.sft=chats", "models.m.sft: must be a list of sections, found 'chats'; write {"),
        ("sources.chats.license=true", "must be text, found true; put it in quotes"),
        ("models.teacher={parent: bundled/nano}", "'teacher' names what all models share; call"),
        ("benchmarks={gsm8k: null}", "benchmarks.gsm8k: must be a section of keys, found null"),
        ("execution.hosts=node1", "execution.hosts: must be a list, found 'node1'; write [node1]"),
        ("side_by_side.prompts=[3]", 'must be text, found 3; put it in quotes: "3"'),
        ("models.m.parent=bundled/suprr", "no bundled model 'suprr'; did you mean 'super'?"),
        ("models.m.stages=[puzzle, puzzle]", "models.m.stages: 'puzzle' stands twice; name it"),
        ("models.m.puzzle.library.attention=[]", "must have 1 or more entries, found []"),
        ("benchmarks=[gsm8k]", "benchmarks: must be a section of keys, found ['gsm8k']; write"),
        ("benchmarks={own_one: {}}", "no bundled benchmark 'own_one'; allowed: arc, "),
    ],
)  # fmt: skip
def test_a_slip_is_answered_with_what_was_meant(override: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RECIPE)
    sets = ["side_by_side={tokens: 1K, sequence_length: 256}", override]
    found = [str(each) for each in examine(tmp_path / "mine.yaml", sets, check_paths=False).faults]
    assert any(said in each for each in found), found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "mine.yaml: must be a mapping of sections, found nothing; `heirloom init` writes one"),
        ("- a\n", "must be a mapping of sections, found list"),
        ("seed: 1\nname: a\nseed: 2\n", "mine.yaml:3: key 'seed' stands twice, first in"),
        ("a: &x {b: 1}\nseed: {<<: *x}\n", "mine.yaml:2: seed: '<<' merges nothing here; put what"),
        ("models: [{name: m}]\n", "models: must be a mapping of models by name, found [{'name"),
        ("models: {m: bundled/super}\n", "models.m: must be a section of keys, found 'bundled"),
        ("sources: {a: ./x.jsonl}\n", "sources.a: must be a section of keys, found './x.jsonl'"),
        ("corpus: {}\n", "mine.yaml:1: corpus.mix: missing key 'mix'; add `mix: …`"),
        ("corpus: {mix: {}, tokens: 1K}\n", "must have 1 or more entries, found {}; write NAME: …"),
        ("true: 1\n", "mine.yaml:1: a key must be a word, found true"),
        ("3: 1\n", "mine.yaml:1: [3]: a key must be a word, found 3"),
        (f"x: {'[' * 3000}{']' * 3000}\n", "mine.yaml: nested too deep to be a recipe"),
        (BOMB, "more than 100,000 values; aliases name aliases here"),
        ("extends: {a: b}\n", "extends: must be heirloom/NAME, ./FILE.yaml, ./FOLDER or a list of"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_recipe_is_told_what_one_is(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    found = [str(each) for each in examine(tmp_path / "mine.yaml", check_paths=False).faults]
    assert any(said in each for each in found), found
    assert not any("Node(" in each for each in found)
