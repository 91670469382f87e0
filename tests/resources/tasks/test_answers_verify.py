"""Every worked answer is judged correct by the verifier of its domain, and a wrong one is not."""

import json

import pytest

from resources.parents.documents import output_text
from resources.tasks import generate
from resources.verifiers.dispatch import verify_many


@pytest.mark.parametrize("reasoning", ["on", "off"])
def test_worked_answers_are_correct(reasoning: str) -> None:
    problems = []
    for domain in generate.DOMAINS:
        drawn = generate.stream(domain, depths={1: 1, 3: 1, 5: 1}, seed="answers")
        problems += [next(drawn) for _ in range(12)]
    rows = generate.table(problems, split="train").to_pylist()
    responses = [output_text(problem, reasoning) for problem in problems]
    verdicts = verify_many(rows, responses, [reasoning] * len(rows))
    wrong = [
        (row["question"], response, verdict)
        for row, response, verdict in zip(rows, responses, verdicts, strict=True)
        if verdict.verdict != "correct"
    ]
    assert not wrong


def test_the_answer_of_another_problem_is_not() -> None:
    drawn = generate.stream("tools", depths={2: 1}, seed="wrong")
    problem, other = next(drawn), next(drawn)
    assert json.loads(problem.expected_answer) != json.loads(other.expected_answer)
    row = generate.table([problem], split="train").to_pylist()[0]
    assert verify_many([row], [other.answer], ["off"])[0].verdict == "incorrect"
