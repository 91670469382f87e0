from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from warehouse.errors import WarehouseError
from warehouse.files.spool import Spool


def test_rows_come_back_in_their_order_or_in_that_of_a_column(tmp_path: Path) -> None:
    with Spool(tmp_path / "rows.arrow") as spool:
        for begin in (4, 0, 2):
            places = pa.array([begin, begin + 1], pa.int64())
            spool.add(pa.table({"place": places, "text": [f"t{begin}", f"t{begin + 1}"]}))
    whole = pa.Table.from_batches(spool.batches())
    assert whole["place"].to_pylist() == [4, 5, 0, 1, 2, 3] and spool.rows == 6
    assert spool.ordered("place").to_pydict() == {"text": [f"t{place}" for place in range(6)]}


def test_a_spool_without_rows_says_so(tmp_path: Path) -> None:
    with Spool(tmp_path / "rows.arrow") as spool:
        pass
    with pytest.raises(WarehouseError, match=r"rows\.arrow: no row was written"):
        next(spool.batches())
