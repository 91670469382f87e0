"""What the architecture search may choose from, read from a table and checked once.

Knows tables and their rules (every layer covered, no missing number where one is needed); knows
nothing of solvers, models or recipes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

Bound = float | int | Sequence[float | int | None]
Forbidden = Mapping[int, str | Sequence[str]] | Iterable[str | tuple[int, str]]


@dataclass(frozen=True)
class Candidates:
    """Replacements: row r puts `variants[r]` on the layers `covers[r]` and costs `columns[·][r]`.

    `columns` holds every numeric column as float64 with NaN for null; `integers` names those that
    were integers in the table, whose totals are given back as integers.
    """

    covers: list[tuple[int, ...]]
    variants: list[str]
    columns: dict[str, np.ndarray]
    integers: frozenset[str]

    @property
    def layers(self) -> list[int]:
        """Every layer that some row covers, ascending."""
        return sorted({layer for cover in self.covers for layer in cover})

    def name(self, row: int) -> str:
        """How a row is called in messages: `layer 3, variant 'noop'`."""
        cover = self.covers[row]
        where = f"layer {cover[0]}" if len(cover) == 1 else f"layers {list(cover)}"
        return f"{where}, variant {self.variants[row]!r}"

    def pieces(self, rows: Sequence[int]) -> list[tuple[tuple[int, ...], str]]:
        """What rows put where: the layers covered and the variant of each, in the given order."""
        return [(self.covers[row], self.variants[row]) for row in rows]

    def total(self, column: str, rows: Sequence[int]) -> float | int:
        """Sum of a column over rows: exact for integers, correctly rounded for floats."""
        values = self.columns[column][list(rows)]
        if column in self.integers and not np.isnan(values).any():
            return sum(int(value) for value in values)
        return math.fsum(values)

    def rows_at(self, layer: int, variants: Iterable[str] | None = None) -> list[int]:
        """Rows that cover a layer, optionally only those with one of the given variants."""
        wanted = None if variants is None else set(variants)
        return [
            row
            for row, cover in enumerate(self.covers)
            if layer in cover and (wanted is None or self.variants[row] in wanted)
        ]

    def noops(self, row: int) -> int:
        """How many sub-blocks a row removes: parts of its variant that read `noop`, per layer.

        A run that is `fused` has no attention in any of its layers.
        """
        parts = self.variants[row].split("/")
        return (parts.count("noop") + parts.count("fused")) * len(self.covers[row])


def read_candidates(table: pa.Table, objective: str, limits: Iterable[str]) -> Candidates:
    """Reads and checks a candidate table.

    Args:
        table: columns `layer` (int, or list of ints), `variant` (str) and numeric columns.
        objective: the column to minimise; it and every column in `limits` must be finite.

    Raises:
        ValueError: a column is missing or not numeric, a layer between the first and the last has
            no candidate, a row appears twice, or a needed value is missing, NaN or infinite; the
            message names the layer and the variant.
    """
    for column in ("layer", "variant"):
        if column not in table.column_names:
            raise ValueError(f"candidates have no column {column!r}; found {table.column_names}")
    if table.num_rows == 0:
        raise ValueError("candidates are empty: at least one variant per layer is needed")
    covers = [_cover(value, row) for row, value in enumerate(table["layer"].to_pylist())]
    variants = table["variant"].to_pylist()
    for row, variant in enumerate(variants):
        if not isinstance(variant, str):
            raise ValueError(f"candidate row {row}: variant must be a string, got {variant!r}")
    columns: dict[str, np.ndarray] = {}
    integers: set[str] = set()
    for field in table.schema:
        if field.name in ("layer", "variant") or not _numeric(field.type):
            continue
        values = table[field.name].to_pylist()
        columns[field.name] = np.array(
            [math.nan if value is None else float(value) for value in values], dtype=np.float64
        )
        if pa.types.is_integer(field.type):
            integers.add(field.name)
    candidates = Candidates(covers, variants, columns, frozenset(integers))
    _refuse_gaps(candidates)
    for column in dict.fromkeys([objective, *limits]):
        if column not in columns:
            role = "objective" if column == objective else "limited"
            raise ValueError(
                f"{role} column {column!r} is not a numeric column of the candidates; "
                f"these are: {sorted(columns)}"
            )
        for row in np.flatnonzero(~np.isfinite(columns[column])):
            value = table[column][int(row)].as_py()
            raise ValueError(
                f"{candidates.name(int(row))}: {column} is {value}; every candidate needs a "
                "finite value there (score it again or leave the variant out)"
            )
    return candidates


def read_limits(limits: Mapping[str, Bound]) -> dict[str, tuple[float, float]]:
    """Limits as (lower, upper) pairs; a plain number is an upper bound, None leaves an end open.

    Raises:
        ValueError: not a number, NaN, or a lower bound above the upper one.
    """
    result: dict[str, tuple[float, float]] = {}
    for column, bound in limits.items():
        if isinstance(bound, Sequence) and not isinstance(bound, str):
            if len(bound) != 2:
                raise ValueError(f"limit on {column}: give (lower, upper), got {bound!r}")
            low, high = bound
        else:
            low, high = None, bound
        lower = -math.inf if low is None else _number(column, low)
        upper = math.inf if high is None else _number(column, high)
        if lower > upper:
            raise ValueError(f"limit on {column}: lower bound {lower} is above upper {upper}")
        result[column] = (lower, upper)
    return result


def forbidden_rows(candidates: Candidates, forbidden: Forbidden | None) -> set[int]:
    """Rows ruled out: by variant name (everywhere), by (layer, variant), or layer → variant(s).

    Raises:
        ValueError: a layer or variant that the candidates do not have.
    """
    if forbidden is None:
        return set()
    pairs: list[tuple[int | None, str]] = []
    if isinstance(forbidden, Mapping):
        for layer, names in forbidden.items():
            pairs += [(int(layer), n) for n in ([names] if isinstance(names, str) else names)]
    else:
        for entry in forbidden:
            pairs.append((None, entry) if isinstance(entry, str) else (int(entry[0]), entry[1]))
    places: dict[tuple[int | None, str], list[int]] = {}
    for row, (cover, variant) in enumerate(
        zip(candidates.covers, candidates.variants, strict=True)
    ):
        for at in (None, *cover):
            places.setdefault((at, variant), []).append(row)
    rows: set[int] = set()
    for layer, variant in pairs:
        found = places.get((layer, variant))
        if not found:
            where = "" if layer is None else f" at layer {layer}"
            raise ValueError(f"forbidden variant {variant!r}{where} is not among the candidates")
        rows.update(found)
    return rows


def _cover(value: object, row: int) -> tuple[int, ...]:
    layers = value if isinstance(value, list) else [value]
    if not layers or any(not isinstance(layer, int) for layer in layers):
        raise ValueError(f"candidate row {row}: layer must be an int or a list, got {value!r}")
    cover = tuple(sorted(layers))
    if len(set(cover)) != len(cover):
        raise ValueError(f"candidate row {row}: layer {value!r} names a layer twice")
    return cover


def _numeric(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    )


def _refuse_gaps(candidates: Candidates) -> None:
    layers = candidates.layers
    missing = sorted(set(range(layers[0], layers[-1] + 1)) - set(layers))
    if missing:
        raise ValueError(f"layers {missing} have no candidate; each needs at least one variant")
    seen: set[tuple[tuple[int, ...], str]] = set()
    for row, identity in enumerate(zip(candidates.covers, candidates.variants, strict=True)):
        if identity in seen:
            raise ValueError(
                f"{candidates.name(row)} appears twice; give each replacement one row "
                "(pick one metric before searching)"
            )
        seen.add(identity)


def _number(column: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise ValueError(f"limit on {column}: expected a number, got {value!r}")
    if math.isnan(float(value)):
        raise ValueError(f"limit on {column} is NaN")
    return float(value)
