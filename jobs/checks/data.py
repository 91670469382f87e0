"""Files and columns: some rows of every declared source, read as the run would read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.checks.asked import Asked, Finding
from resources.recipe.sections.data import (
    GYM,
    HELD_TEXT,
    JUDGED,
    PYTHON,
    VOTED,
    WRITTEN,
    CorpusMix,
    Files,
    Source,
)
from resources.recipe.tree import KeyPath

if TYPE_CHECKING:
    import pyarrow as pa

SHARDS, BATCHES = 3, 1  # looked at: of each of the first shards, the first rows
SOME = 50  # rows of a source of problems
FEW = 4  # files that are named of a folder in which none was meant
NO_FILES = ("hub:", PYTHON, WRITTEN, GYM, HELD_TEXT)  # paths that name none


def sources(asked: Asked) -> Iterator[Finding]:
    """A file that is missing or damaged, a column that is absent, rows that do not fit."""
    for keys, name, source in declared(asked):
        if source.path.startswith(WRITTEN):
            writer = source.path.removeprefix(WRITTEN)
            yield f"{name}: {source.limit} answers that {writer}'s parent will write"
            continue
        if source.path.startswith(PYTHON):
            yield f"{name}: text that ships with Python"
            continue
        if asked.offline and source.path.startswith("hub:"):
            yield f"{name}: not looked at, {source.path} is on the hub (--offline)"
            continue
        yield from _rows(asked, keys, name, source)


def present(asked: Asked) -> Iterator[Finding]:
    """Sources whose files are not there; opens none of them."""
    from resources.sources.account import SourceError
    from resources.sources.shards import files

    for keys, _, source in declared(asked):
        if not source.path.startswith(NO_FILES):
            try:
                files(source.path, asked.recipe.directory, source.format is not None)
            except SourceError as error:
                yield asked.fault((*keys, "path"), str(error), _there(asked, source))
    for name, benchmark in asked.recipe.family.declared_benchmarks.items():
        for part in filter(None, (benchmark.problems, benchmark.examples)):
            if not part.path.startswith(NO_FILES):
                try:
                    files(part.path, asked.recipe.directory, part.format is not None)
                except SourceError as error:
                    yield asked.fault(("benchmarks", name), str(error))


def watched(asked: Asked) -> Iterator[Finding]:
    """Files in the watched folder that no domain reads: they are in a wrong place."""
    from resources.recipe.sections.base import DOMAINS
    from resources.sources.account import SourceError
    from resources.sources.incoming import unplaced

    folder = asked.recipe.family.watched_folder
    if folder is None or not asked.recipe.family.problems:
        return
    try:
        astray = unplaced(Path(folder))
    except SourceError as error:
        yield asked.fault(("watched_folder",), str(error))
        return
    for path in astray:
        what = (
            f"{path} is read by no domain: it is in no folder of one, and no row names a `domain`"
        )
        remedy = f"move it to a folder named {', '.join(DOMAINS[:-1])} or {DOMAINS[-1]}"
        yield asked.fault(("watched_folder",), what, remedy, stops=False)


def benchmarks(asked: Asked) -> Iterator[Finding]:
    """Declared benchmarks: a missing file or column, rows that are no problems, few examples."""
    from resources.benchmarks.problems import examples, problems, where
    from resources.sources.account import SourceError

    for name, benchmark in asked.recipe.family.declared_benchmarks.items():
        keys: KeyPath = ("benchmarks", name)
        if asked.offline and benchmark.path.startswith("hub:"):
            yield f"{name}: not looked at, {benchmark.path} is on the hub (--offline)"
            continue
        if benchmark.path == HELD_TEXT:
            yield f"{name}: {benchmark.method}, made of what the corpus holds out when that is read"
            continue
        some = benchmark.model_copy(update={"limit": min(benchmark.limit or SOME, SOME)})
        try:
            found, shown = where(some, asked.recipe.directory, asked.scratch)
            table, _ = problems(name, some, found)
            examples(name, some, shown, table["prompt"].to_pylist())
        except SourceError as error:
            yield asked.fault(keys, str(error))
        else:
            yield f"{name}: {benchmark.method}, of the first rows {table.num_rows} are problems"


def declared(asked: Asked) -> Iterator[tuple[KeyPath, str, Source]]:
    """Every source of the recipe with where it stands: declared ones, and those of a mixture."""
    family = asked.recipe.family
    for name, source in family.sources.items():
        yield ("sources", name), name, source
    if isinstance(family.corpus, CorpusMix):
        mixed = family.corpus.sources(family.sources)
        for key, (name, source) in zip(family.corpus.mix, mixed.items(), strict=True):
            if key not in family.sources:
                yield ("corpus", "mix", key), name, source


def _rows(asked: Asked, keys: KeyPath, name: str, source: Source) -> Iterator[Finding]:
    from resources.sources.account import SourceError
    from resources.sources.reading import read
    from resources.sources.shards import shards

    kept = rejected = open_ = 0
    first: dict[str, object] | None = None
    try:
        found = shards(source, asked.recipe.directory, asked.scratch)
        for shard in found[:SHARDS]:
            for batch in islice(read(source, shard), BATCHES):
                kept, rejected = kept + batch.kept.num_rows, rejected + batch.rejected.num_rows
                open_ += _without_answer(source, batch.kept)
                if first is None and batch.rejected.num_rows:
                    first = batch.rejected.slice(0, 1).to_pylist()[0]
    except SourceError as error:
        yield asked.fault(keys, str(error), _there(asked, source))
        return
    rows = kept + rejected
    why = "" if first is None else _where(first)
    if not kept:
        empty = f"{source.path}: no rows"
        what = f"none of the {rows} rows looked at can be used" if rows else empty
        yield asked.fault(keys, what, why or "give a file with rows, or leave the source out")
    elif rejected > source.max_drop * rows:
        yield asked.fault(
            keys,
            f"{rejected} of the {rows} rows looked at do not fit, more than max_drop "
            f"{source.max_drop:.0%}",
            f"the first: {why}",
        )
    else:
        drops = f", {rejected} dropped ({why})" if rejected else ""
        many = "" if len(found) == 1 else f"{len(found):,} shards; "
        yield f"{name}: {many}of the first {rows:,} rows {kept:,} kept{drops}"
    if open_ and not source.voted:
        what = (
            f"{open_:,} of the rows looked at have no expected answer: none to them is ever right"
        )
        remedy = "map expected_answer to their column, or say `truth: vote`"
        yield asked.fault(keys, what, remedy, stops=False)


def _without_answer(source: Source, kept: pa.RecordBatch) -> int:
    """How many problems, or recorded answers to problems, have no known answer to compare with."""
    if source.kind not in JUDGED or source.verifier not in VOTED:
        return 0
    return kept.column(0).field("expected_answer").to_pylist().count("")


def _where(row: Mapping[str, object]) -> str:
    """A rejected row as people find it: file, line, field and reason."""
    parts = (f"{row['file']}, line {row['line']}", row["field"], row["reason"])
    return ": ".join(str(part) for part in parts if part)


def _there(asked: Asked, source: Files) -> str:
    """What lies where a source's files are looked for and not found; empty where they are there."""
    if source.path.startswith(NO_FILES) or ":" in source.path:
        return ""
    path = asked.recipe.directory / Path(source.path).expanduser()
    if path.is_file():
        return "" if source.format is None else f"give a file of format {source.format}"
    wild = next((i for i, part in enumerate(path.parts) if set(part) & set("*?[")), None)
    folder = path if path.is_dir() else path.parent if wild is None else Path(*path.parts[:wild])
    if not folder.is_dir():
        return f"there is no folder {folder}"
    names = sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))
    close = get_close_matches(path.name, names, n=1)
    if close and wild is None and not path.is_dir():
        return f"did you mean {Path(source.path).with_name(close[0])}?"
    more = ", …" if names[FEW:] else ""
    return f"{folder} holds {', '.join(names[:FEW])}{more}" if names else f"{folder} is empty"
