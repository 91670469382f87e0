"""Tools in conversations: whether the template of each model that learns of them writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from jobs.checks.asked import Asked, Finding
from jobs.checks.data import BATCHES, SHARDS
from resources.recipe.sections.data import WRITTEN, CorpusMix, Source
from resources.recipe.tree import KeyPath

if TYPE_CHECKING:
    from resources.chat.chat import Chat

TEMPLATE = "give its parent a template that writes them: {path: …, template: ./chat.jinja}"


@dataclass(frozen=True)
class _Told:
    """A conversation with tools, and where it stands."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    where: str


def tools(asked: Asked) -> Iterator[Finding]:
    """Tools, calls and results that a model's template leaves out, and a corpus that has no place
    for them; what survives is said, too."""
    recipe = asked.recipe
    told: dict[str, list[_Told]] = {}
    for name, source in recipe.family.sources.items():
        away = source.path.startswith(("hub:", WRITTEN) if asked.offline else WRITTEN)
        if source.kind == "conversations" and not away and (found := _telling(asked, source)):
            told[name] = found
    corpus = recipe.family.corpus
    mix = corpus.mix if isinstance(corpus, CorpusMix) else {}
    for name in told:
        if name in mix and not recipe.family.sources[name].tools_as_text:
            what = f"the corpus has turns alone, and {told[name][0].where} has tools"
            yield asked.fault(("sources", name), what, "say `tools: text`")
    for model, said in recipe.models.items():
        mixed = {name for stage in said.sft for name, weight in stage.weights.items() if weight > 0}
        names = [name for name in told if name in mixed]
        if names and (chat := _chat(asked, model)) is not None:
            for name in names:
                yield from _learned(asked, name, told[name], model, chat)


def _learned(
    asked: Asked, name: str, told: list[_Told], model: str, chat: Chat
) -> Iterator[Finding]:
    """Whether what a source tells reaches a model."""
    keys: KeyPath = ("sources", name)
    source = asked.recipe.family.sources[name]
    lost, where = _lost(chat, told)
    if not lost:
        how = "as text" if source.tools_as_text else "as its template writes them"
        yield f"{name}: {model} reads tools, calls and results {how}"
        return
    what = f"the chat template of {model} leaves out {' and '.join(lost)} ({where})"
    other = source.model_copy(update={"tools": "template" if source.tools_as_text else "text"})
    if _lost(chat, _telling(asked, other))[0]:
        remedy = TEMPLATE
    else:
        remedy = "leave `tools: text` out" if source.tools_as_text else "say `tools: text`"
    yield asked.fault(keys, what, remedy)


def _lost(chat: Chat, told: list[_Told]) -> tuple[list[str], str]:
    """What a template leaves out of conversations, and where the first such one stands."""
    from resources.chat.surviving import lost

    found: dict[str, str] = {}
    for each in told:
        for part in lost(chat, each.messages, each.tools):
            found.setdefault(part, each.where)
    return list(found), next(iter(found.values()), "")


def _telling(asked: Asked, source: Source) -> list[_Told]:
    """Of the first rows those that are the first with a part that tools have, or several calls."""
    from resources.chat import calls
    from resources.chat.surviving import parts
    from resources.sources.account import SourceError
    from resources.sources.reading import read
    from resources.sources.shards import shards

    seen: set[str] = set()
    found: list[_Told] = []
    try:
        for shard in shards(source, asked.recipe.directory, asked.scratch)[:SHARDS]:
            for batch in islice(read(source, shard), BATCHES):
                for row in filter(_has_tools, batch.kept.to_pylist()):
                    messages = calls.messages(row["messages"], row["calls"])
                    offered = calls.offered(row["tools"])
                    there = parts(messages, offered) | ({"tagged"} if row["tagged"] else set())
                    if any(len(calls.of(message)) > 1 for message in messages):
                        there.add("several calls")
                    if there - seen:
                        found.append(_Told(messages, offered, f"{row['file']}:{row['line']}"))
                        seen |= there
    except SourceError:  # said with the files
        return []
    return found


def _has_tools(row: Mapping[str, Any]) -> bool:
    return row["tagged"] or row["tools"] is not None or row["calls"] is not None


def _chat(asked: Asked, model: str) -> Chat | None:
    """The chat of a model's parent; None where it cannot be had, which is said elsewhere."""
    from resources.chat.chat import Chat
    from resources.chat.errors import ChatError
    from resources.models.errors import CheckpointError

    source = asked.recipe.parent_source(asked.recipe.models[model].parent)
    if asked.offline and source.kind == "hub":
        return None
    try:
        return Chat.load(asked.description(source).folder)
    except (CheckpointError, ChatError):
        return None
