"""The verifiers of text: toggle, choices, tool calls, dispatch."""

from __future__ import annotations

import json

import pytest

from resources.verifiers import boxed, choice, dispatch, tools
from resources.verifiers.programs import sandbox
from resources.verifiers.reasoning import follows_toggle, split
from resources.verifiers.verdict import Verdict


def test_a_verdict_has_one_of_three_values() -> None:
    with pytest.raises(ValueError, match="must be one of"):
        Verdict("maybe", "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("response", "on", "off"),
    [
        ("<think>\na\n</think>\n\nb", True, False),
        ("<think>a</think>", True, False),
        ("\n<think>a</think>b", True, False),
        ("b", False, True),
        ("", False, True),
        ("<think>\n \n</think>\n\nb", False, False),
        ("<think>a", False, False),
        ("a</think>b", True, False),
        ("</think>a<think>b", False, False),
        ("x<think>a</think>b", False, False),
        ("<think>a</think><think>b</think>c", False, False),
        ("<think>a<think>b</think>c", False, False),
        ("b <thinking>", False, True),
    ],
)
def test_the_toggle(response: str, on: bool, off: bool) -> None:
    assert follows_toggle(response, "on") is on
    assert follows_toggle(response, "off") is off
    with pytest.raises(ValueError, match="'on' or 'off'"):
        follows_toggle(response, "maybe")


def test_splitting_malformed_responses() -> None:
    assert split("a</think>\nb") == ("a", "b")
    assert split("<think>a</think>b<think>c</think>d")[1] == "d"
    assert split("answer <think>cut") == ("cut", "answer")


def test_the_last_closed_box_counts() -> None:
    assert boxed.last(r"\boxed{1} and \boxed{\{2\}}") == r"\{2\}"
    assert boxed.last(r"\boxed{a{b}c} \boxed{open") == "a{b}c"
    assert boxed.last(r"\boxed 5") is None
    assert boxed.last("\\boxed{" * 5000) is None


CHOSEN = ("B", "b", "(B)", r"\boxed{B}", r"\boxed{\text{B}}", "$B$",
          r"A is wrong, so \boxed{B. the cat}", r"\boxed{(B) x}")  # fmt: skip


@pytest.mark.parametrize("text", CHOSEN)
def test_a_chosen_letter(text: str) -> None:
    assert choice.verify(text, "B").correct
    assert choice.verify(text, "C").verdict == "incorrect"


@pytest.mark.parametrize("text", ["", "Because of B", r"\boxed{BC}", r"\boxed{}", "An apple"])
def test_no_letter(text: str) -> None:
    assert choice.verify(text, "B").verdict == "incorrect"


def call(**arguments: object) -> str:
    return f"<TOOLCALL>{json.dumps([{'name': 'f', 'arguments': arguments}])}</TOOLCALL>"


EXPECTED = json.dumps([{"name": "f", "arguments": {"a": 1, "b": [True, "x"]}}])
SCHEMA = [
    {
        "name": "f",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "array"}},
            "required": ["a"],
        },
    }
]


def test_tool_calls_are_compared_by_structure() -> None:
    assert tools.verify("I call.\n" + call(b=[True, "x"], a=1.0), EXPECTED, SCHEMA).correct
    for response in (
        call(a=1, b=[1, "x"]),
        call(a=1, b=["x", True]),
        call(a="1", b=[True, "x"]),
        call(a=1),
        call(a=1, b=[True, "x"]) * 2,
        '<TOOLCALL>[{"name": "f", "arguments": {"a": 1, "a": 1, "b": [true, "x"]}}]</TOOLCALL>',
        "<TOOLCALL>[{]</TOOLCALL>",
        "<TOOLCALL>" + "[" * 100000 + "</TOOLCALL>",
        "f(a=1)",
        "",
    ):
        assert tools.verify(response, EXPECTED).verdict == "incorrect"
    assert "not of type 'integer'" in tools.verify(call(a="1"), EXPECTED, SCHEMA).evidence
    assert "'c' was unexpected" in tools.verify(call(a=1, c=2), EXPECTED, SCHEMA).evidence


def problem(domain: str, **columns: object) -> dict[str, object]:
    empty = {"question": "", "expected_answer": "", "tests": "", "metadata": None}
    return {"domain": domain, **empty, **columns}


def test_each_domain_has_its_verifier_and_thinking_is_not_judged() -> None:
    metadata = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    problems = [
        problem("math", expected_answer="7"),
        problem("math", expected_answer="7"),
        problem("science", expected_answer="C"),
        problem("tools", expected_answer=EXPECTED),
        problem("instructions", metadata=json.dumps(metadata)),
        problem("instructions", metadata=json.dumps(metadata)),
        problem("math"),
        problem("instructions"),
    ]
    responses = [
        "<think>\n\\boxed{8}\n</think>\n\n\\boxed{7}",
        "<think>\n\\boxed{7}",
        "\\boxed{C}",
        call(a=1, b=[True, "x"]),
        "<think>\na, b\n</think>\n\na b",
        "a, b",
        "\\boxed{7}",
        "x",
    ]
    got = dispatch.verify_many(
        problems, responses, ["on", "on", "off", "off", "on", "off"] + 2 * ["on"]
    )
    assert [one.verdict for one in got] == [
        "correct",
        "incorrect",
        "correct",
        "correct",
        "correct",
        "incorrect",
        "unknown",
        "unknown",
    ]
    assert "punctuation:no_comma" in got[5].evidence
    with pytest.raises(ValueError, match="no verifier"):
        dispatch.verify("poetry", "x", problem("poetry"))
    with pytest.raises(ValueError, match="must match"):
        dispatch.verify_many(problems, responses, ["on"])


def test_code_answers_share_a_sandbox() -> None:
    try:
        sandbox.shared()
    except sandbox.SandboxUnavailable as error:
        pytest.skip(str(error))
    row = problem("code", tests="assert solve(2) == 3")
    good = "```python\ndef solve(x):\n    return x + 1\n```"
    responses = [good, "<think>\na\n</think>\n\n" + good, "def solve(x): return x + 1", good * 2]
    got = dispatch.verify_many([row] * 4, responses, ["off", "on", "off", "off"])
    assert [one.verdict for one in got] == ["correct", "correct", "incorrect", "incorrect"]
