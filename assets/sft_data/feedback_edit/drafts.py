"""The drafts of a set of answers, and the questions that they answer. Asks nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from warehouse.store import Artifact

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
COLUMNS = ("row_id", "problem_id", "domain", "reasoning", "sample_index", "response")


def drafts(inputs: Mapping[str, Artifact], count: int) -> list[Row]:
    """The first `count` answers with thinking off to each problem, in the order of their ids.

    Each with its `question`, and what follows its thinking as `answer`. One that is cut off is a
    draft: an edit can end it. A request that was never answered has none.
    """
    import pyarrow.compute as pc

    table = inputs["generations"].table("generations", [*COLUMNS, "finish_reason"])
    table = table.filter(pc.equal(table["reasoning"], "off"))
    return _with_questions(table.filter(pc.less(table["sample_index"], count)), inputs)


def drafts_of(inputs: Mapping[str, Artifact], ids: set[bytes]) -> list[Row]:
    """The same of the answers with these ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = inputs["generations"].table("generations", [*COLUMNS, "finish_reason"])
    there = pc.is_in(table["row_id"], value_set=pa.array(sorted(ids), pa.binary(16)))
    return _with_questions(table.filter(there), inputs)


def _with_questions(table: pa.Table, inputs: Mapping[str, Artifact]) -> list[Row]:
    from resources.engines.protocol import UNANSWERED
    from resources.verifiers.reasoning import split

    asked = inputs["problems"].table("problems", ["row_id", "question"])
    questions = dict(zip(*(asked[name].to_pylist() for name in asked.column_names), strict=True))
    return [
        row | {"question": questions[row["problem_id"]], "answer": split(row["response"])[1]}
        for row in table.sort_by("row_id").to_pylist()
        if row["finish_reason"] not in UNANSWERED
    ]
