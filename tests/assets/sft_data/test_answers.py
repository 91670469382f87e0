"""A source's own problems are answered as it says, and those without a known answer get one."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from assets.catalog import all_specs
from assets.sft_data.generate import draw
from resources.recipe.errors import RecipeError
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.store.building import Code, materialise
from tests.assets.sft_data.own_recipe import MODEL
from tests.resources.answering import Answering
from tests.resources.engines.server.hostile import Body, Hostile, plain, said, send, serving
from tests.resources.training import tiny_family as tiny
from warehouse import catalog
from warehouse.store import Artifact, Store

# What the teacher says with thinking on, sample by sample, and the off writer once; the truth.
PROBLEMS: dict[str, tuple[list[str], str, str | None]] = {
    "half": (["1/2", "0.5", r"\frac{1}{2}", "0.75"], "50\\%", None),
    "tied": (["3", "4", "3.0", "8/2"], "3", None),
    "few": (["5", "5", "", ""], "5", None),
    "wrong": (["9", "9", "9", "9"], "8", None),
    "known": (["7", "7", "7", "6"], "6", "6"),
}
KEYS = [f"sft_data/mine{end}" for end in ("_generations", "_votes", "_verdicts", "")]
RECIPE = (
    MODEL
    + """\
generation: {temperature: 0.6, top_p: 0.95, max_new_tokens: 77}
sources:
  mine:
    kind: problems
    path: ./mine.jsonl
    fields: {question: q, expected_answer: a}
    verifier: math
    truth: vote
    license: mit
    max_drop: 0.5
    answers: {by: teacher, thinking_on: 4, thinking_off: 1}
roles:
  teacher:
    model: big
    engine: {openai: URL}
    sampling: {temperature: 0.9}
  off: {model: small, engine: {openai: URL}, sampling: {temperature: 0.0, max_new_tokens: 33}}
"""
)


def question(name: str) -> str:
    """A question that is for training (one in five is held out, by its text)."""
    from resources.tasks.held_out import is_held_out_row

    texts = (f"What is {name} of it, in case {n}?" for n in range(99))
    return next(t for t in texts if not is_held_out_row({"domain": "math", "question": t}))


def recipe(folder: Path, url: str = "http://127.0.0.1:9", **changed: Any) -> Recipe:
    rows = [{"q": question(name), "a": truth} for name, (_, _, truth) in PROBLEMS.items()]
    text = "".join(json.dumps(row) + "\n" for row in [*rows, {"q": None, "a": "1"}])
    (folder / "mine.jsonl").write_text(text)
    (folder / "mine.yaml").write_text(RECIPE.replace("URL", f"'{url}'"))
    overrides = [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in changed.items()
    ]
    return load(folder / "mine.yaml", overrides=overrides, check_paths=False)


class Model:
    """Answers each question with the next of its answers; thinks where it is the big one."""

    def __init__(self) -> None:
        self.next: Counter[str] = Counter()
        self.lock = threading.Lock()

    def __call__(self, server: Hostile, handler: Answering, body: Body, n: int) -> bool:
        found = re.search(r"What is (\w+) of it", body["messages"][-1]["content"])
        assert found is not None
        on, off, _ = PROBLEMS[found[1]]
        if body["model"] == "small":
            send(handler, 200, said(f"It is \\boxed{{{off}}}."))
            return True
        with self.lock:
            answer = on[self.next[found[1]]]
            self.next[found[1]] += 1
        text = f"<think>\nhm {self.next[found[1]]}\n</think>\n\nIt is \\boxed{{{answer}}}."
        send(handler, 200, said(text if answer else "<think>\nfor ever"))
        return True


def built(store: Store, made: Recipe, execution: Any) -> dict[str, Artifact]:
    asked = specs(made)
    wanted = ("problems/questions_mine", "problems/held_out", "problems/math", *KEYS)
    return {key: materialise(store, asked[key], Code("1"), execution) for key in wanted}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def test_a_sources_problems_are_answered_judged_and_drawn(store: Store, tmp_path: Path) -> None:
    with serving(plain(behave=Model())) as server:
        server.models = [{"id": "big"}, {"id": "small"}]
        made = recipe(tmp_path, server.url)
        execution = tiny.EXECUTION.but(requests=tmp_path / "requests", roles=made.family.roles)
        found = built(store, made, execution)
        bodies = list(server.bodies)
        asked = Counter((b["model"], b["temperature"], b["max_tokens"]) for b in bodies)
        assert asked == {("big", 0.9, 77): 20, ("small", 0.0, 33): 5}
        assert {b["top_p"] for b in bodies} == {0.95}
        by_sql(store)
        strict = recipe(tmp_path, server.url, **{"vote.margin": 0.8})
        again = built(store, strict, execution)
        assert len(server.bodies) == len(bodies), "another margin asks no model again"
    assert found[KEYS[0]].data_version == again[KEYS[0]].data_version
    assert {r["outcome"] for r in again[KEYS[1]].table("votes").to_pylist()} >= {"below margin"}

    votes = {r["problem_id"]: r for r in found[KEYS[1]].table("votes").to_pylist()}
    asked_of = {r["row_id"]: r for r in found["problems/math"].table("problems").to_pylist()}
    told = {
        re.findall(r"What is (\w+)", asked_of[one]["question"])[0]: row
        for one, row in votes.items()
    }
    assert {name: (row["outcome"], row["answer"], row["votes"]) for name, row in told.items()} == {
        "half": ("decided", "0.5", 4),
        "tied": ("tied", None, 4),
        "few": ("too few votes", None, 2),
        "wrong": ("decided", "9", 4),
    }
    assert told["half"]["evidence"] == "3 of 4 votes for 0.5, 1 for 0.75"
    assert told["tied"]["evidence"] == "no majority (tied): 2 of 4 votes for 3, 2 for 4"


def by_sql(store: Store) -> None:
    """What became of every row; which samples are right by vote, and which by a known truth."""
    connection = catalog.connect(store)

    def told(query: str) -> list[tuple[Any, ...]]:
        return catalog.query(connection, query).fetchall()

    rows = told(
        "SELECT regexp_extract(p.question, 'is (\\w+) of', 1), g.reasoning, v.verifier, v.verdict, "
        "d.reason, count(*) FROM verdicts v JOIN generations g ON g.row_id = v.generation_id "
        "JOIN problems p ON p.row_id = g.problem_id LEFT JOIN dropped d ON d.row_id = g.row_id "
        "GROUP BY ALL ORDER BY ALL"
    )
    vote = "math by vote"
    assert rows == [
        ("few", "off", vote, "unknown", "unverified", 1),
        ("few", "on", vote, "unknown", "unverified", 4),
        ("half", "off", vote, "correct", None, 1),
        ("half", "on", vote, "correct", None, 3),
        ("half", "on", vote, "incorrect", "incorrect", 1),
        ("known", "off", "math", "correct", None, 1),
        ("known", "on", "math", "correct", None, 1),
        ("known", "on", "math", "incorrect", "incorrect", 3),
        ("tied", "off", vote, "unknown", "unverified", 1),
        ("tied", "on", vote, "unknown", "unverified", 4),
        ("wrong", "off", vote, "incorrect", "incorrect", 1),
        ("wrong", "on", vote, "correct", None, 4),
    ]
    (why,) = told("SELECT DISTINCT evidence FROM dropped WHERE evidence LIKE 'no majority (tied)%'")
    assert why == ("no majority (tied): 2 of 4 votes for 3, 2 for 4",)
    by_vote = told(
        "SELECT v.verifier, count(*) FROM sft_samples s JOIN verdicts v "
        "ON v.generation_id = s.parents[1].row_id GROUP BY ALL ORDER BY ALL"
    )
    assert by_vote == [("math", 2), (vote, 8)]
    truths = told("SELECT truth, count(*) FROM sft_samples GROUP BY ALL ORDER BY ALL")
    assert truths == [("given", 2), ("vote", 8)]
    ballots = told("SELECT counted, reason, count(*) FROM ballots GROUP BY ALL ORDER BY ALL")
    assert ballots == [(False, "no \\boxed answer", 2), (True, None, 14)]
    assert told("SELECT rows_in, kept, dropped FROM sources WHERE source = 'mine'") == [(6, 5, 1)]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sources.mine.answers.thinking_on": 2}, "fewer than vote.minimum 3"),
        ({"roles.teacher.sampling.temperature": 0}, "all votes on a problem are one answer"),
        ({"sources.mine.verifier": "code"}, "answers of code are not voted on"),
        ({"sources.mine.answers.by": "judge"}, "'teacher' or 'off'"),
        ({"sources.mine.answers.judge": "all"}, "roles: judge is missing: sources.mine.answers"),
        ({"sources.mine.answers": None}, "has problems without answers"),
        ({"sources.mine.kind": "responses"}, "only problems are answered"),
        ({"vote.minimum": 1}, "vote.minimum"),
        ({"vote.majority": 0.5}, "allowed: minimum, share, margin"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_asked(
    tmp_path: Path, changed: dict[str, Any], words: str
) -> None:
    with pytest.raises(RecipeError, match=re.escape(words)):
        recipe(tmp_path, **changed)


def specs(made: Recipe) -> dict[str, Any]:
    return {spec.key: spec for spec in all_specs(made)}


DOMAIN = {
    "problems.math": "{train: 4, kinds: {}, depths: {1: 1}}",
    "sft_data.math": {"prompts": 4, "samples_on": 3, "samples_off": 1},
}


def test_a_domain_leaves_out_what_a_source_has_answered_itself(
    store: Store, tmp_path: Path
) -> None:
    made = specs(recipe(tmp_path, **DOMAIN))
    assert made["sft_data/math_generations"].recipe["apart"] == ["mine"]
    assert "prompts" not in made["sft_data/mine_generations"].recipe
    assert "sft_data/math_votes" not in made, "nothing is left there that is voted on"
    drawn = recipe(tmp_path, **DOMAIN, **{"sources.mine.answers": None}, **MIXED)
    asked = specs(drawn)
    assert "apart" not in asked["sft_data/math_generations"].recipe
    assert asked["sft_data/math_verdicts"].inputs["votes"] == "sft_data/math_votes"
    assert asked["sft_data/math_votes"].recipe["modes"] == ["on"]
    keys = ("problems/questions_mine", "problems/held_out", "problems/math")
    problems = [materialise(store, asked[key], Code("1")) for key in keys][-1]

    def asks(**said: Any) -> Counter[str]:
        return Counter(draw(problems, {"seed": 1} | said)["source"].to_pylist())

    assert asks() == {"mine": 5, "procedural": 4} and asks(prompts=9) == asks()
    assert asks(source="mine") == {"mine": 5} and asks(apart=["mine"]) == {"procedural": 4}
    with pytest.raises(ValueError, match="no training problem of the source other"):
        asks(source="other")
    with pytest.raises(RecipeError, match="every source of its problems has `answers`"):
        recipe(tmp_path, **{"sft_data.math": DOMAIN["sft_data.math"]})


MIXED = {
    "models.small.sft.main.mix": {"math": 1, "mine": None},
    "models.small.sft.main.reasoning": ["on"],
}


def test_who_answers_and_how_is_said_by_the_domain_the_role_or_for_all(tmp_path: Path) -> None:
    made = specs(recipe(tmp_path))["sft_data/mine_generations"]
    assert set(made.inputs) == {"problems"} and "by" not in made.recipe
    assert made.recipe["generation"] == {"temperature": 0.9, "top_p": 0.95, "max_new_tokens": 77}
    off = {"temperature": 0.0, "top_p": 0.95, "max_new_tokens": 33}
    assert made.recipe["generation_off"] == off
    own = {"temperature": 0.3, "top_p": 1.0, "max_new_tokens": 9}
    said = DOMAIN | {"sft_data.math.generation": own}
    for spec in (specs(recipe(tmp_path, **said))[f"sft_data/{n}_generations"] for n in SETS):
        assert spec.recipe["generation"] == own and "generation_off" not in spec.recipe
    small = {"sources.mine.answers.by": "off", "roles.off.sampling.temperature": 0.5}
    by_off = specs(recipe(tmp_path, **small))["sft_data/mine_generations"]
    assert by_off.recipe["by"] == "off" and "teacher" not in by_off.recipe
    assert by_off.recipe["generation"] == off | {"temperature": 0.5}
    with pytest.raises(RecipeError, match="no model of its own answers as off"):
        recipe(tmp_path, **small, **{"roles.off": None})


SETS = ("math", "mine")


def test_recorded_answers_vote_too(store: Store, tmp_path: Path) -> None:
    made = recipe(
        tmp_path,
        **{
            "sources.mine.kind": "responses",
            "sources.mine.answers": None,
            "sources.mine.fields.response": "r",
        },
    )
    answers = [(name, each) for name, (on, _, _) in PROBLEMS.items() for each in on]
    rows = [
        {"q": question(name), "a": PROBLEMS[name][2], "r": f"\\boxed{{{said}}}"}
        for name, said in answers
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = specs(made)
    keys = [f"sft_data/mine{end}" for end in ("_responses", "_votes", "_verdicts", "")]
    assert asked[keys[1]].recipe["modes"] == ["on", "off"]
    found = [materialise(store, asked[key], Code("1")) for key in keys]
    outcomes = Counter(found[1].table("votes")["outcome"].to_pylist())
    assert outcomes == {"decided": 2, "tied": 1, "too few votes": 1}
    verifiers = Counter(found[2].table("verdicts")["verifier"].to_pylist())
    assert verifiers == {"math by vote": 16, "math": 4}
