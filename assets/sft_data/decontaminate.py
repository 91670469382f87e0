"""Find training questions that a benchmark contains: the same text, or long runs of the same words.

Runs of 8 and 13 words are what the field uses (s1 and open-r1; GPT-3). They do not find
paraphrases: of 1,319 rephrased GSM8K questions, runs of 8 words find about one in twenty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from resources.tasks.held_out import first_places, text_key

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

METHODS = ("exact", "ngram_13", "ngram_8")  # the strongest first; a question is reported once
SHORTEST = 5  # words: a benchmark question between this and n words matches as a whole
_WORD = re.compile(r"\w+|[-+*/^=<>%|&~]")
_PRIME = 0x9E3779B97F4A7C15


def matches(
    questions: pa.Table, benchmarks: pa.Table, methods: Sequence[str] = METHODS
) -> pa.Table:
    """The contaminated questions, one row each, in the order of `questions`.

    Both tables have `row_id` and `question`. The result has `row_id`, `matched_row_id` (of the
    benchmark), `method`, `score` and `evidence` (the shared text). `exact` compares the text
    without case, spacing and width; its score is 1. `ngram_<n>` finds any n words in a row in both
    (operators are words, punctuation is not); its score is the share of the benchmark question's
    n-grams that the question has, and the highest one is reported.
    """
    import pyarrow as pa

    texts, items = questions["question"].to_pylist(), benchmarks["question"].to_pylist()
    found: dict[int, tuple[int, str, float, str]] = {}
    for method in methods:
        if method == "exact":
            hits = _exact(texts, items)
        else:
            size = int(method.removeprefix("ngram_"))
            hits = _ngrams(texts, items, size)
        for question, item, score, evidence in hits:
            found.setdefault(question, (item, method, score, evidence))
    order = sorted(found)
    ids = questions["row_id"].to_pylist(), benchmarks["row_id"].to_pylist()
    kinds = questions.schema.field("row_id").type, benchmarks.schema.field("row_id").type
    return pa.table(
        {
            "row_id": pa.array([ids[0][q] for q in order], kinds[0]),
            "matched_row_id": pa.array([ids[1][found[q][0]] for q in order], kinds[1]),
            "method": pa.array([found[q][1] for q in order], pa.string()),
            "score": pa.array([found[q][2] for q in order], pa.float64()),
            "evidence": pa.array([found[q][3] for q in order], pa.string()),
        }
    )


def words(question: str) -> list[str]:
    """Words and operators of a question, without punctuation.

    >>> words("Ann's sum: (3 + 4) * x.")
    ['ann', 's', 'sum', '3', '+', '4', '*', 'x']
    """
    return _WORD.findall(text_key(question))


Hit = tuple[int, int, float, str]  # question, benchmark item, score, evidence


def _exact(questions: list[str], items: list[str]) -> Iterator[Hit]:
    known = first_places(items)
    for index, text in enumerate(questions):
        shared = text_key(text)
        if shared in known:
            yield index, known[shared], 1.0, shared[:200]


def _ngrams(questions: list[str], items: list[str], size: int) -> Iterator[Hit]:
    """Hits of whole n-grams, and of whole items that are shorter than n words.

    N-grams are looked up by hash, in arrays; only what is found is compared as words.
    """
    item_words, question_words = [words(t) for t in items], [words(t) for t in questions]
    lengths = {size} | {len(w) for w in item_words if SHORTEST <= len(w) < size}
    vocabulary: dict[str, int] = {}
    candidates: dict[int, set[int]] = {}
    for length in lengths:
        sources = [w if length == size or len(w) == length else [] for w in item_words]
        left, right = (_hashes(t, length, vocabulary) for t in (question_words, sources))
        for question, item in _joined(*left, *right):
            candidates.setdefault(question, set()).add(item)
    for question in sorted(candidates):
        pairs = ((question_words[question], item_words[i], size, i) for i in candidates[question])
        score, item, evidence = max(_score(*pair) for pair in pairs)
        if score:
            yield question, -item, score, evidence


def _hashes(
    texts: list[list[str]], size: int, vocabulary: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """(text, hash) of every n-gram of every text, `vocabulary` growing."""
    import numpy as np

    ids = np.array(
        [vocabulary.setdefault(word, len(vocabulary) + 1) for text in texts for word in text],
        np.uint64,
    )
    counts = np.array([len(text) for text in texts], np.int64)
    begins = np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(counts) else counts
    owners = np.repeat(np.arange(len(texts)), np.maximum(counts - size + 1, 0))
    whole = np.maximum(counts - size + 1, 0)
    firsts = np.repeat(np.cumsum(whole) - whole, whole)
    starts = np.arange(len(owners)) - firsts
    places = begins[owners] + starts if len(owners) else starts
    hashes = np.zeros(len(owners), np.uint64)
    for offset in range(size):
        hashes = (hashes ^ ids[places + offset]) * np.uint64(_PRIME)
        hashes ^= hashes >> np.uint64(29)
    return owners, hashes


def _joined(
    question_of: np.ndarray, question_hash: np.ndarray, item_of: np.ndarray, item_hash: np.ndarray
) -> Iterator[tuple[int, int]]:
    """(question, item) wherever the hashes of two n-grams are equal."""
    import numpy as np

    order = np.argsort(item_hash, kind="stable")
    ordered = item_hash[order]
    low = np.searchsorted(ordered, question_hash, "left")
    high = np.searchsorted(ordered, question_hash, "right")
    for index in np.flatnonzero(high > low):
        for item in item_of[order[low[index] : high[index]]]:
            yield int(question_of[index]), int(item)


def _score(question: list[str], item: list[str], size: int, index: int) -> tuple[float, int, str]:
    """Share of the item's n-grams that the question has, minus its index, the first one shared."""
    size = min(size, len(item))
    there = {tuple(question[i : i + size]) for i in range(len(question) - size + 1)}
    grams = [tuple(item[i : i + size]) for i in range(len(item) - size + 1)]
    shared = [gram for gram in grams if gram in there]
    return len(shared) / len(grams), -index, " ".join(shared[0]) if shared else ""
