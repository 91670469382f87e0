"""The table `duplicates`: which rows are kept for which, as rows of a table.

Knows places and ids of rows, not how duplicates are found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from resources.cleaning.duplicates import Duplicate

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 8192


def clusters(
    found: Iterable[Duplicate],
    id_of: Callable[[int], bytes],
    asset_of: Callable[[int], str],
) -> Iterator[pa.RecordBatch]:
    """For each row kept for others one row, and one for each of these.

    `id_of` and `asset_of` say of a place which row of which asset it is.
    """
    import pyarrow as pa

    from warehouse.schemas import SCHEMAS

    rows = _rows(sorted(found, key=lambda one: (one.kept, one.place)), id_of, asset_of)
    while part := list(islice(rows, BATCH)):
        yield from pa.Table.from_pylist(part, schema=SCHEMAS["duplicates"]).to_batches()


def _rows(
    found: list[Duplicate], id_of: Callable[[int], bytes], asset_of: Callable[[int], str]
) -> Iterator[dict[str, Any]]:
    last: int | None = None
    for one in found:
        kept = id_of(one.kept)
        if one.kept != last:
            yield {
                "cluster": kept,
                "member": kept,
                "kept": True,
                "similarity": 1.0,
                "method": "kept",
                "member_asset": asset_of(one.kept),
            }
            last = one.kept
        yield {
            "cluster": kept,
            "member": id_of(one.place),
            "kept": False,
            "similarity": one.similarity,
            "method": one.method,
            "member_asset": asset_of(one.place),
        }
