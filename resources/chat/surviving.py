"""What of a tool conversation a chat template writes: each part rendered with and without it.

A part survives where its words stand in the text more often with it than without. Knows no source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resources.chat import calls as made
from resources.chat.calls import TOOL
from resources.chat.encoder import MARK
from resources.chat.errors import ChatError

if TYPE_CHECKING:
    from resources.chat.chat import Chat, Tools

Messages = Sequence[Mapping[str, Any]]
TOOLS, CALLS, RESULTS, WORDS = "the list of tools", "calls", "results", "words beside a call"


def parts(messages: Messages, tools: Tools | None) -> set[str]:
    """Which parts a conversation has."""
    calling = [message for message in messages if message.get("tool_calls")]
    there = {
        TOOLS: bool(tools),
        CALLS: bool(calling),
        RESULTS: any(message["role"] == TOOL for message in messages),
        WORDS: any(message["content"] for message in calling),
    }
    return {part for part, is_there in there.items() if is_there}


def lost(chat: Chat, messages: Messages, tools: Tools | None) -> list[str]:
    """The parts that the template of `chat` leaves out, in the order of their names above.

    Where all parts are written and the conversation gives no example all the same, that reason.
    """

    def written(turns: Messages, offered: Tools | None) -> str:
        rendered = chat.conversation(turns, None, offered).rendered(generation_prompt=False)
        return rendered.text.replace(MARK, "")

    found = [_lost(part, messages, tools, written) for part in (TOOLS, CALLS, RESULTS, WORDS)]
    if any(found):
        return [each for each in found if each]
    try:
        chat.samples(messages, None, tools)
    except ChatError as error:
        return [f"a conversation: {error}"]
    return []


Written = Callable[[Messages, "Tools | None"], str]


def _lost(part: str, messages: Messages, tools: Tools | None, written: Written) -> str:
    """The part where it is left out anywhere, with the template's reason if it has one; else ""."""
    for needles, with_it, without in _pairs(part, messages, tools):
        try:
            text = written(*with_it)
        except ChatError as error:
            return f"{part}: {error}"
        try:
            bare = written(*without)
        except ChatError:  # some refuse what is left of a conversation
            bare = ""
        if not _more(needles, text, bare):
            return part
    return ""


Pair = tuple[list[Any], tuple[Messages, "Tools | None"], tuple[Messages, "Tools | None"]]


def _pairs(part: str, messages: Messages, tools: Tools | None) -> Iterator[Pair]:
    """What a part says, the conversation with it, and the same without."""
    if part == TOOLS:
        if tools:
            yield [*made.names(tools)], (messages, tools), (messages, None)
        return
    for index, message in enumerate(messages):
        before, without = messages[:index], dict(message)
        if part == RESULTS and message["role"] == TOOL:
            needles, without["content"] = [message["content"]], ""
        elif part == CALLS and message.get("tool_calls"):
            needles = [
                each for name, given in made.of(message) for each in (name, *made.values(given))
            ]
            del without["tool_calls"]
        elif part == WORDS and message.get("tool_calls") and message["content"]:
            needles, without["content"] = [message["content"]], ""
        else:
            continue
        yield needles, ([*before, message], tools), ([*before, without], tools)


def _more(needles: Iterable[Any], text: str, without: str) -> bool:
    """Whether each needle stands in the text more often than in the one without."""
    spelled = [[each.strip() for each in made.spellings(needle)] for needle in needles]
    return all(any(text.count(each) > without.count(each) for each in ways) for ways in spelled)
