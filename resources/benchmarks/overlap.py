"""Find texts that hold what a benchmark asks: the same text, or long runs of the same words.

The questions are indexed once; texts then come in batches of any number, and memory is the index
and some megabytes of text. Runs of 8 and 13 words are what the field uses (s1 and open-r1; GPT-3).
They do not find paraphrases: of 1,319 rephrased GSM8K questions, runs of 8 words find about one in
twenty.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from resources.cleaning.runs import cuts, flat, hashes
from resources.cleaning.words import reach, words
from resources.tasks.held_out import first_places, text_key

if TYPE_CHECKING:
    import pyarrow as pa

METHODS = ("exact", "ngram_13", "ngram_8")  # the strongest first; a question is reported once
SHORTEST = 5  # words: a benchmark question between this and n words matches as a whole


class Hit(NamedTuple):
    """The benchmark question that a text holds: its place, how it was found, the shared text."""

    item: int
    method: str
    score: float
    evidence: str


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

    index = Index(benchmarks["question"].to_pylist(), methods)
    found = index.find(questions["question"].to_pylist())
    order = sorted(found)
    ids = questions["row_id"].to_pylist(), benchmarks["row_id"].to_pylist()
    kinds = questions.schema.field("row_id").type, benchmarks.schema.field("row_id").type
    return pa.table(
        {
            "row_id": pa.array([ids[0][q] for q in order], kinds[0]),
            "matched_row_id": pa.array([ids[1][found[q].item] for q in order], kinds[1]),
            "method": pa.array([found[q].method for q in order], pa.string()),
            "score": pa.array([found[q].score for q in order], pa.float64()),
            "evidence": pa.array([found[q].evidence for q in order], pa.string()),
        }
    )


class Index:
    """Questions, and the sorted hashes of their runs of words.

    `methods` as `matches` says; `written`: of which questions runs are looked for (None: of all).
    A question of `shortest` words or more, fewer than n, is found as a whole. Runs with fewer than
    `spelled` words that begin with a letter are not looked for. In languages without spaces a run
    has as many more characters as they have in a word, see `reach`.
    """

    def __init__(
        self,
        questions: Sequence[str],
        methods: Sequence[str] = METHODS,
        written: Sequence[bool] | None = None,
        shortest: int = SHORTEST,
        spelled: int = 0,
    ) -> None:
        self.methods, self.spelled = tuple(methods), spelled
        self._known = first_places(questions) if "exact" in methods else {}
        self._words = [words(text) for text in questions]
        self._longest = max(map(len, self._words), default=0)  # what `exact` compares has no more
        if written is not None:
            pairs = zip(self._words, written, strict=True)
            self._words = [each if by_people else [] for each, by_people in pairs]
        self._reach = [reach(each) for each in self._words]
        vocabulary: dict[str, int] = {}
        for word in itertools.chain.from_iterable(self._words):
            vocabulary.setdefault(word, len(vocabulary) + 1)
        self._vocabulary = vocabulary
        self._runs = {m: self._indexed(_size(m), shortest) for m in methods if m != "exact"}

    def find(self, texts: Sequence[str]) -> dict[int, Hit]:
        """Of each text that holds a question, by the text's place, the best by the first method."""
        found: dict[int, Hit] = {}
        for start, stop in cuts(texts):
            spoken = [words(text) for text in texts[start:stop]] if self._runs else []
            for place in range(start, stop):
                short = not spoken or len(spoken[place - start]) <= self._longest
                hit = self._exact(texts[place]) if short else None
                if hit is not None:
                    found[place] = hit
            for place, hit in self._shared(spoken).items() if spoken else ():
                found.setdefault(start + place, hit)
        return found

    def _exact(self, text: str) -> Hit | None:
        if not self._known:
            return None
        shared = text_key(text)
        item = self._known.get(shared)
        return None if item is None else Hit(item, "exact", 1.0, shared[:200])

    def _shared(self, spoken: Sequence[list[str]]) -> dict[int, Hit]:
        """Of each text, given as words, the hit by the first method that has one."""
        ids, ends = flat(spoken, self._ids_of)
        lengths = {length for runs in self._runs.values() for length in runs}
        found_runs = dict(hashes(ids, lengths))
        found: dict[int, Hit] = {}
        for method, runs in self._runs.items():
            candidates: defaultdict[int, set[int]] = defaultdict(set)
            for length, own in runs.items():
                places, values = found_runs[length]
                for place, items in own.at(values):
                    candidates[int(np.searchsorted(ends, places[place]))].update(items)
            for text in sorted(candidates.keys() - found.keys()):
                hit = self._best(spoken[text], candidates[text], method)
                if hit is not None:
                    found[text] = hit
        return found

    def _best(self, spoken: Sequence[str], items: Iterable[int], method: str) -> Hit | None:
        """The item that the text has the largest share of, the first of equals; None by chance."""
        there: dict[int, set[tuple[str, ...]]] = {}
        best: Hit | None = None
        for item in sorted(items):
            size = min(_size(method) * self._reach[item], len(self._words[item]))
            if size not in there:
                there[size] = set(_grams(spoken, size))
            grams = [g for g in _grams(self._words[item], size) if self._says(g)]
            shared = [gram for gram in grams if gram in there[size]]
            score = len(shared) / len(grams) if grams else 0.0
            if shared and (best is None or score > best.score):
                best = Hit(item, method, score, " ".join(shared[0]))
        return best

    def _ids_of(self, every: Iterable[str]) -> Iterator[int]:
        return map(self._vocabulary.get, every, itertools.repeat(0))

    def _says(self, gram: Sequence[str]) -> bool:
        return not self.spelled or sum(word[0].isalpha() for word in gram) >= self.spelled

    def _indexed(self, size: int, shortest: int) -> dict[int, _Runs]:
        """By number of words, the runs of that many that are looked for."""
        ids, ends = flat(self._words, self._ids_of)
        lengths = np.array([len(each) for each in self._words], np.int64)
        reaches = np.array(self._reach, np.int64)
        looked_for = np.where(lengths < shortest * reaches, 0, np.minimum(lengths, size * reaches))
        letters = (word[:1].isalpha() for each in self._words for word in (*each, ""))
        spelled = np.concatenate([[0], np.cumsum(np.fromiter(letters, bool, len(ids)))])
        made = {}
        for length, (places, values) in hashes(ids, set(looked_for.tolist()) - {0}):
            items = np.searchsorted(ends, places)
            fits = spelled[places + length] - spelled[places] >= self.spelled
            fits &= looked_for[items] == length
            made[length] = _Runs.of(values[fits], items[fits])
        return {length: runs for length, runs in made.items() if len(runs.hashes)}


@dataclass(frozen=True)
class _Runs:
    """Hashes in order, and the item that each is of."""

    hashes: np.ndarray
    items: np.ndarray
    among: np.ndarray  # by a hash's last bits, whether one has them: nearly all others end here

    BITS = np.uint64((1 << 22) - 1)

    @classmethod
    def of(cls, hashes: np.ndarray, items: np.ndarray) -> _Runs:
        order = np.argsort(hashes, kind="stable")
        among = np.zeros(int(cls.BITS) + 1, bool)
        among[hashes & cls.BITS] = True
        return cls(hashes[order], items[order], among)

    def at(self, values: np.ndarray) -> Iterator[tuple[int, list[int]]]:
        """Where a value is one of the hashes, and the items that have it."""
        likely = np.flatnonzero(self.among[values & self.BITS])
        low = np.searchsorted(self.hashes, values[likely], "left")
        high = np.searchsorted(self.hashes, values[likely], "right")
        for index in np.flatnonzero(high > low):
            yield int(likely[index]), self.items[low[index] : high[index]].tolist()


def _size(method: str) -> int:
    return int(method.removeprefix("ngram_"))


def _grams(spoken: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    return (tuple(spoken[i : i + size]) for i in range(len(spoken) - size + 1))
