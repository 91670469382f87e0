"""What nothing may be trained on: our own held-out problems and every declared benchmark, as one.

Knows the names under which assets read them, not how texts are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.store import Artifact

HELD_OUT, PREFIX = "held_out", "benchmark_"


def held_out(inputs: Mapping[str, Artifact], columns: Sequence[str]) -> pa.Table:
    """Columns of all problems among `inputs` that are for measurement only; there may be none."""
    import pyarrow as pa

    from warehouse.schemas import SCHEMAS

    found = [a for name, a in inputs.items() if name == HELD_OUT or name.startswith(PREFIX)]
    if not found:
        return pa.schema([SCHEMAS["problems"].field(name) for name in columns]).empty_table()
    return pa.concat_tables([each.table("problems", list(columns)) for each in found])


def declared(inputs: Mapping[str, Artifact], columns: Sequence[str]) -> pa.Table | None:
    """The same of the declared benchmarks alone; None where there are none."""
    given = {name: each for name, each in inputs.items() if name.startswith(PREFIX)}
    return held_out(given, columns) if given else None
