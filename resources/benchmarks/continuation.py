"""From documents to choices: which of some texts goes on with a passage.

Each document gives one problem at most, and what goes on with one passage is a wrong option of
others: seen without their passages, right and wrong options cannot be told apart.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resources.sources.account import SourceError
from resources.sources.apart import text_hash

if TYPE_CHECKING:
    from resources.recipe.benchmark import Continuations

TOO_SHORT, COPY, NOT_ASKED = "documents_too_short", "documents_twice", "documents_not_asked"
Document = tuple[str, int, str]  # file, line it begins on, text


@dataclass(frozen=True, order=True)
class Passage:
    """Words of a document and those that follow them; `rank` is the hash of the whole text."""

    rank: int
    file: str
    line: int
    words: str
    after: str


def asked(
    name: str,
    documents: Iterable[Document],
    section: Continuations,
    limit: int,
    left: Counter[str],
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Fields `context`, `options` and `answer` (an index), with file and line, of each problem.

    Of the documents that are long enough the `limit` of the highest text hashes are taken: a
    mixture holds out the lowest ones, so that its held-out text stays. `left` counts the documents
    that are not asked about, by reason. Raises SourceError where there are too few documents.
    """
    passages = _chosen(documents, section, limit, left)
    texts = [each.after for each in passages]
    if len(set(texts)) < section.options:
        need = section.words + section.after
        raise SourceError(
            f"{name}: {len(texts)} documents of {need} words or more, {section.options} options "
            f"need as many; give more text, or lower continuations.words"
        )
    for index, passage in enumerate(passages):
        others = [text for text in texts[index + 1 :] + texts[:index] if text != passage.after]
        options = list(dict.fromkeys(others))[: section.options - 1]
        answer = index % section.options
        options.insert(answer, passage.after)
        fields = {"context": passage.words, "options": options, "answer": answer}
        yield passage.file, passage.line, fields


def _chosen(
    documents: Iterable[Document], section: Continuations, limit: int, left: Counter[str]
) -> list[Passage]:
    """The passages of the highest hashes, highest first; memory is `limit` of them."""
    heap: list[Passage] = []
    held: set[int] = set()
    for file, line, text in documents:
        words = text.split()
        room = len(words) - section.words - section.after
        rank = text_hash(text)
        if room < 0 or rank in held:
            left[TOO_SHORT if room < 0 else COPY] += 1
            continue
        begin = rank % (room + 1)
        end = begin + section.words
        passage = Passage(
            rank, file, line, " ".join(words[begin:end]), " ".join(words[end : end + section.after])
        )
        if len(heap) < limit:
            heapq.heappush(heap, passage)
            held.add(rank)
            continue
        left[NOT_ASKED] += 1
        if rank > heap[0].rank:
            held.remove(heapq.heapreplace(heap, passage).rank)
            held.add(rank)
    return sorted(heap, reverse=True)
