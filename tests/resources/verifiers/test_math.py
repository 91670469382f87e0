"""Math answers: equals are equal, others are not, and what is not understood is said to be so."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.verifiers import boxed
from resources.verifiers.answers import values
from resources.verifiers.answers.comparison import agreement, symbolic
from resources.verifiers.answers.notation import tree
from resources.verifiers.answers.notation.grammar import expression
from resources.verifiers.answers.notation.spelling import spelled
from resources.verifiers.answers.notation.tokens import tokens
from resources.verifiers.math import FAILED, plain, readable, verify, why_unreadable

HERE = Path(__file__).parent
PAIRS = [json.loads(line) for line in (HERE / "math_pairs.jsonl").read_text().splitlines()]
KINDS = sorted({pair["kind"] for pair in PAIRS})


def value(text: str) -> values.Value:
    return values.value(expression(tokens(spelled(text))))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_in_both_directions(kind: str) -> None:
    """Each row of the table has the verdict that a person gives it."""
    wrong = []
    for pair in (pair for pair in PAIRS if pair["kind"] == kind):
        verdict = verify(pair["answer"], pair["expected"])
        if verdict.verdict != pair["right"]:
            wrong.append((pair["right"], verdict.verdict, verdict.evidence))
    assert wrong == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (r"1-1/\mathrm{e}", r"1+1/\mathrm{e}"),
        ("2x+3y=5", "4x-y=1"),
        (r"x - \frac{1}{\mathrm{e}}", r"x + \frac{1}{\mathrm{e}}"),
        (r"\pm 2021", "2021"),
        ("7", "8"),
        ("", "7"),
        ("[1,2)", "[1,2]"),
    ],
)
def test_different(answer: str, expected: str) -> None:
    assert verify(answer, expected).verdict == "incorrect"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (r"Thus \boxed{\frac{1}{2}}.", "0.5"),
        (r"\frac{\sqrt{3}}{2}", r"\sin(\pi/3)"),
        ("$y = 2x + 1$.", "y=2x+1"),
        ("0.333333", "1/3"),
        ("The answer is $5$.", "5"),
        (r"First $3$, so \(x = 4\)", "4"),
        ("Final Answer: The largest $n$ is 34.", "34"),
        ("so he has 3 left. Thus the number of apples is 3.", "3"),
        ("9 + 9 = <<9+9=18>>18 eggs\n#### 18", "2 * 9 = 18\n#### 18"),
        ("1,080", "30 * 36 = 1080\n#### 1,080"),
    ],
)
def test_equal(answer: str, expected: str) -> None:
    assert verify(answer, expected).verdict == "correct"


def test_without_an_expected_answer_nothing_is_known() -> None:
    assert verify("7", " ").verdict == "unknown"
    assert "empty" in verify("7", "$.$").evidence


def test_what_was_not_understood_is_named() -> None:
    assert r"\foo" in verify(r"\foo{3}", "3").evidence
    assert "ellipsis" in verify(r"1+2+\cdots+100", "5050").evidence
    assert "more" in verify("12 more", "12").evidence


@pytest.mark.parametrize(
    "expected",
    [
        r"\frac{1}{2}",
        "3,000",
        "9*2=18\n#### 18",
        "Evelyn",
        r"x \in [-2,7]",
        "\\boxed{5}",
        "x=1, y=2",
    ],
)
def test_readable(expected: str) -> None:
    assert readable(expected) and why_unreadable(expected) is None


@pytest.mark.parametrize(
    ("expected", "why"),
    [
        ("", "empty"),
        (r"1+\cdots+n", "ellipsis"),
        (r"\frac{1}{2", "never closed"),
        ("1/0", "no finite value"),
        ("\x00", "character"),
        (r"\boxed{1}, which is not what we want, so \boxed{2}", "several boxes"),
        ("the sum of all of the numbers that can be written in this way", "words"),
        (r"\int_0^1 f(x)\,dx", "command"),
    ],
)
def test_truths_that_nothing_can_be_compared_with(expected: str, why: str) -> None:
    """Told when problems are loaded, before any answer is paid for."""
    assert not readable(expected)
    assert why in (why_unreadable(expected) or "")


def test_a_fault_of_ours_costs_one_row_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "compare", lambda *_: 1 / 0)
    verdict = verify("x+1", "1+x")
    assert verdict.verdict == "unknown" and f"{FAILED} (ZeroDivisionError" in verdict.evidence


def test_boxes_of_one_answer() -> None:
    assert boxed.together(r"\boxed{1}, \boxed{2} and $z = \boxed{3}$") == ["1", "2", "3"]
    assert boxed.together(r"\boxed{1} is wrong. \boxed{2}") == ["2"]
    assert boxed.together(r"\boxed{5} and \boxed{5}") == ["5"]
    assert boxed.together(r"\boxed{\boxed{4}}") == [r"\boxed{4}"]
    assert boxed.together(r"\boxed{4") == []


def test_a_question_that_takes_too_long_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = symbolic._Worker()
    monkeypatch.setattr(symbolic, "_worker", worker)
    assert verify("x^2<4", "-2<x<2").correct
    assert worker._process is not None
    os.kill(worker._process.pid, signal.SIGSTOP)  # it cannot answer in time on any machine
    monkeypatch.setattr(symbolic, "_SECONDS", 0.0)
    verdict = verify("x^2<9", "-3<x<3")
    assert verdict.verdict == "unknown" and "took over" in verdict.evidence
    monkeypatch.undo()
    worker.stop()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-3^2", Fraction(-9)),
        ("2^3^2", Fraction(512)),
        ("3!^2", Fraction(36)),
        (r"2(3+4)\cdot 5", Fraction(70)),
        (r"\frac12", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("8/2/2", Fraction(2)),
        ("1234567.5", Fraction(2469135, 2)),
        (r"\sqrt{49/4}", Fraction(7, 2)),
        (r"\sum_{k=1}^{4} \frac{1}{k}", Fraction(25, 12)),
    ],
)
def test_values_are_exact(text: str, expected: Fraction) -> None:
    assert value(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x y(",
        "(((",
        "1 2",
        "1..2",
        "(" * 1000,
        "-" * 1000 + "1",
        r"\frac{1}",
        "x2",
        "2*+",
        "a=b=c",
    ],
)
def test_no_expression(text: str) -> None:
    with pytest.raises(tree.Unread):
        expression(tokens(spelled(text)))


@pytest.mark.parametrize("text", ["1/0", "2^(10^20)", "(-1)!", "0^(-1)", "x", r"\log 0"])
def test_no_value(text: str) -> None:
    with pytest.raises(values.NoValue):
        value(text)


def test_one_spelling() -> None:
    assert plain(r"$\left( \dfrac{1}{2},\, x^{2} \right)$.") == r"(\frac{1}{2},x^2)"
    assert plain("1, 234") != plain("1,234")


WHOLE = st.integers(-(10**9), 10**9)
SMALL = st.integers(-50, 50)


@settings(max_examples=40)
@given(st.integers(-999, 999), st.integers(1, 999), st.integers(1, 50))
def test_rational_numbers_are_exact(top: int, bottom: int, factor: int) -> None:
    text = rf"\frac{{{top * factor}}}{{{bottom * factor}}}"
    assert value(text) == Fraction(top, bottom)
    assert verify(text, f"{top}/{bottom}").correct
    assert not verify(text, f"{top}/{bottom} + 1/10^9").correct


SPELLINGS: tuple[Callable[[int], str], ...] = (
    lambda n: f"{n}",
    lambda n: f"{n:,}",
    lambda n: f"{n:,}".replace(",", "{,}"),
    lambda n: f"{n:,}".replace(",", r",\!"),
    lambda n: f"{n:,}".replace(",", r"\,"),
    lambda n: f"{n}.0",
    lambda n: f"x = {n}",
    lambda n: rf"\boxed{{{n}}}",
    lambda n: f"The answer is ${n}$.",
    lambda n: f"so far\n#### {n:,}",
    lambda n: rf"\frac{{{2 * n}}}{{2}}",
    lambda n: f"{n} \\text{{ dollars}}",
    lambda n: rf"\left( {n} \right)",
    lambda n: rf"{n - 1} + 1",
    lambda n: rf"\text{{{n}}}",
    lambda n: rf"\$ {n}" if n >= 0 else rf"-\${-n}",
)


@settings(max_examples=80)
@given(WHOLE, WHOLE, st.sampled_from(SPELLINGS), st.sampled_from(SPELLINGS))
def test_spellings_keep_a_value_and_no_spelling_makes_two_equal(
    a: int, b: int, left: Callable[[int], str], right: Callable[[int], str]
) -> None:
    assert verify(left(a), right(a)).correct, (left(a), right(a))
    if a != b:
        assert not verify(left(a), right(b)).correct, (left(a), right(b))


@settings(max_examples=40)
@given(
    st.lists(SMALL, min_size=2, max_size=5, unique=True), st.randoms(use_true_random=False), SMALL
)
def test_lists_in_any_order_tuples_in_theirs(items: list[int], draw: Random, other: int) -> None:
    mixed = list(items)
    draw.shuffle(mixed)
    joined, shuffled = (", ".join(map(str, each)) for each in (items, mixed))
    assert verify(joined, shuffled).correct
    assert verify(rf"\{{{joined}\}}", shuffled).correct
    assert verify(f"({joined})", f"({shuffled})").correct is (items == mixed)
    assert not verify(joined, ", ".join(map(str, items[:-1]))).correct
    if other not in items:
        assert not verify(", ".join(map(str, [*items[:-1], other])), shuffled).correct


@settings(max_examples=40)
@given(SMALL, SMALL, SMALL, st.integers(1, 9))
def test_polynomials_by_value(a: int, b: int, c: int, step: int) -> None:
    factored, expanded = f"(x+({a}))(x+({b}))+({c})", f"x^2+({a + b})x+({a * b + c})"
    assert verify(factored, expanded).correct
    assert verify(factored, f"x^2+({a + b})x+({a * b + c + step})").verdict == "incorrect"
    assert verify(f"y={factored}", f"y = {expanded}").correct


@settings(max_examples=40)
@given(SMALL, st.integers(1, 40), st.booleans(), st.booleans())
def test_intervals_and_inequalities(low: int, length: int, closed: bool, opened: bool) -> None:
    high = low + length
    left, right = "[" if closed else "(", "]" if opened else ")"
    signs = r"\le" if closed else "<", r"\le" if opened else "<"
    inequality = f"{low} {signs[0]} x {signs[1]} {high}"
    assert verify(inequality, rf"x \in {left}{low}, {high}{right}").correct
    assert not verify(inequality, rf"x \in {left}{low}, {high + 1}{right}").correct
    other = "(" if closed else "["
    assert not verify(inequality, rf"x \in {other}{low}, {high}{right}").correct


@settings(max_examples=40)
@given(st.integers(2, 16), st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_base_is_part_of_a_number(base: int, a: int, b: int) -> None:
    digits, at = "", a
    while at:
        digits, at = "0123456789ABCDEF"[at % base] + digits, at // base
    if not digits.isalpha():
        assert verify(f"{digits}_{{{base}}}", f"({digits})_{base}").correct
        assert base == 10 or not verify(f"{digits}_{{{base}}}", digits).correct
        assert not verify(f"{digits}_{{{base}}}", f"{b}_{{10}}").correct or (a == b and base == 10)


@settings(max_examples=40)
@given(
    st.integers(1, 10**5),
    st.sampled_from(["m", "cm", "km", "kg", "g", "s"]),
    st.sampled_from(["m", "cm", "km", "kg", "g", "s"]),
)
def test_units_are_part_of_a_quantity(amount: int, mine: str, theirs: str) -> None:
    found = verify(rf"{amount}\text{{ {mine}}}", rf"{amount}\text{{ {theirs}}}")
    assert found.verdict == ("correct" if mine == theirs else "incorrect")


@settings(max_examples=150)
@given(st.text(alphabet="0123456789xyeC.,;:()[]{}\\^_+-*/=<>!|%$& \n'frac", max_size=30))
def test_nothing_that_is_written_breaks_the_verifier(text: str) -> None:
    for answer, expected in ((text, "5"), ("x+1", text)):
        assert FAILED not in verify(answer, expected).evidence
        assert readable(expected) or verify(expected, expected).verdict != "incorrect"
