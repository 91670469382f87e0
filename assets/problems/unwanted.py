"""Math problems of kinds that their source does not want, and the kind of each of its problems.

How kinds are told is in `resources/verifiers/question_kinds.py`; what is not told stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from assets.problems.dropping import split_off

if TYPE_CHECKING:
    import pyarrow as pa


def without_kinds(
    table: pa.Table, drop: Mapping[str, Sequence[str]]
) -> tuple[pa.Table, dict[str, pa.Table], pa.Table]:
    """The problems that are wanted, the others as rows of `dropped` by their kind, and the table
    `question_kinds` of all that were looked at.

    `drop`: by source, the kinds that go. Only problems of its sources are looked at.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds = told(
        table.filter(pc.is_in(table["source"], value_set=pa.array(list(drop), pa.string())))
    )
    unwanted = {
        row["row_id"]: row for row in kinds.to_pylist() if row["kind"] in drop[row["source"]]
    }
    lost: dict[str, pa.Table] = {}
    for name in sorted({row["kind"] for row in unwanted.values()}):
        gone = (unwanted.get(row_id) for row_id in table["row_id"].to_pylist())
        why = [row["evidence"] if row and row["kind"] == name else None for row in gone]
        evidence, nothing = pa.array(why, pa.string()), pa.nulls(len(why), pa.binary(16))
        table, lost[name] = split_off(table, name, evidence, nothing, pc.is_valid(evidence))
    return table, lost, kinds


def told(table: pa.Table) -> pa.Table:
    """The kind of each problem, and what shows it."""
    import pyarrow as pa

    from resources.verifiers.question_kinds import kind

    texts = (table[name].to_pylist() for name in ("question", "expected_answer"))
    found = [kind(question, answer or "") for question, answer in zip(*texts, strict=True)]
    return pa.table(
        {
            "row_id": table["row_id"],
            "source": table["source"],
            "kind": pa.array([each for each, _ in found], pa.string()),
            "evidence": pa.array([why for _, why in found], pa.string()),
        }
    )
