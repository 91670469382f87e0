"""What candidates score and cost at a batch: in closed form, measured, and fused into runs.

Knows the tables of scores, costs and cost profiles; knows no limits, rules or solvers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

STORED = (
    "parameters",
    "weight_bytes",
    "kv_bytes_per_token",
    "activation_bytes",
    "memory_bytes",
)
TIMED = ("prefill_seconds", "decode_seconds", "time_to_first_token", "latency_seconds")
COSTS = (*STORED, *TIMED)
CLOCKED = (*TIMED, "throughput")
PROFILE = ("block_costs", "non_block_seconds", "sub_block_seconds")
PARENT = "full/full"


def join(scores: pa.Table, costs: pa.Table, rest: Mapping[str, Any], metric: str) -> pa.Table:
    """Candidates for the search: layer, variant (`attention/ffn`), the metric and stored costs.

    What the model costs besides its blocks (`rest`) is added to each candidate of the first layer,
    of which one is always chosen, so that totals and limits are those of the whole model.

    Raises:
        ValueError: a candidate with a cost but without a score.
    """
    wanted = scores.filter(pc.equal(scores["metric"], metric))
    values = {
        (row["layer"], row["attention"], row["ffn"]): row["value"]
        for row in wanted.select(["layer", "attention", "ffn", "value"]).to_pylist()
    }
    rows = []
    for cost in costs.to_pylist():
        key = (cost["layer"], cost["attention"], cost["ffn"])
        if key not in values:
            raise ValueError(
                f"layer {key[0]}, variant '{key[1]}/{key[2]}' has a cost but no {metric} score; "
                "score it, or leave it out of the costs"
            )
        row = {
            "layer": cost["layer"],
            "variant": f"{cost['attention']}/{cost['ffn']}",
            "attention": cost["attention"],
            "ffn": cost["ffn"],
            metric: values[key],
        }
        for column in STORED:
            value = cost[column]
            extra = rest.get(column) or 0
            row[column] = value if value is None or cost["layer"] else value + extra
        rows.append(row)
    return pa.Table.from_pylist(rows)


class Seconds:
    """Measured seconds of blocks and of the rest of the model, from a cost profile's tables.

    Attributes:
        batches: the batches it was measured at.
        decode: generated tokens a request.
    """

    def __init__(
        self, profile: Mapping[str, pa.Table], target: Mapping[str, Any] | None = None
    ) -> None:
        """Raises ValueError when the target names other hardware than it was measured on."""
        from assets.puzzle.costs.profile import rest, seconds

        self._blocks, self._rest = seconds(profile), rest(profile)
        self._halves = profile["sub_block_seconds"].to_pylist()
        self.batches = sorted(self._rest)
        self.decode: int = profile["block_costs"]["decode_length"][0].as_py()
        hardware = profile["block_costs"]["hardware"][0].as_py()
        wanted = (target or {}).get("hardware")
        if wanted not in (None, hardware):
            raise ValueError(
                f"target: hardware '{wanted}', but the cost profile was measured on '{hardware}'; "
                "give costs.profile a file made on the target"
            )

    def of(self, layer: int, attention: str, ffn: str, batch: int) -> dict[str, float]:
        """The columns of `TIMED` for a candidate: a prefill, one decode step, a whole request
        (the prefill and `decode` steps) of `batch` sequences.

        Raises:
            ValueError: the profile has no such batch or variant.
        """
        if batch not in self.batches:
            raise ValueError(
                f"the cost profile has no batch {batch}, only {self.batches}: add it to "
                "costs.profile.batches, or search for one of those"
            )
        found = self._blocks.get((attention, ffn), {}).get(batch)
        if found is None:
            raise ValueError(
                f"layer {layer}, variant '{attention}/{ffn}': the cost profile has no seconds at "
                f"batch {batch}; measure it, or leave the variant out"
            )
        prefill, decode = found
        if layer == 0:
            prefill, decode = prefill + self._rest[batch][0], decode + self._rest[batch][1]
        return self._columns(prefill, decode)

    def ffns(self, batch: int) -> dict[str, dict[str, float]]:
        """The same columns of a layer that is an FFN alone, by its variant: all that were measured,
        wider ones than the parent's among them."""
        return {
            row["variant"]: self._columns(row["prefill_seconds"], row["decode_seconds"])
            for row in self._halves
            if (row["kind"], row["batch"]) == ("ffn", batch)
        }

    def _columns(self, prefill: float, decode: float) -> dict[str, float]:
        return {
            "prefill_seconds": prefill,
            "decode_seconds": decode,
            "time_to_first_token": prefill,
            "latency_seconds": prefill + self.decode * decode,
        }


class Costing:
    """The candidates of a parent, whose costs can be asked for at any batch.

    Attributes:
        batch, context: sequences and tokens of each that the closed-form costs are stated for.
        seconds: measured seconds, or None.
    """

    def __init__(
        self,
        scores: pa.Table,
        costs: pa.Table,
        rest: Mapping[str, Any],
        metric: str,
        seconds: Seconds | None = None,
    ) -> None:
        """Errors as of `join`, whose arguments these are."""
        self.base = join(scores, costs, rest, metric)
        self.batch: int = costs["batch"][0].as_py()
        self.context: int = costs["prefill_length"][0].as_py()
        self.seconds = seconds

    def at(self, batch: int, *, timed: bool) -> pa.Table:
        """Candidates with their costs for `batch` sequences.

        Their memory gains or loses the keys and values of the sequences more or less. Seconds are
        there where they are known, and have to be when `timed`.

        Raises:
            ValueError: seconds are needed and not known.
        """
        rows = self.base.to_pylist()
        for row in rows:
            more = (batch - self.batch) * self.context
            row["memory_bytes"] += more * row["kv_bytes_per_token"]
            if self.seconds is not None and (timed or batch in self.seconds.batches):
                row |= self.seconds.of(row["layer"], row["attention"], row["ffn"], batch)
        return pa.Table.from_pylist(rows)

    def parent(self, batch: int, *, timed: bool) -> dict[str, float]:
        """What the whole parent costs at a batch, and its throughput where seconds are known."""
        totals = parent_totals(self.at(batch, timed=timed))
        if "latency_seconds" in totals:
            totals["throughput"] = self.tokens(batch) / totals["latency_seconds"]
        return totals

    def tokens(self, batch: int) -> int:
        """Tokens generated for a batch of requests; 0 where no seconds are known."""
        return 0 if self.seconds is None else batch * self.seconds.decode

    def with_runs(
        self, candidates: pa.Table, batch: int, runs: pa.Table | None, shape: Any
    ) -> pa.Table:
        """Candidates at a batch with fused runs among them: `layer` becomes the list of layers that
        a row covers.

        Args:
            runs: `run_scores` of the metric, or None.
            shape: the parent's sizes, needed for runs.
        """
        rows = candidates.to_pylist()
        table = [{**row, "layer": [row["layer"]]} for row in rows]
        if runs is not None:
            from assets.puzzle.runs import candidate_rows

            pairs = {(row["layer"], row["attention"], row["ffn"]): row for row in rows}
            timed = self.seconds is not None and TIMED[0] in candidates.column_names
            wide = self.seconds.ffns(batch) if self.seconds is not None and timed else None
            table += candidate_rows(runs, pairs, shape, self.context, wide)
        return pa.Table.from_pylist(table)


def parent_totals(candidates: pa.Table) -> dict[str, float]:
    """What the whole parent costs, by column; unmeasured columns are left out."""
    full = candidates.filter(pc.equal(candidates["variant"], PARENT))
    return {
        column: pc.sum(full[column]).as_py()
        for column in COSTS
        if column in full.column_names and full.num_rows and full[column].null_count == 0
    }
