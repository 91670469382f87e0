"""Problem sets: generated, loaded from declared sources, dropped into the watched folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.problems import repeats
from assets.problems.dropping import split_off
from assets.problems.unwanted import without_kinds
from resources.benchmarks import apart
from resources.benchmarks.compared import CONTAMINATED, PROCEDURAL, UNDECIDED, Benchmarks, Match
from resources.benchmarks.contamination import hits
from resources.recipe.sections.data import GYM
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.execution import Execution
    from resources.sources.account import Account


def make_problems(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """The training problems of one domain; a question that comes twice is kept once, the first.

    Loaded and dropped problems come after the generated ones, so that a new file moves none. A
    question that a held-out problem or a benchmark asks too becomes a row of `dropped`, so that
    neither SFT nor RL meets it; `by_words`: one that shares a run of words with a benchmark's, too;
    `decontaminate`: one that is a neighbour of a benchmark's, or stands whole in it; `deduplicate`:
    one of a source that nearly repeats another.
    So does one whose truth cannot be read: no answer to it could be judged; `drop`: and one of a
    kind that its source does not want.
    """
    import pyarrow as pa

    domain, key = str(recipe["domain"]), str(recipe["asset_key"])
    made = [_generated(domain, recipe)]
    questions = {name: inputs[f"questions_{name}"] for name in recipe["extra_sources"]}
    made += [loaded(each, "train") for each in questions.values()]
    dropped_in, account = _dropped_in(execution.observe, domain)
    table, again = identified([*made, dropped_in], key)
    held_out = apart.held_out(inputs, ["row_id", "question"])
    table, lost = without_held_out(table, held_out)
    metrics = {"dropped_held_out": float(lost.num_rows)}
    table, unasked, tables = without_unasked(table, recipe.get("drop"))
    for reason, rows in unasked.items():
        metrics[f"dropped_{reason}"] = float(rows.num_rows)
        lost = pa.concat_tables([lost, rows])
    if again.num_rows:
        metrics["dropped_duplicate"] = float(again.num_rows)
        lost = pa.concat_tables([again, lost])
    generated = {PROCEDURAL, *(name for name, each in questions.items() if _made(each))}
    if account is not None:
        tables |= {"rejected": account.table(), "sources": account.summary()}
    declared = apart.declared(inputs, ["row_id", "question", "source"])
    if declared is not None and recipe.get("by_words"):
        benchmarks = Benchmarks(declared, recipe.get("decontaminate"))
        matches = compared(table, benchmarks, generated)
        for reason in (CONTAMINATED, *([UNDECIDED] if "decontaminate" in recipe else [])):
            table, shared = without_contaminated(table, matches, reason)
            metrics[f"dropped_{reason}"] = float(shared.num_rows)
            lost = pa.concat_tables([lost, shared])
        if "decontaminate" in recipe:
            tables["contamination"] = hits(matches.items())
    if "deduplicate" in recipe:
        near = float(recipe["deduplicate"]["near"])
        table, alike, tables["duplicates"] = repeats.without_near(
            table, near, workdir, generated, key
        )
        metrics["dropped_duplicate"] = float(again.num_rows + alike.num_rows)
        lost = pa.concat_tables([lost, alike])
    return Output(
        tables={"problems": table, "dropped": lost, **tables},
        metrics={"problems": float(table.num_rows), **metrics},
    )


def _generated(domain: str, recipe: Mapping[str, Any]) -> pa.Table:
    from resources.tasks import generate

    return generate.generate(
        domain,
        int(recipe["train"]),
        depths=_depths(recipe["depths"]),
        seed=recipe["seed"],
        kinds=recipe["kinds"],
    )


def _dropped_in(observed: Sequence[str], domain: str) -> tuple[pa.Table, Account | None]:
    """The problems of the watched folder's files and their account; none where there are none.

    Raises RowsRejected where too many rows are no problems.
    """
    from resources.sources import incoming
    from resources.tasks import generate

    if not observed:
        return generate.problem_table([]), None
    table, account = incoming.read([Path(path) for path in observed], domain)
    account.settle(incoming.MAX_DROP)
    return table, account


def _made(questions: Artifact) -> bool:
    """Whether a source's rows are generated ones, whose wording is shared by design."""
    return str(questions.manifest["recipe"]["source"]["path"]).startswith(GYM)


def loaded(questions: Artifact, split: str) -> pa.Table:
    """The problems of a declared source on one side, each with the row that it comes from."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from resources.tasks.generate import TEXT_COLUMNS
    from warehouse.rows import parents_of

    table = questions.table("questions")
    table = table.filter(pc.equal(table["split"], split))
    ids = table["row_id"].to_pylist()
    columns = {name: table[name] for name in TEXT_COLUMNS if name in table.column_names}
    return pa.table(
        {
            **columns,
            "kind": pa.repeat("loaded", len(ids)),
            "prompt_messages": pa.nulls(len(ids), pa.string()),
            "composition": table["question"],
            "difficulty": table["difficulty"].cast(pa.int32()),
            "parents": parents_of([[one] for one in ids], [[questions.key]] * len(ids)),
        }
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
    return split_off(table, "held_out", evidence, matched, matched.is_valid())


def without_unasked(
    table: pa.Table, drop: Mapping[str, Sequence[str]] | None
) -> tuple[pa.Table, dict[str, pa.Table], dict[str, pa.Table]]:
    """The problems that may be asked, the others as rows of `dropped` by why they may not, and the
    table `question_kinds` where kinds are told apart."""
    tables: dict[str, pa.Table] = {}
    lost: dict[str, pa.Table] = {}
    if drop:
        table, unwanted, tables["question_kinds"] = without_kinds(table, drop)
        lost |= unwanted
    table, lost["unreadable"] = without_unreadable(table)
    return table, {why: rows for why, rows in lost.items() if rows.num_rows}, tables


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
    return split_off(table, "unreadable_truth", evidence, nothing, pc.is_valid(evidence))


def compared(
    table: pa.Table, benchmarks: Benchmarks, procedural: Collection[str]
) -> dict[bytes, Match]:
    """By row id, the problems that hold what a benchmark asks.

    Compared where both are written by people: problems of `procedural` sources share their wording
    by design.
    """
    import pyarrow as pa

    sources = table["source"].to_pylist()
    written = [row for row, source in enumerate(sources) if source not in procedural]
    asked = table.select(["row_id", "question"]).take(pa.array(written, pa.int64()))
    ids = asked["row_id"].to_pylist()
    found = benchmarks.questions(asked["question"].to_pylist())
    return {ids[place]: match for place, match in sorted(found.items())}


def without_contaminated(
    table: pa.Table, found: Mapping[bytes, Match], reason: str
) -> tuple[pa.Table, pa.Table]:
    """The problems that were not found for this reason, and the others as rows of `dropped`."""
    import pyarrow as pa

    matches = [found.get(row_id) for row_id in table["row_id"].to_pylist()]
    matches = [match if match and match.reason == reason else None for match in matches]
    evidence = pa.array([match and match.evidence for match in matches], pa.string())
    matched = pa.array([match and match.row_id for match in matches], pa.binary(16))
    return split_off(table, reason, evidence, matched, matched.is_valid())


def make_held_out(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """Held-out problems: as many a domain and depth as asked, and those of loaded sources.

    At depth 1 fewer than asked may exist on the held-out side of the split.
    """
    import pyarrow as pa

    from resources.tasks import generate

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
        for name in section["extra_sources"]:
            tables.append(loaded(inputs[f"questions_{name}"], "held_out"))
    table, again = identified(tables, recipe["asset_key"])
    drop: dict[str, Sequence[str]] = {}
    for section in recipe["domains"].values():
        drop |= section.get("drop", {})
    table, unasked, told = without_unasked(table, drop)
    lost = pa.concat_tables([again, *unasked.values()])
    return Output(
        tables={"problems": table, **({"dropped": lost} if lost.num_rows else {}), **told},
        metrics={"problems": float(table.num_rows)},
    )


def _depths(weights: Mapping[str, float]) -> dict[int, float]:
    return {int(depth): weight for depth, weight in weights.items()}


def identified(tables: list[pa.Table], asset_key: str) -> tuple[pa.Table, pa.Table]:
    """All problems with their ids, each question once, the first; the others of files as `dropped`.

    What we generate may come again at another depth; that is no row of anybody's.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from warehouse.rows import PARENTS, with_ids

    table = pa.concat_tables(tables, promote_options="default")
    parents = pa.array([[]] * table.num_rows, PARENTS)
    if "parents" in table.column_names:
        parents = pc.coalesce(table["parents"].combine_chunks(), parents)
    table = with_ids(table, asset_key, ["question", "expected_answer", "tests"], parents)
    places: dict[str, int] = {}
    for row, question in enumerate(table["question"].to_pylist()):
        places.setdefault(question, row)
    first = pa.array(list(places.values()), pa.int64())  # typed: it may be empty
    kept = table.take(first)
    again = pc.invert(pc.is_in(pa.array(range(table.num_rows), pa.int64()), first))
    given = table.filter(pc.and_(again, pc.not_equal(table["source"], PROCEDURAL)))
    at = pa.array([places[question] for question in given["question"].to_pylist()], pa.int64())
    matched = table["row_id"].take(at).combine_chunks().cast(pa.binary(16))
    evidence = pa.array(
        ["the same question in " + (s or "") for s in table["source"].take(at).to_pylist()],
        pa.string(),
    )
    _, lost = split_off(given, "duplicate", evidence, matched, matched.is_valid())
    return kept, lost
