"""Problems that are left out, as rows of `dropped`. Knows no reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def split_off(
    table: pa.Table, reason: str, evidence: pa.Array, matched: pa.Array, lost: pa.Array
) -> tuple[pa.Table, pa.Table]:
    """The problems that are not `lost`, and the others as rows of `dropped`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = pa.table(
        {
            "row_id": table["row_id"],
            "reason": pa.repeat(reason, table.num_rows),
            "evidence": evidence,
            "matched_row_id": matched,
            "source": table["source"],
            "question": table["question"],
            "parents": table["parents"],
        }
    )
    return table.filter(pc.invert(lost)), rows.filter(lost)
