"""From documents to choices: which of some texts goes on with a passage.

What goes on with one passage is a wrong option of others: seen without their passages, right and
wrong options cannot be told apart.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from resources.sources.account import SourceError
from resources.sources.apart import text_hash

if TYPE_CHECKING:
    from resources.recipe.sections.benchmark import Continuations

TOO_SHORT, COPY, NOT_ASKED = "documents_too_short", "passages_twice", "passages_not_asked"
Document = tuple[str, int, str]  # file, line it begins on, text


@dataclass(frozen=True, order=True)
class Passage:
    """Words of a document and those that follow them; `rank` is the hash of both."""

    rank: int
    document: int
    file: str = field(compare=False)
    line: int = field(compare=False)
    words: str = field(compare=False)
    after: str = field(compare=False)


def asked(
    name: str,
    documents: Iterable[Document],
    section: Continuations,
    limit: int,
    left: Counter[str],
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Fields `context`, `options` and `answer` (an index), with file and line, of each problem.

    A document is cut into passages that do not overlap, and of all of them the `limit` of the
    highest hashes are asked about, in that order. `left` counts, by reason, the documents that are
    too short and the passages that are not asked about. Raises SourceError where there are too few
    documents for the options.
    """
    passages = _chosen(documents, section, limit, left)
    if len({each.document for each in passages}) < section.options:
        need = section.words + section.after
        raise SourceError(
            f"{name}: {len({each.document for each in passages})} documents of {need} words or "
            f"more, {section.options} options need as many; give more text, or lower "
            "continuations.words"
        )
    for index, passage in enumerate(passages):
        others = _others(passages, index, section.options - 1)
        answer = index % section.options
        options = [*others[:answer], passage.after, *others[answer:]]
        fields = {"context": passage.words, "options": options, "answer": answer}
        yield passage.file, passage.line, fields


def _others(passages: list[Passage], index: int, count: int) -> list[str]:
    """What goes on with the next `count` passages of other documents than the one at `index`."""
    own, found = passages[index], {passages[index].after: None}
    for other in passages[index + 1 :] + passages[:index]:
        if other.document != own.document:
            found.setdefault(other.after)
        if len(found) > count:
            break
    return list(found)[1:]


def _chosen(
    documents: Iterable[Document], section: Continuations, limit: int, left: Counter[str]
) -> list[Passage]:
    """The passages of the highest hashes, highest first; memory is `limit` of them."""
    heap: list[Passage] = []
    held: set[int] = set()
    for passage in _passages(documents, section, left):
        if passage.rank in held:
            left[COPY] += 1
        elif len(heap) < limit:
            heapq.heappush(heap, passage)
            held.add(passage.rank)
        else:
            left[NOT_ASKED] += 1
            if passage > heap[0]:
                held.remove(heapq.heapreplace(heap, passage).rank)
                held.add(passage.rank)
    return sorted(heap, reverse=True)


def _passages(
    documents: Iterable[Document], section: Continuations, left: Counter[str]
) -> Iterator[Passage]:
    length = section.words + section.after
    for number, (file, line, text) in enumerate(documents):
        words = text.split()
        if len(words) < length:
            left[TOO_SHORT] += 1
        for begin in range(0, len(words) - length + 1, length):
            end = begin + section.words
            before, after = " ".join(words[begin:end]), " ".join(words[end : begin + length])
            yield Passage(text_hash(f"{before} {after}"), number, file, line, before, after)
