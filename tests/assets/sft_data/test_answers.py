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
from resources.recipe.errors import RecipeError
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.store.building import Code, materialise
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
RECIPE = """
extends: heirloom/single-gpu
name: own
models:
  small:
    parent: bundled/super
    stages: [sft]
    sft:
      main:
        mix: {mine: 1}
        packed: true
        epochs: 1
        batch_tokens: 2048
        sequence_length: 512
        learning_rate: 2e-5
held_out: {per_domain_per_depth: 1, depths: [1]}
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
    overrides = [f"{key}={json.dumps(value)}" for key, value in changed.items()]
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
    specs = {spec.key: spec for spec in all_specs(made)}
    wanted = ("problems/questions_mine", "problems/held_out", "problems/math", *KEYS)
    return {key: materialise(store, specs[key], Code("1"), execution) for key in wanted}


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
