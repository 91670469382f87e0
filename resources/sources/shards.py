"""Which files a source is, and the shards that are read, built and retried apart.

A shard is a file, a range of a big file, or a bundle of small ones; a new file leaves the others
as they were. Reads names and sizes, no rows.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.sources.account import SourceError
from resources.sources.gym import Generated, generated
from resources.sources.hub import Remote, fetched
from resources.sources.hub import files as remotes
from resources.sources.library import Bundled, bundled
from resources.sources.opening import blocks, compression, unmarked

if TYPE_CHECKING:
    from resources.recipe.sections.data import Files

Range = tuple[str, int, int | None]
SHARD_BYTES = 256 << 20  # of a file before it is read in ranges
MOST_FILES = 128  # files of a source before small ones are bundled
BUNDLES = 32
_FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".csv": "csv",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".rst": "text",
}


@dataclass(frozen=True)
class Piece:
    """One file, or the range [start, stop) of it: bytes of lines, row groups of Parquet.

    `name` is the file's name in rows and errors: it holds no folder of this machine. A hub's file
    is fetched when it is read (see `local`); what Python brings and what is generated are no files
    (see `library.py`, `gym.py`).
    """

    path: Path | Remote | Bundled | Generated
    name: str
    start: int = 0
    stop: int | None = None

    @property
    def local(self) -> Path:
        """The file on this machine."""
        if isinstance(self.path, Bundled | Generated):
            raise TypeError(f"{self.name} is text that Python brings or rows made here, no file")
        return self.path if isinstance(self.path, Path) else fetched(self.path)


@dataclass(frozen=True)
class Shard:
    """What is read at once, under a name that is a legal partition."""

    name: str
    pieces: tuple[Piece, ...]


def format_of(name: str) -> str:
    """The format that a file's name says; SourceError where it says none.

    >>> format_of("a/b.jsonl.gz"), format_of("c.parquet")
    ('jsonl', 'parquet')
    """
    path = Path(name)
    suffix = Path(path.stem).suffix if compression(path) else path.suffix
    if suffix.lower() not in _FORMATS:
        raise SourceError(
            f"{name}: no known format ({', '.join(_FORMATS)}, with .gz or .zst); declare `format`"
        )
    return _FORMATS[suffix.lower()]


def files(pattern: str, directory: Path, declared: bool = False) -> list[tuple[Path, str]]:
    """The files of a path, folder or glob, as (path, name below what all share), sorted.

    Hidden files do not count; a folder means every file of a known format below it, or every file
    where the format is `declared`. SourceError where there is none.
    """
    path = _packaged(pattern) or directory / Path(pattern).expanduser()
    if path.is_file():
        return [(path, path.name)]
    wild = next((i for i, part in enumerate(path.parts) if re.search(r"[*?\[]", part)), None)
    if path.is_dir():
        base, found = path, [each for each in path.rglob("*") if declared or known(each)]
    elif wild is None:
        raise SourceError(f"{path}: no such file or folder")
    else:
        base = Path(*path.parts[:wild])
        found = list(base.glob(str(Path(*path.parts[wild:]))))
    visible = [
        (each, each.relative_to(base).as_posix())
        for each in sorted(found)
        if each.is_file() and not any(part.startswith(".") for part in each.relative_to(base).parts)
    ]
    if not visible:
        what = "no file matches" if wild is not None else "no file of a known format in the folder"
        raise SourceError(f"{path}: {what}")
    return visible


def _packaged(pattern: str) -> Path | None:
    """The file of an installed package that `package:NAME/FILE` names; the package is not run."""
    if not pattern.startswith("package:"):
        return None
    name, _, inside = pattern.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders or not inside:
        what = "is not installed" if name.isidentifier() and inside else "is no package:NAME/FILE"
        raise SourceError(f"{pattern} {what}; install it, or give the path of its file")
    return Path(folders[0]) / inside


def known(path: Path) -> bool:
    """Whether a file's name says a format."""
    return (Path(path.stem) if compression(path) else path).suffix.lower() in _FORMATS


def shards(source: Files, directory: Path, memory: Path) -> list[Shard]:
    """The shards of a source in order of their names.

    `directory` is what its path is relative to, `memory` the folder in which listings of hubs are
    kept. A source with a `limit` is one shard: which rows come first depends on all of them. Raises
    SourceError where there are no files.
    """
    if (brought := bundled(source.path)) is not None:
        whole = Piece(brought, brought.what)
        return [Shard("all" if source.limit is not None else brought.what, (whole,))]
    if (made := generated(source.path)) is not None:
        return [Shard("all", (Piece(made, made.task),))]
    if source.path.startswith("hub:"):
        found = [Piece(each, each.path) for each in remotes(source, memory)]
    else:
        declared = source.format is not None
        found = [Piece(*each) for each in files(source.path, directory, declared)]
    if source.limit is not None:
        return [Shard("all", tuple(found))]
    if len(found) > MOST_FILES:
        return _bundled(found)
    ranges = [shard for piece in found for shard in _ranges(source, piece)]
    return sorted(ranges, key=lambda shard: shard.name)


def _bundled(found: list[Piece]) -> list[Shard]:
    """Files in bundles by the hash of their names, so that a new file remakes one bundle."""
    bundles: dict[int, list[Piece]] = {}
    for piece in found:
        digest = hashlib.blake2b(piece.name.encode(), digest_size=4).digest()
        bundles.setdefault(int.from_bytes(digest, "big") % BUNDLES, []).append(piece)
    return [Shard(f"bundle_{number}", tuple(bundles[number])) for number in sorted(bundles)]


def _ranges(source: Files, piece: Piece) -> Iterator[Shard]:
    """A shard of a file, or several of a big local one whose rows can be found from the middle."""
    form, path = source.format or format_of(piece.name), piece.path
    cuts: list[int] = [0]
    if isinstance(path, Path) and (size := path.stat().st_size) > SHARD_BYTES:
        if form == "parquet":
            cuts = _row_groups(path)
        elif not compression(path) and _by_lines(source, form, path):
            cuts = list(range(0, size, SHARD_BYTES))
    for number, (start, stop) in enumerate(zip(cuts, [*cuts[1:], None], strict=True)):
        name = partition(piece.name) + (f"-{number}" if number else "")
        yield Shard(name, (Piece(path, piece.name, start, stop),))


def _by_lines(source: Files, form: str, path: Path) -> bool:
    if form == "text":
        return source.document == "line"
    return form == "jsonl" and not begins_array(path)


def begins_array(path: Path) -> bool:
    """Whether a file of JSON is one array; people give both the name .json.

    A first line that is a whole array with more behind it is a row, and no row that fits.
    """
    text = b""
    for block in blocks(path):
        text = unmarked(block).lstrip()
        if text:
            break
    first, _, more = text.partition(b"\n")
    return text.startswith(b"[") and not (more.strip() and _whole(first))


def _whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _row_groups(path: Path) -> list[int]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        cuts, held = [0], 0
        for group in range(file.num_row_groups):
            if held > SHARD_BYTES:
                cuts.append(group)
                held = 0
            held += file.metadata.row_group(group).total_byte_size
    return cuts


def partition(name: str) -> str:
    """A legal partition name for a file's name; a short hash is added where letters were replaced.

    >>> partition("train-00001.jsonl")
    'train-00001.jsonl'
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    plain = re.sub(r"\.{2,}", "_", plain).strip(".") or "_"
    if plain == name:
        return plain
    return f"{plain}-{hashlib.blake2b(name.encode(), digest_size=3).hexdigest()}"


def description(source: Files, shard: Shard) -> tuple[list[dict[str, Any]], tuple[Range, ...]]:
    """A shard as plain values without folders, and what its content depends on; see `described`.

    The second are its local files, each with the bytes whose lines are read, or whole.
    """
    pieces: list[dict[str, Any]] = []
    watched: list[Range] = []
    for piece in shard.pieces:
        entry = {"name": piece.name, "start": piece.start, "stop": piece.stop}
        if isinstance(piece.path, Path):
            # Row groups are no bytes: of Parquet the whole file is watched.
            whole = (source.format or format_of(piece.name)) == "parquet"
            start, stop = (0, None) if whole else (piece.start, piece.stop)
            watched.append((str(piece.path), start, stop))
        elif isinstance(piece.path, Bundled):
            entry["python"] = asdict(piece.path)
        elif isinstance(piece.path, Generated):
            entry["generated"] = asdict(piece.path)
        else:
            entry["remote"] = asdict(piece.path)
        pieces.append(entry)
    return pieces, tuple(watched)


def entries(source: Files, found: Iterable[Shard]) -> tuple[list[dict[str, Any]], list[str]]:
    """Shards that are read together as plain values, `{shard, pieces}` each, and the local files
    that they read, whole."""
    made: list[dict[str, Any]] = []
    watched: list[str] = []
    for shard in found:
        pieces, ranges = description(source, shard)
        made.append({"shard": shard.name, "pieces": pieces})
        watched += [path for path, *_ in ranges]
    return made, watched


def of_entries(given: Iterable[Mapping[str, Any]], local: Iterator[str]) -> Iterator[Shard]:
    """The shards that `entries` gave, which take their local files from `local` in order."""
    for entry in given:
        yield described(entry["shard"], entry["pieces"], local)


def described(name: str, pieces: Sequence[Mapping[str, Any]], local: Iterable[str]) -> Shard:
    """The shard that `description` gave, with its local files where they lie now; it takes its own
    of them and no more."""
    where = iter(local)

    def path(piece: Mapping[str, Any]) -> Path | Remote | Bundled | Generated:
        if "remote" in piece:
            return Remote(**piece["remote"])
        if "generated" in piece:
            return Generated(**piece["generated"])
        return Bundled(**piece["python"]) if "python" in piece else Path(next(where))

    return Shard(
        name,
        tuple(Piece(path(piece), piece["name"], piece["start"], piece["stop"]) for piece in pieces),
    )
