"""Math problems: modular chains, nested expressions and weekday walks, answered in a box."""

from random import Random

from resources.tasks import arithmetic
from resources.tasks.problem import Problem

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
KINDS = ("chain", "nested", "days")


def boxed(answer: object) -> str:
    r"""The final-answer form that math and science share.

    >>> boxed(7)
    '\\boxed{7}'
    """
    return f"\\boxed{{{answer}}}"


def problem(rng: Random, kind: str, depth: int) -> Problem:
    """One math problem of `kind` and serial depth `depth`."""
    if kind == "days":
        return _days(rng, depth)
    made = arithmetic.chain(rng, depth)
    if kind == "chain":
        if rng.random() < 0.5:
            question = f"Compute {made.expression} left to right mod ten."
        else:
            moves = ",".join(f"{op}{n}" for op, n in made.steps)
            question = f"Start with {made.start} and apply {moves} in order mod ten."
    else:
        question = f"Evaluate {made.nested} mod ten."
    value = made.values[-1]
    return Problem(
        domain="math",
        kind=kind,
        depth=depth,
        question=question,
        expected_answer=str(value),
        composition=f"{kind}:{made.operators}",
        thinking=made.thinking,
        answer=boxed(value),
        subject="arithmetic",
        subtopic=kind,
    )


def _days(rng: Random, depth: int) -> Problem:
    start = rng.randrange(7)
    moves = [rng.choice((-1, 1)) * rng.randint(1, 6) for _ in range(depth)]
    day, steps = start, []
    for move in moves:
        after = (day + move) % 7
        steps.append(f"{DAYS[day]}{move:+d}={DAYS[after]}")
        day = after
    walk = ",".join(f"{move:+d}" for move in moves)
    if rng.random() < 0.5:
        question = f"The day is={DAYS[start]}. Move by {walk} days. Which day is it?"
    else:
        question = f"From day={DAYS[start]} go {walk} days. Name the day."
    return Problem(
        domain="math",
        kind="days",
        depth=depth,
        question=question,
        expected_answer=DAYS[day],
        composition="days:" + "".join("+" if move > 0 else "-" for move in moves),
        thinking=";".join(steps),
        answer=boxed(DAYS[day]),
        subject="calendar",
        subtopic="days",
    )
