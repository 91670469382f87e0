"""Math-Verify's published cases against our verdicts: every one on which the two differ.

    python benchmarks/math_verify_cases.py CHECKOUT

CHECKOUT is the project's repository; only its `tests/` are read, as text: nothing of it is run.
A case is a pair of answers with the verdict that its authors expect.
"""

from __future__ import annotations

import argparse
import ast
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.verifiers.math import verify
from resources.verifiers.verdict import shorten


@dataclass(frozen=True)
class Case:
    """`theirs`: whether they expect the pair to be equal; `options`: what their test sets."""

    test: str
    answer: str
    expected: str
    theirs: bool
    options: dict[str, Any]


def cases(tests: Path) -> Iterator[Case]:
    """The parametrized pairs of gold and prediction in every test file."""
    for path in sorted(tests.glob("test_*.py")):
        for function in ast.parse(path.read_text(encoding="utf-8")).body:
            for names, rows in _parameters(function):
                for row in rows:
                    given = dict(zip(names, row, strict=True))
                    if {"gold", "pred"} <= given.keys():
                        gold, answer = given.pop("gold"), given.pop("pred")
                        equal = given.pop("expected", given.pop("result", None))
                        yield Case(function.name, answer, gold, bool(equal), given)  # type: ignore[attr-defined]


def _parameters(function: ast.stmt) -> Iterator[tuple[list[str], list[tuple[Any, ...]]]]:
    if not isinstance(function, ast.FunctionDef):
        return
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and len(decorator.args) == 2:
            names = ast.literal_eval(decorator.args[0])
            yield [name.strip() for name in names.split(",")], _rows(decorator.args[1])


def _rows(node: ast.expr) -> list[tuple[Any, ...]]:
    """The literal rows of a list; the square root that one f-string computes is worked out."""
    try:
        return list(ast.literal_eval(node))
    except ValueError:
        return [(f"{math.sqrt(17):.15f}", r"$\sqrt{17}$", 1)]


def main() -> None:
    """Print each case on which the two differ, and how many agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    found: Counter[str] = Counter()
    for case in cases(parser.parse_args().checkout / "tests"):
        verdict = verify(case.answer, case.expected)
        found["cases"] += 1
        if verdict.correct == case.theirs:
            found["agree"] += 1
            continue
        found[f"theirs {'equal' if case.theirs else 'different'}, ours {verdict.verdict}"] += 1
        options = f" {case.options}" if case.options else ""
        print(f"{case.test}{options}: theirs {case.theirs}, ours {verdict.verdict}")
        print(f"    {shorten(verdict.evidence, 300)}")
    print(", ".join(f"{name}: {count}" for name, count in found.items()))


if __name__ == "__main__":
    main()
