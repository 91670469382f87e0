"""Asks a judge about answers: those that no verifier could read, and some whose verdict is known.

Keeps every reply; what a verdict of the judge is used for is decided in `select.py`, how far it is
to be believed in `agreement.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.sft_data.asking import replies
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.engines.protocol import Completion
    from resources.execution import Execution

Row = dict[str, Any]
ANSWERS = ("row_id", "problem_id", "domain", "response", "finish_reason")


def judge(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """One row of `judgements` for each answer that the judge was asked about.

    `inputs`: `problems`, `generations`, `verdicts`, and `votes` where some problems have no known
    answer: those are not asked about. `recipe`: `judge` (the served model), `prompt`, `thinking`,
    `sampling`, `rows` ("unknown": answers without a known verdict, and `agreement` of the others;
    "all"). Only finished answers are asked about: others are never used. Raises ValueError where
    more than one request in a hundred is not answered.
    """
    from resources.engines.protocol import Request
    from resources.tasks.judging import message
    from resources.verifiers.reasoning import split

    answers = asked_about(inputs, recipe)

    def request(row: Row) -> Request:
        answer = split(row["response"])[1]
        text = message(recipe["prompt"], row["question"], row["expected_answer"], answer)
        return Request((("user", text),), thinking=recipe["thinking"])

    return replies(
        "judgements",
        "judge",
        workdir,
        recipe,
        execution,
        _with_problems(answers, inputs["problems"]),
        answers.num_rows,
        request,
        partial(_rows, inputs["generations"].key, recipe),
    )


def asked_about(inputs: Mapping[str, Artifact], recipe: Mapping[str, Any]) -> pa.Table:
    """The answers that are asked about, with the verdict `known`, in the order of their ids.

    Which of the known ones is decided by a seeded hash of their ids, so that more answers, or a
    larger `agreement`, leave those asked before among them as far as they fit.
    """
    import pyarrow.compute as pc

    answers = inputs["generations"].table("generations", list(ANSWERS)).sort_by("row_id")
    verdicts = inputs["verdicts"].table("verdicts", ["generation_id", "verdict"])
    place = pc.index_in(answers["row_id"], verdicts["generation_id"])
    if place.null_count:
        raise ValueError(
            f"{inputs['generations'].key}: {place.null_count} generations have no row in "
            f"{inputs['verdicts'].key}; rebuild it"
        )
    answers = answers.append_column("known", verdicts["verdict"].take(place))
    answers = answers.filter(pc.equal(answers["finish_reason"], "stop"))
    if "votes" in inputs:
        voted = inputs["votes"].table("votes", ["problem_id"])["problem_id"]
        answers = answers.filter(pc.invert(pc.is_in(answers["problem_id"], voted)))
    if recipe["rows"] == "all":
        return answers
    known = answers.filter(pc.not_equal(answers["known"], "unknown"))["row_id"].to_pylist()
    salt = str(recipe["seed"]).encode()
    drawn = sorted(known, key=lambda one: hashlib.blake2b(one, key=salt, digest_size=8).digest())
    compared = set(drawn[: recipe["agreement"]])
    rows = zip(answers["row_id"].to_pylist(), answers["known"].to_pylist(), strict=True)
    return answers.filter([value == "unknown" or one in compared for one, value in rows])


def _with_problems(answers: pa.Table, problems: Artifact) -> Iterator[Row]:
    """The answers one by one, each with the question and the expected answer of its problem."""
    import pyarrow.compute as pc

    asked = problems.table("problems", ["row_id", "question", "expected_answer"])
    for batch in answers.to_batches(max_chunksize=1024):
        about = asked.take(pc.index_in(batch["problem_id"], asked["row_id"]))
        problem = about.drop_columns(["row_id"]).to_pylist()
        for row, own in zip(batch.to_pylist(), problem, strict=True):
            yield row | own


def _rows(
    generations_key: str,
    recipe: Mapping[str, Any],
    about: list[Row],
    made: list[Completion],
    model_version: str,
) -> pa.Table:
    """The judgements that some replies make, each the child of the answer it is about."""
    import pyarrow as pa

    from resources.tasks.judging import JUDGE
    from resources.verifiers.attempts import unanswered
    from resources.verifiers.replies.judge import read
    from warehouse.rows import parents_of, with_ids

    found = [unanswered(each.finish_reason) or read(each.text, each.finish_reason) for each in made]
    ids = [row["row_id"] for row in about]
    table = pa.table(
        {
            "generation_id": pa.array(ids, pa.binary(16)),
            "domain": pa.array([row["domain"] for row in about], pa.string()),
            "known": pa.array([row["known"] for row in about], pa.string()),
            "verdict": pa.array([one.verdict for one in found], pa.string()),
            "evidence": pa.array([one.evidence for one in found], pa.string()),
            "reply": pa.array([each.text for each in made], pa.string()),
            "prompt": pa.repeat(pa.scalar(JUDGE.version(recipe["prompt"])), len(ids)),
            "model": pa.repeat(pa.scalar(str(recipe["judge"]["model"])), len(ids)),
            "model_version": pa.repeat(pa.scalar(model_version), len(ids)),
            "finish_reason": pa.array([each.finish_reason for each in made], pa.string()),
        }
    )
    parents = parents_of([[one] for one in ids], [[generations_key]] * len(ids))
    content = ["prompt", "model_version", "verdict", "reply"]
    return with_ids(table, recipe["asset_key"], content, parents)
