"""What `check` says of tools in conversations: that they survive, or what would work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.checks import templates, tools
from jobs.checks.asked import Asked, Finding
from resources.recipe.loading import load
from resources.recipe.reading.faults import Fault
from tests.resources.chat import tooled
from tests.resources.pretrained.folders import TEMPLATE, instruct

PLAIN = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
WRITES = tooled.template().replace("<|im_end|>", "<|eot_id|>").replace("<|im_start|>", "")
NO_SYSTEM = TEMPLATE.replace(
    "{{ m.content }}",
    "{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}{{ m.content }}",
)


@pytest.fixture
def folder(tmp_path: Path, tiny_llama: Path) -> Path:
    instruct(tiny_llama, tmp_path / "parent")
    rows = [{"messages": PLAIN}, {"messages": tooled.conversation(), "tools": tooled.TOOLS}]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def findings(folder: Path, template: str, *, corpus: str = "", **more: str) -> list[Finding]:
    """What is found where `super` learns of a source, whose parent has this template."""
    (folder / "parent" / "chat_template.jinja").write_text(template)
    source = {"kind": "conversations", "path": "./c.jsonl", "license": "mit", **more}
    stage: dict[str, Any] = {"name": "sft", "mix": {"c": 1}, "samples": 2, "packed": True}
    stage |= {"epochs": 1, "batch_tokens": 1024, "sequence_length": 256}
    stage |= {"learning_rate": 1e-3, "min_learning_rate": 1e-4}
    recipe = folder / "mine.yaml"
    recipe.write_text(
        f"extends: heirloom/smoke\nsources:\n  c: {json.dumps(source)}\n{corpus}"
        f"models:\n  super: {{parent: ./parent, sft: [{json.dumps(stage)}]}}\n"
    )
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return list(tools.tools(Asked(load(str(recipe), check_paths=False), True, scratch)))


def only(found: list[Finding]) -> str:
    (fault,) = found
    assert isinstance(fault, Fault) and fault.stops and "\n" not in str(fault)
    return str(fault)


def test_what_survives_is_said(folder: Path) -> None:
    said = findings(folder, WRITES)
    assert said == ["c: super reads tools, calls and results as its template writes them"]
    said = findings(folder, TEMPLATE, tools="text")
    assert said == ["c: super reads tools, calls and results as text"]


def test_what_a_template_leaves_out_is_refused_with_what_would_work(folder: Path) -> None:
    said = only(findings(folder, TEMPLATE))
    assert said.startswith(f"{folder / 'mine.yaml'}:3: sources.c: the chat template of super ")
    assert "the list of tools and calls (c.jsonl:2)" in said and said.endswith("say `tools: text`")
    quiet = WRITES.replace("<result>{{ m.content }}</result>", "")
    assert "leaves out results (" in only(findings(folder, quiet))


def test_where_neither_way_works_another_template_is_asked_for(folder: Path) -> None:
    said = only(findings(folder, NO_SYSTEM))
    assert "the list of tools and calls" in said and "template: ./chat.jinja" in said
    said = only(findings(folder, NO_SYSTEM, tools="text"))
    assert "a conversation: the chat template refuses" in said and "./chat.jinja" in said


def test_text_that_a_template_refuses_may_be_written_by_it(folder: Path) -> None:
    system = "{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
    refuses = WRITES.replace("{% for m in messages %}", "{% for m in messages %}" + system)
    assert only(findings(folder, refuses, tools="text")).endswith("leave `tools: text` out")
    assert not any(isinstance(each, Fault) for each in findings(folder, refuses))


def test_a_corpus_takes_tools_as_text_alone(folder: Path) -> None:
    corpus = "corpus: {mix: {c: 1}, tokens: 1000}\n"
    first, *others = findings(folder, WRITES, corpus=corpus)
    assert "the corpus has turns alone, and c.jsonl:2 has tools" in str(first)
    assert str(first).endswith("say `tools: text`")
    assert not any(isinstance(each, Fault) for each in others)
    assert not any(
        isinstance(each, Fault) for each in findings(folder, WRITES, corpus=corpus, tools="text")
    )


def test_sources_without_tools_are_not_spoken_of(folder: Path) -> None:
    (folder / "c.jsonl").write_text(json.dumps({"messages": PLAIN}) + "\n")
    assert findings(folder, TEMPLATE) == []
    (folder / "c.jsonl").write_text(
        json.dumps({"messages": tooled.conversation(), "tools": tooled.TOOLS}) + "\n"
    )
    recipe = load(str(folder / "mine.yaml"), check_paths=False)
    shown = list(templates.templates(Asked(recipe, True, folder / "scratch")))
    assert any("»4" in str(each) for each in shown)  # the example is one that every template writes
