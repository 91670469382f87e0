"""Blends: which SFT samples a stage trains on, drawn from the datasets by domain weight.

A blend is a table of references; samples stay in their datasets. It knows no tokens and no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from resources.tasks.drawing import apportion
from warehouse.rows import PARENTS, with_ids
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution

ANY = "any"  # the mode of samples that are wanted as they are


def make_blend(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """Draw `samples` rows from one `sft_samples` artifact a domain.

    `recipe`: `name` (the SFT stage), `domains` (weight of each), `reasoning` (wanted modes of each
    domain), `off_share` and `samples` (null: as many as the domains have rows). A domain's share is
    divided between its modes by `off_share` or, where that is null, in proportion to the rows there
    are. Rows are used once before any is used twice; how often is in the metrics. Raises ValueError
    when a wanted domain and mode has no row.
    """
    rng = np.random.default_rng(recipe["seed"])
    wanted = {domain: weight for domain, weight in recipe["domains"].items() if weight > 0}
    there = {each: _pools(inputs[each], each, recipe["reasoning"][each]) for each in wanted}
    total = recipe["samples"]
    if total is None:
        total = sum(len(pool) for pools in there.values() for pool in pools.values())
    shares = apportion(int(total), list(wanted.values()))
    drawn: list[dict[str, Any]] = []
    metrics = {"samples": float(total)}
    for (domain, pools), count in zip(there.items(), shares, strict=True):
        # A mode with few rows still gets one, so that a small blend misses none that is wanted.
        sure = 1 if count >= len(pools) else 0
        rest = apportion(count - sure * len(pools), _weights(pools, recipe.get("off_share")))
        for mode, part in zip(pools, (sure + extra for extra in rest), strict=True):
            pool = pools[mode]
            metrics[f"{domain}_{mode}"] = float(part)
            metrics[f"{domain}_{mode}_passes"] = part / len(pool)
            for repetition in range(-(-part // len(pool))):
                taken = rng.permutation(len(pool))[: part - repetition * len(pool)]
                drawn += [
                    {
                        "sample_id": pool[int(index)],
                        "domain": domain,
                        "reasoning": mode,
                        "repetition": repetition,
                    }
                    for index in taken
                ]
    order = rng.permutation(len(drawn))
    rows = [
        {**drawn[int(index)], "stage": recipe["name"], "position": position}
        for position, index in enumerate(order)
    ]
    return Output(tables={"blends": _table(rows, inputs, recipe["asset_key"])}, metrics=metrics)


def training_rows(artifact: Artifact, columns: list[str]) -> pa.Table:
    """The samples that may be trained on: where a source holds some out, the others."""
    there = {name for name, _ in artifact.manifest["tables"]["sft_samples"]["columns"]}
    if "split" not in there:
        return artifact.table("sft_samples", columns=columns)
    table = artifact.table("sft_samples", columns=[*columns, "split"])
    return table.filter(pc.equal(table["split"], "train"))


def _weights(pools: Mapping[str, Sequence[bytes]], off_share: float | None) -> list[float]:
    if off_share is None or len(pools) < 2:
        return [float(len(pool)) for pool in pools.values()]
    return [off_share if mode == "off" else 1 - off_share for mode in pools]


def _pools(artifact: Artifact, domain: str, modes: Sequence[str]) -> dict[str, list[bytes]]:
    """The row ids of each wanted mode, sorted, so that the order of rows does not matter."""
    table = training_rows(artifact, ["row_id", "reasoning"])
    pools: dict[str, list[bytes]] = {mode: [] for mode in modes}
    for row_id, mode in zip(
        *(table.column(c).to_pylist() for c in ("row_id", "reasoning")), strict=True
    ):
        for pool in {mode, ANY} & set(pools):
            pools[pool].append(row_id)
    empty = [mode for mode, pool in pools.items() if not pool]
    if empty or not pools:
        raise ValueError(
            f"{artifact.key} has {table.num_rows} samples, none of domain {domain!r} with "
            f"reasoning {', '.join(empty) or 'on or off'}: make more of it (sft_data.{domain} in "
            "family.yaml) or leave the domain or the mode out of this SFT stage"
        )
    return {mode: sorted(pool) for mode, pool in pools.items()}


def _table(
    rows: Sequence[Mapping[str, Any]], inputs: Mapping[str, Artifact], asset_key: str
) -> pa.Table:
    schema = pa.schema(
        [
            ("sample_id", pa.binary(16)),
            ("stage", pa.string()),
            ("position", pa.int64()),
            ("domain", pa.string()),
            ("reasoning", pa.string()),
            ("repetition", pa.int64()),
        ]
    )
    parents = [
        [{"row_id": row["sample_id"], "asset_key": inputs[row["domain"]].key}] for row in rows
    ]
    return with_ids(
        pa.Table.from_pylist(list(rows), schema=schema),
        asset_key,
        ["stage"],
        pa.array(parents, PARENTS),
        sample_index_column="repetition",
    )
