"""Reads problem artifacts into rows and writes prompt tables.

Shared by the files of this stage; knows the columns of `problems` but no model and no reward.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from resources.recipe.sections.data import VOTED
from resources.tasks.drawing import Row, draw, share
from warehouse.store import Artifact

if TYPE_CHECKING:
    import pyarrow as pa

PROBLEM_INPUT = "problems_"  # inputs named problems_<domain> hold that domain's problems
COLUMNS = (
    "domain",
    "kind",
    "source",
    "question",
    "expected_answer",
    "difficulty",
    "license",
    "tests",
    "split",
    "subject",
    "subtopic",
    "prompt_messages",
    "metadata",
    "composition",
)


def by_domain(inputs: Mapping[str, Artifact], domains: Sequence[str]) -> dict[str, list[Row]]:
    """The problems of each domain in order of row id; every row names its asset.

    Raises ValueError when a domain has no input or no training problem.
    """
    found: dict[str, list[Row]] = {}
    for domain in domains:
        artifact = inputs.get(PROBLEM_INPUT + domain)
        if artifact is None:
            raise ValueError(f"domain {domain!r} has no input named {PROBLEM_INPUT}{domain}")
        rows = artifact.table("problems", ["row_id", *COLUMNS]).to_pylist()
        rows = [dict(row, asset_key=artifact.key) for row in rows if row["split"] == "train"]
        if not rows:
            raise ValueError(f"{artifact.key} holds no training problem of domain {domain!r}")
        found[domain] = sorted(rows, key=lambda row: row["row_id"])
    return found


def draw_evenly(
    inputs: Mapping[str, Artifact], domains: Sequence[str], count: int, seed: int
) -> list[Row]:
    """`count` training problems, the same number of each domain as far as there are enough.

    Their answers are to be judged: what `truth: vote` takes without a known answer is not drawn.
    """
    rows = {
        domain: [row for row in found if row["expected_answer"] or domain not in VOTED]
        for domain, found in by_domain(inputs, domains).items()
    }
    wanted = share(count, dict.fromkeys(domains, 1.0))
    return [row for domain in domains for row in draw(rows[domain], wanted[domain], seed)]


def prompt_table(
    rows: Sequence[Row], asset_key: str, pass_rates: Sequence[float | None] | None = None
) -> "pa.Table":
    """The `prompts` table: problem columns, `problem_id` of the original row, and its pass rate."""
    import pyarrow as pa

    from warehouse.rows import parents_of, with_ids

    columns: dict[str, pa.Array] = {
        name: pa.array(
            [row[name] for row in rows], pa.int64() if name == "difficulty" else pa.string()
        )
        for name in COLUMNS
    }
    ids = [row["row_id"] for row in rows]
    columns["problem_id"] = pa.array(ids, pa.binary(16))
    rates = list(pass_rates) if pass_rates is not None else [None] * len(rows)
    columns["pass_rate"] = pa.array(rates, pa.float64())
    parents = parents_of([[row["row_id"]] for row in rows], [[row["asset_key"]] for row in rows])
    return with_ids(pa.table(columns), asset_key, ["question"], parents)
