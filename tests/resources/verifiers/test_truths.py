"""Truths of every domain: what no answer could be judged by is told before any is sampled."""

from __future__ import annotations

import json
from typing import Any

import pytest

from resources.verifiers import dispatch
from resources.verifiers.truths import unreadable

FOLLOW = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
TOOLS = {
    "tools": [{"name": "f", "parameters": {"type": "wat", "properties": {"a": {"type": "wat"}}}}]
}
CALL = '[{"name": "f", "arguments": {}}]'


def row(domain: str, metadata: Any = None, **columns: str) -> dict[str, Any]:
    empty = {"domain": domain, "question": "", "expected_answer": "", "tests": ""}
    return empty | columns | {"metadata": json.dumps(metadata or {})}


@pytest.mark.parametrize(
    "problem",
    [
        row("math", expected_answer="7"),
        row("science", expected_answer="B"),
        row("code", tests="assert f(1) == 2"),
        row("code", {"language": "c++"}, tests='{"inputs": ["1"], "outputs": ["2"]}'),
        row("tools", expected_answer=CALL),
        row("instructions", FOLLOW),
        *[row(domain) for domain in ("math", "science", "code", "tools", "instructions")],
    ],
)
def test_truths_that_can_be_read(problem: dict[str, Any]) -> None:
    assert unreadable(problem) is None


@pytest.mark.parametrize(
    ("problem", "answer"),
    [
        (row("code", tests='{"inputs": [], "outputs": []}'), "```python\nx\n```"),
        (row("code", {"language": "cobol"}, tests="assert 1"), "```python\nx\n```"),
        (row("tools", expected_answer="{}"), "f()"),
        (row("tools", TOOLS, expected_answer=CALL), "f()"),
        (row("instructions", {"instruction_id_list": ["no:such"], "kwargs": [{}]}), "x"),
        (row("instructions", {"instruction_id_list": ["punctuation:no_comma"]}), "x"),
        (row("instructions", FOLLOW | {"kwargs": [{"x": 1}]}), "x"),
        (row("instructions", FOLLOW | {"kwargs": [None]}), "x"),
    ],
)
def test_truths_that_cannot_be_read_are_told_and_never_fail_others(
    problem: dict[str, Any], answer: str
) -> None:
    assert unreadable(problem)
    good = row("science", expected_answer="B")
    verdicts = dispatch.verify_many([problem, good], [answer, r"\boxed{B}"], ["off", "off"])
    assert [each.verdict for each in verdicts] == ["unknown", "correct"]
