"""Problem sets: generated, loaded from declared sources, dropped into the watched folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.benchmarks import apart
from resources.benchmarks.overlap import PROCEDURAL, Benchmarks, Match
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.execution import Execution


def make_problems(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """The training problems of one domain; a question that comes twice is kept once, the first.

    Loaded and dropped problems come after the generated ones, so that a new file moves none. A
    question that a held-out problem or a benchmark asks too becomes a row of `dropped`, so that
    neither SFT nor RL meets it; `by_words`: one that shares a run of words with a benchmark's, too.
    So does one whose truth cannot be read: no answer to it could be judged.
    """
    import pyarrow as pa

    from resources.tasks import generate, incoming, loaders

    domain = str(recipe["domain"])
    observed = [Path(path) for path in execution.observe]
    sources = {source["path"]: _file(source, observed) for source in recipe["extra_sources"]}
    tables = [
        generate.generate(
            domain,
            int(recipe["train"]),
            depths=_depths(recipe["depths"]),
            seed=recipe["seed"],
            kinds=recipe["kinds"],
        )
    ]
    for source in recipe["extra_sources"]:
        table = loaders.load(source, domain, file=sources[source["path"]])
        tables.append(_split(table, "train"))
    dropped = [path for path in observed if path not in sources.values()]
    tables.append(incoming.read(dropped, domain))
    table = _identified(tables, recipe["asset_key"])
    held_out = apart.held_out(inputs, ["row_id", "question"])
    table, lost = without_held_out(table, held_out)
    metrics = {"dropped_held_out": float(lost.num_rows)}
    table, unread = without_unreadable(table)
    if unread.num_rows:
        metrics["dropped_unreadable"] = float(unread.num_rows)
        lost = pa.concat_tables([lost, unread])
    declared = apart.declared(inputs, ["row_id", "question", "source"])
    if declared is not None and recipe.get("by_words"):
        generated = {s["path"] for s in recipe["extra_sources"] if s["format"] == "reasoning_gym"}
        table, shared = without_contaminated(table, Benchmarks(declared), {PROCEDURAL, *generated})
        metrics["dropped_contaminated"] = float(shared.num_rows)
        lost = pa.concat_tables([lost, shared])
    return Output(
        tables={"problems": table, "dropped": lost},
        metrics={"problems": float(table.num_rows), **metrics},
    )


def without_held_out(table: pa.Table, held_out: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The problems whose question no held-out problem asks, and the others as rows of `dropped`.

    Questions are compared as `text_key` writes them.
    """
    import pyarrow as pa

    from resources.tasks.held_out import first_places, text_key

    places = first_places(held_out["question"].to_pylist())
    texts = [text_key(question) for question in table["question"].to_pylist()]
    at = pa.array([places.get(text) for text in texts], pa.int64())
    matched = held_out["row_id"].take(at).cast(pa.binary(16)).combine_chunks()
    evidence = pa.array([f"the same question: {text[:200]}" for text in texts], pa.string())
    return _split_off(table, "held_out", evidence, matched, matched.is_valid())


def without_unreadable(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """The problems whose truth answers can be compared with, and the others as rows of `dropped`.

    What our own generators make is not asked again.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from resources.verifiers.truths import unreadable

    columns = ["domain", "question", "expected_answer", "tests", "metadata", "source"]
    why = [
        None if row["source"] == PROCEDURAL else unreadable(row)
        for row in table.select(columns).to_pylist()
    ]
    evidence = pa.array(why, pa.string())
    nothing = pa.nulls(table.num_rows, pa.binary(16))
    return _split_off(table, "unreadable_truth", evidence, nothing, pc.is_valid(evidence))


def without_contaminated(
    table: pa.Table, benchmarks: Benchmarks, procedural: Collection[str]
) -> tuple[pa.Table, pa.Table]:
    """The problems that share no run of words with a benchmark's, and the others as `dropped`.

    Compared where both are written by people: problems of `procedural` sources share their wording
    by design.
    """
    import pyarrow as pa

    sources = table["source"].to_pylist()
    written = [row for row, source in enumerate(sources) if source not in procedural]
    found = benchmarks.questions(table["question"].take(pa.array(written, pa.int64())).to_pylist())
    matches: list[Match | None] = [None] * table.num_rows
    for place, match in found.items():
        matches[written[place]] = match
    evidence = pa.array([match and match.evidence for match in matches], pa.string())
    matched = pa.array([match and match.row_id for match in matches], pa.binary(16))
    return _split_off(table, "contaminated", evidence, matched, matched.is_valid())


def _split_off(
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


def make_held_out(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """Held-out problems: as many a domain and depth as asked, and those of loaded sources.

    At depth 1 fewer than asked may exist on the held-out side of the split.
    """
    from resources.tasks import generate, loaders

    observed = [Path(path) for path in execution.observe]
    tables = []
    for domain, section in recipe["domains"].items():
        for depth in recipe["depths"]:
            tables.append(
                generate.generate(
                    domain,
                    int(recipe["per_domain_per_depth"]),
                    depths={int(depth): 1.0},
                    seed=f"{recipe['seed']}/{depth}",
                    kinds=section["kinds"],
                    held_out=True,
                )
            )
        for source in section["extra_sources"]:
            table = loaders.load(source, domain, file=_file(source, observed))
            tables.append(_split(table, "held_out"))
    table, unread = without_unreadable(_identified(tables, recipe["asset_key"]))
    return Output(
        tables={"problems": table, **({"dropped": unread} if unread.num_rows else {})},
        metrics={"problems": float(table.num_rows)},
    )


def _depths(weights: Mapping[str, float]) -> dict[int, float]:
    return {int(depth): weight for depth, weight in weights.items()}


def _file(source: Mapping[str, Any], observed: list[Path]) -> Path | None:
    """Where the source's file lies now; the recipe's own path is relative."""
    if source["format"] not in ("jsonl", "parquet"):
        return None
    ending = Path(source["path"]).expanduser().parts
    while ending and ending[0] in ("..", "."):
        ending = ending[1:]
    return next((path for path in observed if path.parts[-len(ending) :] == ending), None)


def _split(table: pa.Table, split: str) -> pa.Table:
    import pyarrow.compute as pc

    return table.filter(pc.equal(table.column("split"), split))


def _identified(tables: list[pa.Table], asset_key: str) -> pa.Table:
    import pyarrow as pa

    from warehouse.rows import with_ids

    table = pa.concat_tables(tables)
    seen: set[str] = set()
    first = []
    for row, question in enumerate(table.column("question").to_pylist()):
        if question not in seen:
            seen.add(question)
            first.append(row)
    kept = table.take(pa.array(first, pa.int64()))  # typed: it may be empty
    return with_ids(kept, asset_key, ["question", "expected_answer", "tests"])
