"""Code problems: compose small list functions, one of them with a constant k steps away."""

from random import Random

from resources.tasks import arithmetic
from resources.tasks.problem import Problem

PLAIN = {
    "sort": "sorted(x)",
    "reverse": "x[::-1]",
    "square": "[v*v for v in x]",
    "keep odd": "[v for v in x if v%2]",
    "negate": "[-v for v in x]",
}
WITH_CONSTANT = {
    "add n": "[v+{n} for v in x]",
    "multiply by n": "[v*{n} for v in x]",
    "drop n": "x[{n}:]",
    "take n": "x[:{n}]",
    "keep above n": "[v for v in x if v>{n}]",
}
KINDS = ("compose",)


def program(operations: list[str], constant: int) -> str:
    """The reference program, one statement an operation."""
    lines = [
        f"    x = {(PLAIN.get(name) or WITH_CONSTANT[name]).format(n=constant)}\n"
        for name in operations
    ]
    return "def solve(x):\n" + "".join(lines) + "    return x"


def run(operations: list[str], constant: int, x: list[int]) -> list[int]:
    """The same composition, evaluated here and not from the program's text."""
    for name in operations:
        if name == "sort":
            x = sorted(x)
        elif name == "reverse":
            x = x[::-1]
        elif name == "square":
            x = [v * v for v in x]
        elif name == "keep odd":
            x = [v for v in x if v % 2]
        elif name == "negate":
            x = [-v for v in x]
        elif name == "add n":
            x = [v + constant for v in x]
        elif name == "multiply by n":
            x = [v * constant for v in x]
        elif name == "drop n":
            x = x[constant:]
        elif name == "take n":
            x = x[:constant]
        elif name == "keep above n":
            x = [v for v in x if v > constant]
        else:
            raise ValueError(f"unknown list operation {name!r}")
    return x


def problem(rng: Random, kind: str, depth: int) -> Problem:
    """Compose one or two plain operations and one that uses n, a chain of `depth` steps."""
    made = arithmetic.chain(rng, depth)
    constant = made.values[-1]
    operations = rng.sample(sorted(PLAIN), rng.randint(1, 2))
    operations.insert(rng.randint(0, len(operations)), rng.choice(sorted(WITH_CONSTANT)))
    inputs = [rng.sample(range(13), 12) for _ in range(3)]
    tests = "\n".join(
        f"assert solve({values}) == {run(operations, constant, values)}" for values in inputs
    )
    question = (
        f"Write solve(x) for a list x: {', '.join(operations)}. "
        f"n is {made.expression} left to right mod ten."
    )
    return Problem(
        domain="code",
        kind=kind,
        depth=depth,
        question=question,
        expected_answer=program(operations, constant),
        composition=f"{'|'.join(operations)}:{made.operators}",
        thinking=made.thinking,
        answer=f"```python\n{program(operations, constant)}\n```",
        subject="programming",
        subtopic="lists",
        tests=tests,
    )
