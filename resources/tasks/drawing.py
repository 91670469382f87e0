"""Draws problems from rows that exist already: by seed, by domain weight, by reasoning mode.

Knows the columns of problem rows; does not generate problems (see `generate.py`) or judge answers.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


def share(count: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Split `count` by weight into whole numbers that sum to it (largest remainder).

    >>> share(10, {"math": 2.0, "code": 1.0})
    {'math': 7, 'code': 3}
    """
    return dict(zip(weights, apportion(count, list(weights.values())), strict=True))


def apportion(total: int, weights: Sequence[float]) -> list[int]:
    """`total` in whole shares by weight, the largest remainders rounded up first.

    Raises ValueError where no weight is positive.

    >>> apportion(10, [1, 1, 1])
    [4, 3, 3]
    """
    import numpy as np

    if sum(weights) <= 0:
        raise ValueError(f"weights {list(weights)} sum to {sum(weights)}; one must be positive")
    exact = np.asarray(weights, dtype=float) * total / float(sum(weights))
    shares = np.floor(exact + 1e-9).astype(int)
    for index in np.argsort(-(exact - shares), kind="stable")[: total - int(shares.sum())]:
        shares[index] += 1
    return shares.tolist()


def draw(rows: Sequence[Row], count: int, seed: int | Sequence[int]) -> list[Row]:
    """`count` distinct rows (all, if there are fewer), drawn by `seed`, in the given order."""
    import numpy as np

    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    return [rows[index] for index in sorted(chosen)]


def draw_by_domain(
    rows: Sequence[Row], count: int, weights: Mapping[str, float], seed: int | Sequence[int]
) -> list[Row]:
    """About `count` distinct rows, split over domains by weight; fewer where a domain runs short.

    Raises ValueError when a domain with a positive weight has no row.
    """
    chosen: list[Row] = []
    for domain, wanted in share(count, weights).items():
        there = [row for row in rows if row["domain"] == domain]
        if wanted and not there:
            raise ValueError(f"no row of domain {domain!r} to draw from")
        chosen += draw(there, wanted, seed)
    return chosen


def modes(count: int, reasoning: Sequence[str], off_share: float, seed: Sequence[int]) -> list[str]:
    """A reasoning mode for each of `count` prompts, shuffled by seed.

    With both modes, `off_share` of the prompts (rounded, at least one) think "off".
    """
    import numpy as np

    if len(set(reasoning)) == 1:
        return [reasoning[0]] * count
    off = min(count, max(1, round(off_share * count)))
    plan = np.array(["off"] * off + ["on"] * (count - off))
    return [str(mode) for mode in np.random.default_rng(seed).permutation(plan)]


def prompt_rows(table: "pa.Table") -> list[Row]:
    """The rows of a `prompts` table as problems, in order of problem id.

    `row_id` is the original problem's and `asset_key` the asset that it stands in, so that whatever
    is made from a prompt descends from its problem.
    """
    rows = [
        dict(row, row_id=row["problem_id"], asset_key=row["parents"][0]["asset_key"])
        for row in table.to_pylist()
    ]
    return sorted(rows, key=lambda row: row["row_id"])
