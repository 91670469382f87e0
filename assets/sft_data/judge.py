"""Asks a judge about answers: those that no verifier could read, and some whose verdict is known.

Keeps every reply; what a verdict of the judge is used for is decided in `select.py`, how far it is
to be believed in `agreement.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.engines.protocol import Completion, Request
    from resources.execution import Execution

MOST_FAILED = 0.01  # of the requests: more stop the asset
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
    from resources.engines.opening import open_served
    from resources.engines.protocol import Counted, Sampling
    from resources.verifiers import attempts
    from warehouse.files.spool import Spool

    answers = asked_about(inputs, recipe)
    engine = open_served(recipe["judge"], execution, "judge")
    sampling = Sampling(**recipe["sampling"], seed=recipe["seed"])
    requests = Counted(_requests(answers, inputs["problems"], recipe), answers.num_rows)
    failed, why = 0, ""
    with Spool(workdir / "judgements.arrow") as spool:
        spool.add(_rows(answers, [], [], inputs, recipe, engine.model_version))
        for batch in engine.batches(requests, sampling):
            if not batch:
                continue
            places, made = zip(*batch, strict=True)
            spool.add(_rows(answers, places, made, inputs, recipe, engine.model_version))
            unanswered = [each.served for each in made if not each.answered]
            failed, why = failed + len(unanswered), (unanswered or [why])[-1]
    if failed > MOST_FAILED * answers.num_rows:
        raise ValueError(
            f"{recipe['asset_key']}: {failed} of {answers.num_rows} requests were not answered "
            f"(the last: {why}); the others' replies are kept: run again"
        )
    usage = attempts.usage(engine)
    return Output(
        tables={"judgements": spool.batches()},
        metrics={"judged": float(answers.num_rows)},
        observations={"requests": usage, "engine_seconds": sum(each["seconds"] for each in usage)},
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


def _requests(
    answers: pa.Table, problems: Artifact, recipe: Mapping[str, Any]
) -> Iterator[Request]:
    import pyarrow.compute as pc

    from resources.engines.protocol import Request
    from resources.tasks.judging import message
    from resources.verifiers.reasoning import split

    asked = problems.table("problems", ["row_id", "question", "expected_answer"])
    for batch in answers.to_batches(max_chunksize=1024):
        rows = asked.take(pc.index_in(batch["problem_id"], asked["row_id"])).to_pylist()
        for row, response in zip(rows, batch["response"].to_pylist(), strict=True):
            answer = split(response)[1]
            text = message(recipe["prompt"], row["question"], row["expected_answer"], answer)
            yield Request((("user", text),), thinking=recipe["thinking"])


def _rows(
    answers: pa.Table,
    places: tuple[int, ...] | list[int],
    made: tuple[Completion, ...] | list[Completion],
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    model_version: str,
) -> pa.Table:
    """The judgements that some replies make, each the child of the answer it is about."""
    import pyarrow as pa

    from resources.tasks.judging import version
    from resources.verifiers.attempts import unanswered
    from resources.verifiers.judge import read
    from warehouse.rows import parents_of, with_ids

    about = answers.take(pa.array(places, pa.int64()))
    found = [unanswered(each.finish_reason) or read(each.text, each.finish_reason) for each in made]
    ids = about["row_id"].to_pylist()
    table = pa.table(
        {
            "generation_id": pa.array(ids, pa.binary(16)),
            "domain": about["domain"].combine_chunks(),
            "known": about["known"].combine_chunks(),
            "verdict": pa.array([one.verdict for one in found], pa.string()),
            "evidence": pa.array([one.evidence for one in found], pa.string()),
            "reply": pa.array([each.text for each in made], pa.string()),
            "prompt": pa.repeat(pa.scalar(version(recipe["prompt"])), len(ids)),
            "model": pa.repeat(pa.scalar(str(recipe["judge"]["model"])), len(ids)),
            "model_version": pa.repeat(pa.scalar(model_version), len(ids)),
            "finish_reason": pa.array([each.finish_reason for each in made], pa.string()),
        }
    )
    parents = parents_of([[one] for one in ids], [[inputs["generations"].key]] * len(ids))
    content = ["prompt", "model_version", "verdict", "reply"]
    return with_ids(table, recipe["asset_key"], content, parents)
