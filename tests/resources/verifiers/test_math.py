"""Mathematical equality: equals are equal, known false positives of computer algebra are not."""

from __future__ import annotations

import os
import signal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.verifiers import numeric, symbolic
from resources.verifiers.math import normalise, verify


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("1/2004!", "1/2006!"),
        ("1/2^99", "1/2^98"),
        (r"1-1/\mathrm{e}", r"1+1/\mathrm{e}"),
        ("y=2x+1", "y=3x+4"),
        ("2x+3y=5", "4x-y=1"),
        (r"x - \frac{1}{\mathrm{e}}", r"x + \frac{1}{\mathrm{e}}"),
        ("n=2,3,4", "1,2,3"),
        ("(0,1)", "(0,1.5)"),
        ("12:00", "1:00"),
        (r"\pm 2021", "2021"),
        ("7", "8"),
        ("no idea", "7"),
        ("", "7"),
        (r"\boxed{7} but no, \boxed{8}", "7"),
        ("[1,2)", "[1,2]"),
        ("9^9^9^9", "1"),
        ("Monday", "Tuesday"),
        ("(1,234)", "1234"),
    ],
)
def test_different(answer: str, expected: str) -> None:
    assert verify(answer, expected).verdict == "incorrect"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (r"Thus \boxed{\frac{1}{2}}.", "0.5"),
        (r"\boxed{1,000}", "1000"),
        (r"2\sqrt{2}", r"\sqrt 8"),
        ("(x+1)^2", "x^2+2x+1"),
        ("x=5", "5"),
        (r"\{1,2\}", r"\{2,1\}"),
        (r"\frac{\sqrt{3}}{2}", r"\sin(\pi/3)"),
        (r"50\%", "0.5"),
        (r"1\frac12", "3/2"),
        ("$y = 2x + 1$.", "y=2x+1"),
        (r"\text{Tuesday}", "tuesday"),
        ("0.333333", "1/3"),
        (r"\left(1, \dfrac{1}{2}\right)", "(1,0.5)"),
        (r"10 \text{ cm}", "10"),
        ("The answer is $5$.", "5"),
        (r"First $3$, so \(x = 4\)", "4"),
        ("28 percent", r"28\%"),
        ("1 000", "1,000"),
    ],
)
def test_equal(answer: str, expected: str) -> None:
    assert verify(answer, expected).verdict == "correct"


def test_a_disagreement_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    said = symbolic.Comparison(equal=True, sampled=False, has_variables=True)
    monkeypatch.setattr(symbolic, "compare", lambda *_: said)
    verdict = verify("x+1", "x+2")
    assert (
        verdict.verdict == "unknown" and "values at fixed points say different" in verdict.evidence
    )


def test_a_comparison_that_takes_too_long_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = symbolic._Worker()
    monkeypatch.setattr(symbolic, "_worker", worker)
    assert verify("x+1", "1+x").correct
    assert worker._process is not None
    os.kill(
        worker._process.pid, signal.SIGSTOP
    )  # it cannot answer in time, however idle the machine
    monkeypatch.setattr(symbolic, "_SECONDS", 0.0)
    assert verify("x+2", "3+x").verdict == "unknown"
    monkeypatch.undo()
    worker.stop()


@given(st.integers(-999, 999), st.integers(1, 999), st.integers(1, 50))
def test_rational_numbers_are_exact(top: int, bottom: int, factor: int) -> None:
    text = rf"\frac{{{top * factor}}}{{{bottom * factor}}}"
    assert numeric.value(text) == Fraction(top, bottom)
    assert verify(text, f"{top}/{bottom}").correct
    assert not verify(text, f"{top}/{bottom} + 1/10^9").correct


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-3^2", Fraction(-9)),
        ("2^3^2", Fraction(512)),
        ("3!^2", Fraction(36)),
        (r"2(3+4)\cdot 5", Fraction(70)),
        (r"\frac12", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("8/2/2", Fraction(2)),
        ("1234567.5", Fraction(2469135, 2)),
    ],
)
def test_values(text: str, value: Fraction) -> None:
    assert numeric.value(text) == value


NO_VALUE = ("", "x", "1/0", "(1,2)", "1..2", "(((", "1 2", "2^(10^20)", "(-1)!", "(" * 1000,
            "-" * 1000 + "1", "0^(-1)", r"\sqrt{-1}")  # fmt: skip


@pytest.mark.parametrize("text", NO_VALUE)
def test_no_value(text: str) -> None:
    assert numeric.value(text) is None


def test_one_spelling() -> None:
    assert normalise(r"$\left( \dfrac{1}{2},\, x^{2} \right)$.") == r"(\frac{1}{2},x^2)"
    assert normalise(r"$1$ and $2$") == "$1$and$2$"
