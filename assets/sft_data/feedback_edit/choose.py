"""Has one of a draft and its edits chosen, in two orders. Without a plain choice the draft stays.

Whether the chosen answer is right is not asked here (see `gain.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.sft_data.asking import replies
from assets.sft_data.feedback_edit.drafts import Row, drafts_of
from assets.sft_data.feedback_edit.replies import about, asked_of
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.engines.protocol import Completion
    from resources.execution import Execution

ORDERS = ("reply", "reply_turned")  # the draft first, and last


def choose(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """`choices`, a row for each draft that was given feedback.

    `inputs`: `problems`, `generations`, `feedback`, `edits`. `recipe`: `select` (the role's model),
    `prompt`, `thinking`, `sampling`. `outcome` is `edit` (`edit_id` says which), `draft`,
    `undecided` where the replies in both orders do not plainly name one answer, or `no edit` where
    nothing of use differs from the draft, which nobody is asked about.
    """
    from resources.engines.protocol import Request
    from resources.tasks.editing import SELECT

    found = candidates(inputs)
    asked = [row for row in found if len(row["answers"]) > 1]
    waiting: dict[bytes, dict[str, Completion]] = {}
    unasked = [row for row in found if len(row["answers"]) == 1]  # stand before all others

    def orders() -> Iterator[Row]:
        for row in asked:
            for order in ORDERS:
                yield row | {"order": order}

    def request(row: Row) -> Request:
        turned = row["order"] == ORDERS[1]
        answers = row["answers"][::-1] if turned else row["answers"]
        shown = {"question": row["question"], "answers": answers}
        text = SELECT.message(recipe["prompt"], shown)
        return Request((("user", text),), thinking=recipe["thinking"])

    def rows(given: list[Row], made: list[Completion], version: str) -> pa.Table:
        whole: list[tuple[Row, dict[str, Completion]]] = [(row, {}) for row in unasked]
        unasked.clear()
        for row, reply in zip(given, made, strict=True):
            there = waiting.setdefault(row["row_id"], {})
            there[row["order"]] = reply
            if len(there) == len(ORDERS):
                whole.append((row, waiting.pop(row["row_id"])))
        return _rows(whole, inputs, recipe, version)

    count = len(asked) * len(ORDERS)
    return replies("choices", "select", workdir, recipe, execution, orders(), count, request, rows)


def candidates(inputs: Mapping[str, Artifact]) -> list[Row]:
    """The drafts that were given feedback, each with its different `answers`, the draft's first,
    and `edits`, the id of each of them (None: the draft's)."""
    given = inputs["feedback"].table("feedback", ["generation_id"])["generation_id"].to_pylist()
    columns = ["row_id", "generation_id", "response", "fault"]
    table = inputs["edits"].table("edits", columns).sort_by("row_id")
    edits: dict[bytes, list[Row]] = {}
    for row in table.to_pylist():
        if row["fault"] is None:
            edits.setdefault(row["generation_id"], []).append(row)
    found = []
    for draft in drafts_of(inputs, set(given)):
        answers: dict[str, bytes | None] = {draft["answer"]: None}
        for row in edits.get(draft["row_id"], []):
            answers.setdefault(row["response"], row["row_id"])
        found.append(draft | {"answers": list(answers), "edits": list(answers.values())})
    return found


def _rows(
    whole: list[tuple[Row, dict[str, Completion]]],
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    version: str,
) -> pa.Table:
    """A row a draft, the child of it and of the edits that stood beside it."""
    import pyarrow as pa

    from resources.tasks.editing import SELECT
    from warehouse.rows import parents_of, with_ids

    drafts = [row for row, _ in whole]
    said = [_outcome(row, made) for row, made in whole]
    replied = {
        order: pa.array([made[order].text if made else None for _, made in whole], pa.string())
        for order in ORDERS
    }
    table = pa.table(
        {
            **about(drafts),
            "outcome": pa.array([outcome for outcome, _, _ in said], pa.string()),
            "edit_id": pa.array([edit_id for _, edit_id, _ in said], pa.binary(16)),
            "candidates": pa.array([len(row["answers"]) for row in drafts], pa.int64()),
            "evidence": pa.array([evidence for _, _, evidence in said], pa.string()),
            **replied,
            **asked_of(recipe, "select", SELECT, version, len(whole)),
        }
    )
    ids = [[row["row_id"], *(one for one in row["edits"] if one)] for row in drafts]
    key, edits = inputs["generations"].key, inputs["edits"].key
    parents = parents_of(ids, [[key, *[edits] * (len(own) - 1)] for own in ids])
    content = ["prompt", "model_version", *ORDERS]
    return with_ids(table, recipe["asset_key"], content, parents)


def _outcome(row: Row, made: Mapping[str, Completion]) -> tuple[str, bytes | None, str]:
    from resources.verifiers.replies.choosing import chosen

    if not made:
        return "no edit", None, "no edit of use differs from the draft"
    first, turned = ((made[order].text, made[order].finish_reason) for order in ORDERS)
    place, evidence = chosen(first, turned, len(row["answers"]))
    if place is None:
        return "undecided", None, evidence
    edit_id = row["edits"][place]
    return ("draft" if edit_id is None else "edit"), edit_id, evidence
