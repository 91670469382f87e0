"""Parents and teacher: whether what the recipe names can be taken in, from small files alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jobs.checks.asked import Asked, Finding
from resources.pretrained.source import ParentSource
from resources.recipe.data import WRITTEN
from resources.recipe.tree import KeyPath

if TYPE_CHECKING:
    from resources.chat.encoder import Sample


def parents(asked: Asked) -> Iterator[Finding]:
    """A configuration of no supported family, weights that do not fit it, an unusable tokenizer."""
    from resources.models.errors import CheckpointError
    from resources.pretrained.checking import described_faults, faults

    for keys, source, role in named(asked):
        if asked.offline and source.kind == "hub":
            yield f"{keys[-2] if len(keys) > 1 else role}: not looked at, {source} (--offline)"
            continue
        try:
            found = described_faults(source, asked.description(source), role)
        except CheckpointError as error:
            found = [str(error)]
        folder = Path(source.location)
        if found and source.kind == "folder" and folder.is_dir() and any(folder.iterdir()):
            # What the small files say too: a folder whose weights are missing is not looked into.
            found += [each for each in faults(folder, role, weights=False) if each not in found]
        for line in found:
            yield asked.fault(keys, line)
        if not found:
            yield f"{source.name}: can be taken in as {role}"
            yield from _moved(asked, keys, source)


def _moved(asked: Asked, keys: KeyPath, source: ParentSource) -> Iterator[Finding]:
    """A branch of the hub that is at another commit than when this home first read it."""
    from resources.pretrained.hub import moved

    first = asked.commits.get(str(source))
    if source.kind != "hub" or first is None:
        return
    now = moved(source.at(first))
    if now is not None:
        yield asked.fault(
            keys,
            f"{source} is commit {now} by now; this home keeps to {first}, which it first read",
            f"write {source.location}@{first} to say so, or @{now} to take the newer one",
            stops=False,
        )


def named(
    asked: Asked,
) -> Iterator[tuple[KeyPath, ParentSource, Literal["parent", "teacher"]]]:
    """Every given model of the recipe with where it stands."""
    recipe = asked.recipe
    for name, model in recipe.models.items():
        yield ("models", name, "parent"), recipe.parent_source(model.parent), "parent"
    if recipe.family.teacher is not None:
        yield ("teacher",), recipe.parent_source(recipe.family.teacher), "teacher"


def templates(asked: Asked) -> Iterator[Finding]:
    """One conversation as each parent reads it, what carries loss marked; a template that fails."""
    from resources.chat.chat import Chat
    from resources.chat.errors import ChatError
    from resources.models.errors import CheckpointError
    from resources.pretrained.checking import faults

    shown: set[str] = set()
    for keys, source, role in named(asked):
        if role != "parent" or (asked.offline and source.kind == "hub"):
            continue
        try:
            found = asked.description(source)
        except CheckpointError:
            continue  # said with the parents
        try:
            chat = Chat.load(found.folder)
            sample = chat.conversation(_example(asked)).samples()[0]
        except ChatError as error:
            if not faults(found.folder, weights=False):  # said with the parents
                yield asked.fault(keys, found.said(str(error)))
            continue
        if chat.digest not in shown:
            shown.add(chat.digest)
            yield f"{keys[1]}: what is learned stands between » and «"
            yield from (f"  {line}" for line in _marked(sample).splitlines())


def _example(asked: Asked) -> list[dict[str, object]]:
    """The first conversation of the recipe's sources, else a made-up one."""
    from resources.sources.account import SourceError
    from resources.sources.reading import read
    from resources.sources.shards import shards

    for source in asked.recipe.family.sources.values():
        away = source.path.startswith(("hub:", WRITTEN) if asked.offline else WRITTEN)
        if source.kind != "conversations" or away:
            continue
        try:
            for shard in shards(source, asked.recipe.directory, asked.scratch)[:1]:
                for batch in read(source, shard):
                    if batch.kept.num_rows:
                        turns: list[dict[str, object]] = batch.kept.slice(0, 1).to_pylist()[0][
                            "messages"
                        ]
                        return turns
        except SourceError:
            continue
    return [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]


def _marked(sample: Sample) -> str:
    """A rendered text as people read it, with what carries loss between marks."""
    text = sample.text
    for start, end in sorted(sample.spans, reverse=True):
        text = f"{text[:start]}»{text[start:end]}«{text[end:]}"
    return str(replace(sample, text=text))
