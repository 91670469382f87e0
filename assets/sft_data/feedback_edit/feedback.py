"""Asks for feedback on drafts. What is made of it is in `edit.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.sft_data.asking import replies
from assets.sft_data.feedback_edit.drafts import Row, drafts
from assets.sft_data.feedback_edit.replies import about, asked_of, took
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.engines.protocol import Completion
    from resources.execution import Execution


def give_feedback(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """`feedback`, a row for each feedback on a draft.

    `inputs`: `problems`, `generations`. `recipe`: `drafts` of a problem, `feedbacks` on each,
    `feedback` (the role's model), `prompt`, `thinking`, `sampling`. One with a `fault` is of no
    use. Raises ValueError where more than one request in a hundred is not answered.
    """
    from resources.engines.protocol import Request
    from resources.tasks.editing import FEEDBACK
    from resources.tasks.prompting import mark
    from resources.verifiers.replies.usable import fault

    times = recipe["feedbacks"]
    found = drafts(inputs, recipe["drafts"])
    asked = (row | {"sample_index": index} for row in found for index in range(times))

    def shown(row: Row) -> dict[str, str]:
        return {"question": row["question"], "answer": row["answer"]}

    def request(row: Row) -> Request:
        text = FEEDBACK.message(recipe["prompt"], shown(row))
        return Request((("user", text),), row["sample_index"], recipe["thinking"])

    def rows(given: list[Row], made: list[Completion], version: str) -> pa.Table:
        import pyarrow as pa

        from resources.verifiers.reasoning import split
        from warehouse.rows import parents_of, with_ids

        texts = [split(each.text)[1] for each in made]
        faults = [
            fault(one, text, mark(shown(row)))
            for row, one, text in zip(given, made, texts, strict=True)
        ]
        table = pa.table(
            {
                **about(given),
                "sample_index": pa.array([row["sample_index"] for row in given], pa.int64()),
                "feedback": pa.array(texts, pa.string()),
                "fault": pa.array(faults, pa.string()),
                **asked_of(recipe, "feedback", FEEDBACK, version, len(given)),
                **took(made),
            }
        )
        key = inputs["generations"].key
        parents = parents_of([[row["row_id"]] for row in given], [[key]] * len(given))
        content = ["prompt", "model_version", "reply"]
        return with_ids(table, recipe["asset_key"], content, parents, "sample_index")

    count = len(found) * times
    return replies("feedback", "feedback", workdir, recipe, execution, asked, count, request, rows)
