"""Problems are seeded, split by composition and depth, and their worked answers are right."""

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.tasks import arithmetic, code, generate
from resources.tasks.held_out import DEEPEST_TRAINED, is_held_out


def some(domain: str, depth: int, *, held_out: bool, count: int = 20) -> list[generate.Problem]:
    drawn = generate.stream(domain, depths={depth: 1.0}, seed="test", held_out=held_out)
    return [next(drawn) for _ in range(count)]


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_a_chain_is_what_python_computes(seed: int, depth: int) -> None:
    chain = arithmetic.chain(Random(seed), depth)
    assert chain.values[-1] == eval(chain.nested) % 10  # our own text: digits and operators
    assert chain.thinking.count(";") == depth - 1
    assert chain.thinking.endswith(f"={chain.values[-1]}")


def test_a_hand_computed_chain() -> None:
    chain = arithmetic.Chain(7, (("+", 5), ("*", 3), ("-", 8)))
    assert chain.thinking == "7+5=2;2*3=6;6-8=8"
    assert chain.expression == "7+5*3-8"


@pytest.mark.parametrize("domain", generate.DOMAINS)
@pytest.mark.parametrize("depth", [1, 3, 6])
def test_no_composition_is_on_both_sides(domain: str, depth: int) -> None:
    train = some(domain, depth, held_out=False)
    held_out = some(domain, depth, held_out=True)
    assert not any(is_held_out(problem) for problem in train)
    assert all(is_held_out(problem) for problem in held_out)
    if depth > 1:
        assert not {p.composition for p in train} & {p.composition for p in held_out}
    assert not {p.question for p in train} & {p.question for p in held_out}


def test_deep_problems_are_never_trained_on() -> None:
    with pytest.raises(ValueError, match="only held out"):
        some("math", DEEPEST_TRAINED + 1, held_out=False)


def test_the_same_seed_draws_the_same_rows_and_another_does_not() -> None:
    def rows(seed: int) -> list[str]:
        table = generate.generate("science", 30, depths={1: 1, 2: 1}, seed=seed)
        return [str(text) for text in table.column("question").to_pylist()]

    assert rows(1) == rows(1)
    assert rows(1) != rows(2)


@pytest.mark.parametrize(("name", "error"), [("maths", "unknown task domain"), ("math", "no kind")])
def test_an_unknown_domain_or_kind_is_named(name: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        generate.generate(name, 1, depths={1: 1.0}, seed=0, kinds={"poetry": 1.0})


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_the_reference_program_does_what_the_tests_ask(seed: int) -> None:
    problem = code.problem(Random(seed), "compose", 3)
    names: dict[str, object] = {}
    exec(problem.expected_answer + "\n" + problem.tests, names)  # generated here, not by a model


def test_science_is_followed_hop_by_hop() -> None:
    for problem in some("science", 4, held_out=False):
        facts = dict(
            fact.split(">") for fact in problem.question.split(": ")[1].split(".")[0].split(";")
        )
        place = problem.question.split("start=")[1].split(" ")[0]
        for _ in range(4):
            place = facts[place]
        assert f"{problem.expected_answer}={place}" in problem.question


def test_tool_calls_are_structures() -> None:
    for problem in some("tools", 2, held_out=False):
        call = json.loads(problem.expected_answer)
        offered = {tool["name"]: tool for tool in problem.metadata["tools"]}  # type: ignore[attr-defined]
        wanted = offered[call[0]["name"]]["parameters"]["required"]
        assert sorted(call[0]["arguments"]) == sorted(wanted)
