"""Which candidates of a domain ask what is held out: by text, by words, and by how they are made.

One comparison a problem, whatever the number of its answers. How texts are compared is in
`resources/benchmarks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from resources.benchmarks.compared import CONTAMINATED, PROCEDURAL, Benchmarks, Match
from resources.benchmarks.overlap import matches

if TYPE_CHECKING:
    import pyarrow as pa

HELD_OUT_COLUMNS = ("row_id", "question", "source", "domain", "composition", "difficulty")


def contaminated(
    table: pa.Table, held_out: pa.Table, decontaminate: Mapping[str, float] | None = None
) -> dict[bytes, Match]:
    """By problem id, what is the same as a held-out problem, is like one or is put together alike.

    Procedural questions share their wording by design, so for them the text and, above depth 1, the
    composition decide; words and neighbours are for questions that people wrote.
    """
    import pyarrow.compute as pc

    asked = _first_of_each(table)
    written = asked.filter(pc.not_equal(asked["source"], PROCEDURAL))
    found: dict[bytes, Match] = {}
    for row in matches(asked, held_out, ("exact",)).to_pylist():
        text = f"{row['method']}, score {row['score']:.2f}: {row['evidence']}"[:300]
        match = Match(text, row["matched_row_id"], CONTAMINATED, row["method"], row["score"])
        found.setdefault(row["row_id"], match)
    ids, texts = written["row_id"].to_pylist(), written["question"].to_pylist()
    by_words = Benchmarks(held_out, decontaminate).questions(texts)
    for place, match in sorted(by_words.items()):
        found.setdefault(ids[place], match)
    for problem_id, match_id, composition in _same_composition(asked, held_out):
        text = f"composition {composition}"
        same = Match(text, match_id, CONTAMINATED, "composition", 1.0)
        if found.setdefault(problem_id, same).reason != CONTAMINATED:
            found[problem_id] = same
    return found


def evidence(table: pa.Table, found: Mapping[bytes, Match]) -> tuple[pa.Array, pa.Array]:
    """Row by row, the evidence and held-out row id of the problem's match."""
    import pyarrow as pa

    matches = [found.get(one) for one in table["problem_id"].to_pylist()]
    return (
        pa.array([match and match.evidence for match in matches], pa.string()),
        pa.array([match and match.row_id for match in matches], pa.binary(16)),
    )


def _first_of_each(table: pa.Table) -> pa.Table:
    """One row a problem, its id as `row_id`."""
    import pyarrow as pa

    places: dict[bytes, int] = {}
    for place, problem_id in enumerate(table["problem_id"].to_pylist()):
        places.setdefault(problem_id, place)
    rows = table.take(pa.array(list(places.values()), pa.int64()))
    return rows.drop_columns(["row_id"]).rename_columns({"problem_id": "row_id"})


def _same_composition(asked: pa.Table, held_out: pa.Table) -> list[tuple[bytes, bytes, str]]:
    """(problem, held-out problem, composition) where both are put together alike, above depth 1."""
    names = ("domain", "composition", "row_id", "difficulty")
    known: dict[tuple[str, str], bytes] = {}
    found = []
    for table in (held_out, asked):
        for domain, composition, row_id, depth in zip(
            *(table[name].to_pylist() for name in names), strict=True
        ):
            if not composition or (depth or 1) <= 1:
                continue
            if table is held_out:
                known.setdefault((domain, composition), row_id)
            elif (domain, composition) in known:
                found.append((row_id, known[domain, composition], composition))
    return found
