"""Puts chosen edits in the place of their drafts, where the recipe trains on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from warehouse.store import Artifact

if TYPE_CHECKING:
    import pyarrow as pa

REPLACED = ("response", "model", "model_version", "completion_tokens", "finish_reason")


def with_edits(answers: pa.Table, inputs: Mapping[str, Artifact]) -> pa.Table:
    """The candidates of `select.py`, each chosen edit in the place of its draft, whose id it keeps.

    What it says, who wrote it, and its own verdict are the edit's; `edit_id` names it.
    """
    import pyarrow.compute as pc

    choices = inputs["choices"].table("choices", ["generation_id", "edit_id"])
    chosen = choices["edit_id"].take(pc.index_in(answers["row_id"], choices["generation_id"]))
    columns = ["row_id", *REPLACED]
    edits = inputs["edits"].table("edits", columns)
    edits = edits.take(pc.index_in(chosen, edits["row_id"]))
    verdicts = inputs["edit_verdicts"].table("verdicts", ["generation_id", "verdict", "evidence"])
    verdicts = verdicts.take(pc.index_in(chosen, verdicts["generation_id"]))
    edited = pc.is_valid(chosen)
    for table, names in ((edits, REPLACED), (verdicts, ("verdict", "evidence"))):
        for name in names:
            values = pc.if_else(edited, table[name].cast(answers[name].type), answers[name])
            answers = answers.set_column(answers.column_names.index(name), name, values)
    return answers.append_column("edit_id", chosen)
