"""Has drafts edited by the feedback on them. Which edit is better is asked in `choose.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.sft_data.asking import replies
from assets.sft_data.feedback_edit.drafts import Row, drafts_of
from assets.sft_data.feedback_edit.replies import about, asked_of, took
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.engines.protocol import Completion
    from resources.execution import Execution


def edit(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """`edits`, a row for each feedback that is of use: the draft, edited by it.

    `inputs`: `problems`, `generations`, `feedback`. `recipe`: `edit` (the role's model), `prompt`,
    `thinking`, `sampling`. `response` is what follows the reply's thinking; one with a `fault` is
    no candidate. Raises ValueError where more than one request in a hundred is not answered.
    """
    from resources.engines.protocol import Request
    from resources.tasks.editing import EDIT
    from resources.tasks.prompting import mark
    from resources.verifiers.replies.usable import fault

    asked = _by_feedback(inputs)

    def request(row: Row) -> Request:
        text = EDIT.message(recipe["prompt"], _shown(row))
        return Request((("user", text),), thinking=recipe["thinking"])

    def rows(given: list[Row], made: list[Completion], version: str) -> pa.Table:
        import pyarrow as pa

        from resources.verifiers.reasoning import split
        from warehouse.rows import parents_of, with_ids

        texts = [split(each.text)[1] for each in made]
        faults = [
            fault(one, text, mark(_shown(row)), whole=True)
            for row, one, text in zip(given, made, texts, strict=True)
        ]
        feedback = [row["feedback_id"] for row in given]
        table = pa.table(
            {
                **about(given),
                "feedback_id": pa.array(feedback, pa.binary(16)),
                "reasoning": pa.array([row["reasoning"] for row in given], pa.string()),
                "response": pa.array(texts, pa.string()),
                "fault": pa.array(faults, pa.string()),
                **asked_of(recipe, "edit", EDIT, version, len(given)),
                **took(made),
            }
        )
        keys = [inputs["generations"].key, inputs["feedback"].key]
        parents = parents_of(
            [[row["row_id"], row["feedback_id"]] for row in given], [keys] * len(given)
        )
        content = ["prompt", "model_version", "reply"]
        return with_ids(table, recipe["asset_key"], content, parents)

    return replies("edits", "edit", workdir, recipe, execution, asked, len(asked), request, rows)


def _by_feedback(inputs: Mapping[str, Artifact]) -> list[Row]:
    """The drafts, each as often as there is feedback of use on it, with that feedback."""
    columns = ["row_id", "generation_id", "feedback", "fault"]
    table = inputs["feedback"].table("feedback", columns).sort_by("row_id")
    given = [row for row in table.to_pylist() if row["fault"] is None]
    found = {row["row_id"]: row for row in drafts_of(inputs, {g["generation_id"] for g in given})}
    return [
        found[one["generation_id"]] | {"feedback_id": one["row_id"], "feedback": one["feedback"]}
        for one in given
    ]


def _shown(row: Row) -> dict[str, str]:
    return {name: row[name] for name in ("question", "answer", "feedback")}
