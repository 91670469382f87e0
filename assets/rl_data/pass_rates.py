"""How often a model solves each training problem: the difficulty that RL filters and orders by.

Samples every problem several times with thinking on and counts verdicts, `unknown` apart from
`incorrect`. Which problems are then used is decided in `prompts.py`.
Source: arXiv 2505.00949 section 5 (8 samples by Super; pass rates of 0.75 and above discarded).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.rl_data import problem_rows
from warehouse.files.spool import Spool
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.execution import Execution
    from resources.verifiers.attempts import Attempt


def build_pass_rates(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """Sample `samples` responses to `prompts` problems of `domains` and count what is correct."""
    import pyarrow as pa

    from resources.engines import asking
    from resources.engines.opening import open_engine
    from resources.engines.protocol import Sampling
    from resources.verifiers import attempts

    model = inputs["model"]
    problems = problem_rows.draw_evenly(
        inputs, recipe["domains"], recipe["prompts"], recipe["seed"]
    )
    sampling = Sampling(
        temperature=recipe["temperature"],
        top_p=recipe["top_p"],
        max_new_tokens=recipe["max_new_tokens"],
        seed=recipe["seed"],
    )
    engine = open_engine(
        model, model.data_version, execution, recipe.get("dtype"), role="pass_rates"
    )
    prompts = attempts.every(problems, "on", recipe["samples"])
    tallies = {problem["row_id"]: Tally(problem["domain"]) for problem in problems}
    generations, verdicts = Spool(workdir / "made.arrow"), Spool(workdir / "verdicts.arrow")
    with generations, verdicts:
        total = len(problems) * recipe["samples"]
        for places, asked, made in asking.answered(
            engine, prompts, attempts.request, total, sampling
        ):
            judged = attempts.judged(engine, asked, made)
            for one in judged:
                tallies[one.prompt.problem["row_id"]].add(one)
            rows, judgements = attempts.tables(
                judged, recipe["asset_key"], model.key, model.data_version, sampling
            )
            generations.add(rows)
            verdicts.add(judgements.append_column("place", pa.array(places, pa.int64())))
    table = count(tallies, recipe["discard_at"])
    rates = [rate for rate in table["pass_rate"].to_pylist() if rate is not None]
    answers = max(generations.rows, 1)
    return Output(
        tables={
            "pass_rates": table,
            "generations": generations.batches(),
            "verdicts": verdicts.ordered("place"),
        },
        metrics={
            "mean_pass_rate": sum(rates) / max(len(rates), 1),
            "kept": sum(table["kept"].to_pylist()) / max(table.num_rows, 1),
            "unknown": sum(table["unknown"].to_pylist()) / answers,
            "truncated": sum(table["truncated"].to_pylist()) / answers,
            "follows_toggle": sum(each.follows_toggle for each in tallies.values()) / answers,
        },
        observations={"requests": attempts.usage(engine)},
    )


def decide(
    correct: int,
    incorrect: int,
    unknown: int,
    truncated: int,
    *,
    discard_at: float = 0.75,
    judged_share: float = 0.75,
    chance: float = 0.0,
) -> tuple[float | None, bool, str]:
    """A problem's pass rate, whether RL keeps it, and why not ("" where it does).

    correct / (correct + incorrect), less what guessing earns at `chance`: (p - chance) / (1 -
    chance), 0 at least. None, and not kept, where fewer than `judged_share` of the samples have a
    verdict (`unjudged`); not kept where all were cut off at the token limit (`truncated`: the limit
    was measured, not the model) or the rate reaches `discard_at` (`solved`).

    >>> decide(4, 4, 0, 0)
    (0.5, True, '')
    >>> decide(7, 1, 0, 0)
    (0.875, False, 'solved')
    >>> decide(1, 0, 7, 0)
    (None, False, 'unjudged')
    >>> decide(0, 8, 0, 8)
    (0.0, False, 'truncated')
    >>> decide(5, 3, 0, 0, chance=0.25)
    (0.5, True, '')
    """
    judged = correct + incorrect
    if not judged or judged < judged_share * (judged + unknown):
        return None, False, "unjudged"
    rate = max(0.0, (correct / judged - chance) / (1.0 - chance))
    if truncated >= judged + unknown:
        return rate, False, "truncated"
    return (rate, False, "solved") if rate >= discard_at else (rate, True, "")


@dataclass
class Tally:
    """What the samples of one problem came to, counted as they come."""

    domain: str
    samples: int = 0
    correct: int = 0
    incorrect: int = 0
    unknown: int = 0
    truncated: int = 0
    follows_toggle: int = 0

    def add(self, one: Attempt) -> None:
        """Count one more."""
        self.samples += 1
        self.correct += one.verdict.verdict == "correct"
        self.incorrect += one.verdict.verdict == "incorrect"
        self.unknown += one.verdict.verdict == "unknown"
        self.truncated += one.truncated
        self.follows_toggle += one.follows_toggle


def count(tallies: Mapping[bytes, Tally], discard_at: float) -> pa.Table:
    """The `pass_rates` table, one row a problem in the order given.

    Rate, `kept` and `reason` are those of `decide`.
    """
    import pyarrow as pa

    rows = []
    for problem_id, tally in tallies.items():
        rate, kept, reason = decide(
            tally.correct,
            tally.incorrect,
            tally.unknown,
            tally.truncated,
            discard_at=discard_at,
        )
        rows.append(
            {
                "problem_id": problem_id,
                "domain": tally.domain,
                "samples": tally.samples,
                "correct": tally.correct,
                "unknown": tally.unknown,
                "truncated": tally.truncated,
                "pass_rate": rate,
                "kept": kept,
                "reason": reason,
            }
        )
    schema = pa.schema(
        [
            ("problem_id", pa.binary(16)),
            ("domain", pa.string()),
            ("samples", pa.int32()),
            ("correct", pa.int32()),
            ("unknown", pa.int32()),
            ("truncated", pa.int32()),
            ("pass_rate", pa.float64()),
            ("kept", pa.bool_()),
            ("reason", pa.string()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)
