"""What Feedback-Edit gains: accuracy of drafts, of their edits and of the chosen answers, paired.

By a verifier that knows the truth, which shares neither code nor model with the steps. A vote or a
judge's verdict is no truth, and rules in the place of a model gain nothing that means anything:
there is no number then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution

ARMS = ("drafts", "edits", "chosen")
TABLES = ("verdicts", "edits", "edit_verdicts", "choices")
PLUMBING = "plumbing only"
_ACCURACY = ("accuracy", "ci_low", "ci_high")
_GAIN = ("gain", "gain_low", "gain_high")


@dataclass(frozen=True)
class Case:
    """One draft: its problem, whether it is right, whether each of its edits is, and the chosen
    answer. None: not known."""

    problem_id: bytes
    draft: bool | None
    edits: tuple[bool | None, ...]
    chosen: bool | None

    @property
    def known(self) -> bool:
        """Whether it can be counted: there is an edit, and every answer's truth is known."""
        return bool(self.edits) and None not in (self.draft, self.chosen, *self.edits)

    @property
    def shares(self) -> tuple[float, float, float]:
        """What each of `ARMS` scores; of several edits their mean."""
        edits = sum(map(bool, self.edits)) / len(self.edits)
        return float(bool(self.draft)), edits, float(bool(self.chosen))


def measure_gain(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """`feedback_edit_gain`, a row for each of `ARMS` of each set of answers.

    `inputs`: of each set `NAME_in_TABLE` for each of `TABLES`. `recipe`: `sets`, the domain of
    each, and `scripted`, the roles in which rules answer.
    """
    import pyarrow as pa

    from warehouse.schemas import SCHEMAS

    rows: list[dict[str, Any]] = []
    metrics: dict[str, float] = {}
    for name, domain in recipe["sets"].items():
        own = {table: inputs[f"{name}_in_{table}"] for table in TABLES}
        made = gains(cases(own, domain), recipe["scripted"], recipe["seed"])
        rows += [{"name": name, "domain": domain, "measure": f"{domain} truth"} | r for r in made]
        metrics |= {f"gain_{name}": r["gain"] for r in made if r["gain"] is not None}
    table = pa.Table.from_pylist(rows, schema=SCHEMAS["feedback_edit_gain"])
    return Output(tables={"feedback_edit_gain": table}, metrics=metrics)


def cases(tables: Mapping[str, Artifact], domain: str) -> list[Case]:
    """The drafts of a set that a choice was made on, by the verdicts of the domain's verifier."""
    drafts, edits = (_right(tables[name], domain) for name in ("verdicts", "edit_verdicts"))
    own: dict[bytes, list[bool | None]] = {}
    made = tables["edits"].table("edits", ["row_id", "generation_id"]).sort_by("row_id")
    for row in made.to_pylist():
        own.setdefault(row["generation_id"], []).append(edits.get(row["row_id"]))
    columns = ["generation_id", "problem_id", "edit_id"]
    table = tables["choices"].table("choices", columns).sort_by("generation_id")
    found = []
    for row in table.to_pylist():
        draft, edit = drafts.get(row["generation_id"]), row["edit_id"]
        chosen = draft if edit is None else edits.get(edit)
        there = tuple(own.get(row["generation_id"], ()))
        found.append(Case(row["problem_id"], draft, there, chosen))
    return found


def _right(artifact: Artifact, domain: str) -> dict[bytes, bool]:
    """By id, whether an answer is right, where the domain's verifier knows it by a truth."""
    columns = ["generation_id", "verifier", "verdict"]
    return {
        row["generation_id"]: row["verdict"] == "correct"
        for row in artifact.table("verdicts", columns).to_pylist()
        if row["verifier"] == domain and row["verdict"] != "unknown"
    }


def gains(found: Sequence[Case], scripted: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """The rows of one set.

    `accuracy`, and `gain` over the drafts, each with the ends of its 95 % interval from a bootstrap
    over problems, are of the same `drafts` in every row: those of which everything is known.
    `left_out` are the others. With `refused` there is no number.

    >>> one = [Case(b"p", False, (True, False), True), Case(b"q", True, (True, True), True)]
    >>> [(row["answers"], row["accuracy"], row["gain"]) for row in gains(one, [], 0)]
    [('drafts', 0.5, None), ('edits', 0.75, 0.25), ('chosen', 1.0, 0.5)]
    >>> gains(one, ["edit"], 0)[2]["refused"]
    'plumbing only: rules answer as edit'
    """
    import numpy as np

    from resources.benchmarks.intervals import difference, mean_of

    counted = [case for case in found if case.known]
    why = None
    if scripted:
        why = f"{PLUMBING}: rules answer as {', '.join(scripted)}"
    elif not counted:
        why = f"{PLUMBING}: of no draft and its edits the truth is known"
    problems = dict.fromkeys(case.problem_id for case in counted)
    order = {problem: place for place, problem in enumerate(problems)}
    sums = np.zeros((len(ARMS), len(order), 2))
    for case in counted:
        sums[:, order[case.problem_id], 0] += case.shares
        sums[:, order[case.problem_id], 1] += 1
    rows = []
    for arm, own in zip(ARMS, sums, strict=True):
        row = dict.fromkeys((*_ACCURACY, *_GAIN), None) | {"answers": arm, "refused": why}
        row |= {"problems": len(order), "drafts": len(counted)}
        row["left_out"] = len(found) - len(counted)
        if why is None:
            row |= dict(zip(_ACCURACY, mean_of(own, seed), strict=True))
            if arm != ARMS[0]:
                row |= dict(zip(_GAIN, difference(own, sums[0], seed), strict=True))
        rows.append(row)
    return rows
