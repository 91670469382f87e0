"""Chains of modular arithmetic: the serial core of the math, code and tool-call problems.

A chain of depth k applies k operations one after another, each to the result of the last, so
that its value cannot be had with fewer than k steps.
"""

from dataclasses import dataclass
from random import Random

MODULUS = 10
OPERATORS = "+-*"


@dataclass(frozen=True)
class Chain:
    """start, then (operator, operand) pairs; values are taken modulo `MODULUS` at each step."""

    start: int
    steps: tuple[tuple[str, int], ...]

    @property
    def values(self) -> list[int]:
        """The value after each step, in order.

        >>> Chain(7, (("+", 5), ("*", 3))).values
        [2, 6]
        """
        values, value = [], self.start
        for operator, operand in self.steps:
            value = apply(operator, value, operand)
            values.append(value)
        return values

    @property
    def expression(self) -> str:
        """The chain as written in a question: `7+5*3`, read from left to right."""
        return str(self.start) + "".join(f"{op}{n}" for op, n in self.steps)

    @property
    def nested(self) -> str:
        """The chain with its order made explicit by parentheses: `((7+5)*3)`.

        >>> Chain(7, (("+", 5), ("*", 3))).nested
        '((7+5)*3)'
        """
        text = str(self.start)
        for operator, operand in self.steps:
            text = f"({text}{operator}{operand})"
        return text

    @property
    def thinking(self) -> str:
        """The chain worked step by step: `7+5=2;2*3=6`."""
        before = [self.start, *self.values]
        return ";".join(
            f"{value}{op}{n}={after}"
            for value, (op, n), after in zip(before, self.steps, self.values, strict=False)
        )

    @property
    def operators(self) -> str:
        """The operator sequence, which is the chain's composition."""
        return "".join(op for op, _ in self.steps)


def apply(operator: str, value: int, operand: int) -> int:
    """One step modulo `MODULUS`."""
    if operator == "+":
        return (value + operand) % MODULUS
    if operator == "-":
        return (value - operand) % MODULUS
    return (value * operand) % MODULUS


def chain(rng: Random, depth: int) -> Chain:
    """A random chain; a factor is never 0 or 1, so that no step is idle or forgets the last."""
    steps = []
    for _ in range(depth):
        operator = rng.choice("++--*")
        operand = rng.choice((3, 7, 9, 2)) if operator == "*" else rng.randint(1, 9)
        steps.append((operator, operand))
    return Chain(rng.randint(0, 9), tuple(steps))
