"""Problems of declared sources that nearly repeat one that is kept.

Those that we or reasoning-gym generate share their wording by design, and are not compared.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from assets.problems.dropping import split_off
from resources.cleaning.clusters import clusters
from resources.cleaning.duplicates import Duplicates
from resources.cleaning.words import numbers
from resources.tasks.held_out import text_key

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1024


def without_near(
    table: pa.Table, near: float, workdir: Path, generated: Collection[str], asset_key: str
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """The problems that repeat no other, the others as rows of `dropped`, and `duplicates`.

    Two are alike that ask with the same numbers and share `near` of their shingles, or differ in
    case and spacing alone; the first is kept.
    """
    import pyarrow as pa

    from warehouse.schemas import SCHEMAS

    sources = table["source"].to_pylist()
    written = [row for row, source in enumerate(sources) if source not in generated]
    chosen = table.select(["row_id", "question"]).take(pa.array(written, pa.int64()))
    rows = Duplicates(workdir / "shingles.bin", near)
    for batch in chosen.to_batches(BATCH):
        texts = batch.column("question").to_pylist()
        keys = [blake2b(text_key(text).encode(), digest_size=16).digest() for text in texts]
        rows.add(keys, texts, [numbers(text) for text in texts])
    ids = chosen["row_id"].to_pylist()
    found = rows.found().duplicates
    said: dict[bytes, tuple[str, bytes]] = {
        ids[one.place]: (
            f"shares {one.similarity:.3f} of its shingles with {ids[one.kept].hex()}",
            ids[one.kept],
        )
        for one in found
    }
    pairs = [said.get(row_id, (None, None)) for row_id in table["row_id"].to_pylist()]
    evidence = pa.array([text for text, _ in pairs], pa.string())
    matched = pa.array([row_id for _, row_id in pairs], pa.binary(16))
    kept, lost = split_off(table, "duplicate", evidence, matched, matched.is_valid())
    batches = clusters(found, ids.__getitem__, lambda _: asset_key)
    return kept, lost, pa.Table.from_batches(batches, SCHEMAS["duplicates"])
