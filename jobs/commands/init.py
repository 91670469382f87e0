"""`heirloom init`: one commented recipe from a parent and files, which `heirloom check` accepts.

Reads the parent's small files and rows of each source, and writes nothing that it did not see.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.commands.init_text import ENGINES, PYTHON, Beginning, Chats, recipe
from jobs.errors import CommandError
from resources.pretrained.source import ParentSource, SourceError, parse
from resources.recipe.reading import finding
from resources.recipe.reading.shape import MODELS
from resources.recipe.reading.sharing import EACH
from resources.recipe.sections.base import DOMAINS
from resources.recipe.sections.data import Source
from resources.recipe.tree import Node
from warehouse.files.filesystem import replacing

if TYPE_CHECKING:
    import pyarrow as pa

# How a row may hold one exchange: their columns for prompt, response and what may stand between.
EXCHANGES = (
    ("instruction", "output", "input"),
    ("prompt", "response", None),
    ("prompt", "completion", None),
    ("question", "answer", None),
)
TURNS = ("messages", "conversations")
ROWS = 20_000  # at most so many rows of a source are counted


def main(arguments: argparse.Namespace) -> int:
    """Write DIR.yaml (default: named after the model), and print what to do with it."""
    here = Path.cwd()
    try:
        source = parse(arguments.parent, here)
    except SourceError as error:
        raise CommandError(f"--parent {arguments.parent}: {error}") from error
    base, others = _base(arguments.base)
    config, engine = _described(source)
    name = model_name(source.name)
    path = Path(f"{arguments.dir or name}".rstrip("/").removesuffix(".yaml") + ".yaml")
    if path.exists():
        raise CommandError(f"{path} is there already; give another name, or remove it")
    folder = path.absolute().parent
    given: dict[str, Chats] = {}
    for file in arguments.sft:
        given[_source_name(file, given)] = _chats(Path(file), folder)
    parent = arguments.parent
    if source.kind != "hub" and not parent.startswith("bundled/"):
        parent = _from(Path(source.location), folder, parent)
    gpus = _gpus(arguments.gpus)
    begun = Beginning(base, others, name, parent, config, engine, given, gpus)
    lines = recipe(begun, arguments.dir or name)
    if arguments.teacher:
        lines += [
            "# Name the model as the server lists it, and take the # away:",
            f"# roles: {{teacher: {{model: NAME, engine: {{openai: {arguments.teacher}}}}}}}",
        ]
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as aside:
        aside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path}: {len(lines)} lines. Next: heirloom check {path}")
    return 0


def _base(said: str) -> tuple[str, list[str]]:
    """The base's name and its own models. CommandError for one that is not for models of yours."""
    if not _is_base(said):
        meant = [name for name in finding.names() if _is_base(name)]
        raise CommandError(
            f"--from {said}: it says nothing of models of yours (models.each); use one of "
            f"{', '.join(meant)}"
        )
    models = _models(said)
    own = models.value if models is not None else {}
    return finding.title(finding.find(f"{finding.PREFIX}{said}")), [n for n in own if n != EACH]


def _models(base: str) -> Node | None:
    return finding.tree(finding.find(f"{finding.PREFIX}{base}")).child(MODELS)


def _is_base(name: str) -> bool:
    models = _models(name)
    each = models.child(EACH) if models is not None else None
    return each is not None and each.child("role") is not None


def model_name(parent: str) -> str:
    """What a parent's child is called: the word that its name begins with.

    >>> model_name("SmolLM2-135M-Instruct"), model_name("org/Llama-3.2-1B@main"), model_name("7B")
    ('smol', 'llama', 'model')
    """
    found = re.match(r"[A-Za-z]+", parent.rpartition("/")[2])
    word = found[0].removesuffix("LM").lower() if found else ""
    return word or "model"


def _source_name(file: str, taken: Iterable[str]) -> str:
    """What a file's source is called: its name, made one that no other source or domain has."""
    word = _word(Path(file).name.partition(".")[0])
    names = chain([word], (f"{word}_{number}" for number in count(2)))
    used = {*taken, *PYTHON, *DOMAINS}
    return next(each for each in names if each not in used)


def _word(text: str) -> str:
    word = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return word if word[:1].isalpha() else f"data_{word}"


def _from(path: Path, folder: Path, said: str) -> str:
    """A path as the recipe says it: absolute where it was given so, else from its folder."""
    if said.startswith(("/", "~")):
        return str(path)
    relative = os.path.relpath(path, folder)
    return relative if relative.startswith("..") else f"./{relative}"


def _described(source: ParentSource) -> tuple[dict[str, Any], str]:
    """The parent's configuration, and the engine to search for: the first that runs its layers.

    CommandError with everything that is wrong with the parent.
    """
    from resources.models.errors import CheckpointError
    from resources.models.export.limits import refusals
    from resources.pretrained import checking
    from resources.pretrained.assembling import assemble

    with tempfile.TemporaryDirectory(prefix="heirloom-init-") as scratch:
        try:
            found = assemble(source, Path(scratch), "description")
            wrong = checking.faults(found.folder, weights=source.kind == "folder")
            if wrong:
                raise CommandError("; ".join(map(found.said, wrong)))
            config = checking.read_json(
                found.folder / "config.json", "this is no checkpoint folder"
            )
            ours = checking.family_config(found.folder) or {}
        except CheckpointError as error:
            raise CommandError(str(error)) from error
    runs = (engine for engine in ENGINES if not refusals(engine, ours))
    return config, next(runs, "transformers")


def _chats(file: Path, folder: Path) -> Chats:
    """A file of conversations, from its first rows; CommandError where it holds none."""
    from resources.sources.account import SourceError as Unreadable
    from resources.sources.reading import ROWS as ROWS_OF_A_BATCH
    from resources.sources.reading import read
    from resources.sources.shards import shards

    whole, tried = file.expanduser().absolute(), []
    with tempfile.TemporaryDirectory(prefix="heirloom-init-") as scratch:
        for fields in _mappings():
            source = Source(
                kind="conversations",
                path=str(whole),
                fields=fields,
                license="unstated",
                tools="text",
            )
            kept = size = tagged = 0
            try:
                for shard in shards(source, folder, Path(scratch)):
                    for batch in islice(read(source, shard), math.ceil(ROWS / ROWS_OF_A_BATCH)):
                        kept += batch.kept.num_rows
                        size += _text_bytes(batch.kept)
                        tagged += sum(batch.kept.column("tagged").to_pylist())
                        if batch.rejected.num_rows and not kept:
                            first = batch.rejected.slice(0, 1).to_pylist()[0]
                            tried.append("line {line}: {field}: {reason}".format(**first))
                            break
            except Unreadable as error:
                tried.append(str(error))
            if kept:
                return Chats(_from(whole, folder, str(file)), fields, kept, size, tagged > 0)
    raise CommandError(
        f"--sft {file}: no conversations: {tried[0] if tried else 'no rows'}; give rows with "
        f"{TURNS[0]}, or with one of {', '.join(f'{p} and {r}' for p, r, _ in EXCHANGES)}"
    )


def _mappings() -> list[dict[str, str]]:
    turns = [{"messages": column} for column in TURNS]
    turns.append({"messages": TURNS[1], "role": "from", "content": "value"})
    exchanges = []
    for prompt, response, query in EXCHANGES:
        fields = {"prompt": prompt, "response": response}
        exchanges += [{**fields, "query": query}, fields] if query else [fields]
    return [*turns, *exchanges]


def _text_bytes(kept: pa.RecordBatch) -> int:
    """Bytes of text in rows of a source, conversations or plain."""
    texts = kept.column("text").to_pylist() if "text" in kept.schema.names else []
    turns = kept.column("messages").to_pylist() if "messages" in kept.schema.names else []
    texts += [turn["content"] for row in turns for turn in row or []]
    return sum(len(text.encode()) for text in texts if text)


def _gpus(said: int | None) -> int:
    return (1 if shutil.which("nvidia-smi") else 0) if said is None else said
