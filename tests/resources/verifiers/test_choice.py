"""Multiple choice: options in every shape, choices in every spelling."""

from __future__ import annotations

from typing import Any

import pytest

from resources.tasks import options
from resources.verifiers import choice

ROME = ("Rome", "Paris")
SHAPES: list[Any] = [
    ["Rome", "Paris"],
    ("Rome", "Paris"),
    {"text": ["Rome", "Paris"], "label": ["A", "B"]},
    {"text": ["Rome", "Paris"], "label": ["1", "2"]},
    {"A": "Rome", "B": "Paris", "C": None},
    {"choices": ["Rome", "Paris"]},
    '["Rome", "Paris"]',
    "['Rome', 'Paris']",
    '{"A": "Rome", "B": "Paris"}',
    ["A) Rome", "B) Paris"],
    ["(1) Rome", "(2) Paris"],
    [{"label": "A", "text": "Rome"}, {"label": "B", "text": "Paris"}],
    [{"key": "x", "value": "Rome"}, {"key": "y", "value": "Paris"}],
]


@pytest.mark.parametrize("shape", SHAPES)
def test_options_in_every_shape(shape: Any) -> None:
    found = options.read(shape)
    assert found.texts == ROME and found.letters == ("A", "B")
    assert found.index("Paris") == 1
    assert choice.verify(r"\boxed{B}", "Paris", shape).correct
    assert choice.verify("Paris.", "Paris", shape).correct
    assert not choice.verify("Rome", "Paris", shape).correct


@pytest.mark.parametrize(
    ("shape", "answer", "place"),
    [
        (["x", "y"], 1, 1),
        (["x", "y"], 1.0, 1),
        (["x", "y"], "1", 1),
        (["x", "y"], "b", 1),
        ({"1": "x", "2": "y"}, "1", 0),
        ({"1": "x", "2": "y"}, 1, 0),
        ([True, False], False, 1),
        ([False, True], True, 1),
        (["True", "False"], "False", 1),
        ([3, 5], "5", 1),
        (["1", "2", "3"], "3", 2),
        (["1", "2", "3"], 1, 1),
        (["4", "5"], 5, 1),
        ({"label": ["1", "2"], "text": ["x", "y"]}, 2, 1),
        ([str(n) for n in range(0, 300, 10)], "290", 29),
        (["A", "O", "B"], "B", 2),
        (list("abcdefghijklmno"), 14, 14),
        (["x", "y"], " B ", 1),
    ],
)
def test_which_option_an_answer_means(shape: Any, answer: Any, place: int) -> None:
    assert options.read(shape).index(answer) == place


@pytest.mark.parametrize(
    ("shape", "answer"),
    [
        (["x", "y"], 2),
        (["x", "y"], "z"),
        (["x", "x"], "x"),
        (["x", "y"], None),
        (["x", "y"], True),
        (["x", "y"], -1),
        (["x", "y"], 0.5),
        (["x", "y"], ["x"]),
    ],
)
def test_an_answer_that_means_none_or_two_is_refused(shape: Any, answer: Any) -> None:
    with pytest.raises(ValueError, match="means"):
        options.read(shape).index(answer)
    assert choice.verify(r"\boxed{A}", answer, shape).verdict == "unknown"


@pytest.mark.parametrize(
    "shape",
    [
        None,
        3,
        [],
        ["x"],
        ["x", ""],
        ["x", None],
        ["x", ["y"]],
        "x, y",
        {},
        {"text": ["x"], "label": []},
        [{"a": "x"}, {"a": "y"}],
        {"label": ["A", "A"], "text": ["x", "y"]},
    ],
)
def test_what_is_no_set_of_options_is_refused(shape: Any) -> None:
    with pytest.raises(ValueError, match=r"choice|label"):
        options.read(shape)
    assert shape is None or choice.verify("A", "A", shape).verdict == "unknown"


@pytest.mark.parametrize(
    "text",
    [
        "B",
        "b",
        "(B)",
        "[b]",
        "B)",
        "B.",
        "B:",
        "**B**",
        "**(B)**",
        "`B`",
        '"B"',
        "$B$",
        "B. the cat",
        "(B) x",
        "Option B",
        "option (b)",
        "Answer: B",
        "The answer is B.",
        "The correct answer is (B)",
        "The correct option is **B**.",
        "Choice B",
        "Final answer: **B**",
        "\uff22",
        r"\text{B}",
        r"\boxed{B}",
        r"\boxed{\text{B}}",
        r"\boxed{\textbf{(B)}}",
        r"\boxed{\mathrm{B}}",
        r"\boxed{\text{Option B}}",
        r"\boxed{B. \text{ the cat}}",
        r"A is wrong, so \boxed{(B) x}",
        r"\[\boxed{\bf B}\]",
        "$\\boxed{B}$",
        r"\boxed{\text{(b) the cat}}",
    ],
)
def test_a_letter_in_every_spelling(text: str) -> None:
    assert choice.letter(text) == "B"
    assert choice.verify(text, "B").correct and choice.verify(text, "C").verdict == "incorrect"


@pytest.mark.parametrize(
    "text",
    ["", "Because of B", r"\boxed{BC}", r"\boxed{}", "An apple", "A cat", "B or C", "I think"],
)
def test_no_letter(text: str) -> None:
    assert choice.letter(text) is None
    assert choice.verify(text, "B").verdict == "incorrect"


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        ("Yes.", "True", True),
        (r"\boxed{False}", "true", False),
        ("2", "2", True),
        ("(3)", "2", False),
        ("no", "False", True),
        ("Option 2", "2", True),
    ],
)
def test_numbers_and_truth_values(answer: str, expected: str, right: bool) -> None:
    assert choice.verify(answer, expected).correct is right


@pytest.mark.parametrize("expected", ["", "the cat", r"\boxed{}"])
def test_an_expected_answer_that_names_nothing_is_unknown(expected: str) -> None:
    assert choice.verify("B", expected).verdict == "unknown"
