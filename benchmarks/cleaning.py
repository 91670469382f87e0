"""What cleaning finds, what it drops wrongly, and what it costs, on real files.

    python -m benchmarks.cleaning DATA [--rephrased FILE] [--rows N …]

DATA is a folder with `gsm8k/{train,test}.jsonl`, `svamp/test.jsonl` and `alpaca/*.json` as
published. GSM8K's test questions are the benchmark. Changed copies of them are planted: what of
them each method finds, and what it finds in questions that are none of them. FILE has the same
questions rephrased, one `text` a line in their order (lm-sys/llm-decontaminator,
rephrase_gsm8k.jsonl). Then near copies of training rows, for deduplication; and CPU seconds and
peak memory, each in a process of its own with one thread, on the training rows and instructions
repeated with a word in each that no other has: most are near duplicates.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pyarrow as pa

from assets.sft_data.conversations import load
from resources.benchmarks.compared import Benchmarks, Match
from resources.benchmarks.problems import COLUMNS
from resources.cleaning.duplicates import Duplicates
from resources.cleaning.filters import FILTERS
from resources.cleaning.words import numbers
from resources.execution import Execution
from resources.recipe.sections.cleaning import Decontaminate, Deduplicate
from resources.sources.apart import text_hash
from warehouse.rows import with_ids
from warehouse.store import Output, Request, Store

LIMITS = Decontaminate().model_dump()
NEAR = Deduplicate().near
WORDS = ("exact", "ngram_13", "ngram_8")
SETTINGS = {
    **dict.fromkeys(("broken_thinking", "cut_off", "refusal", "unboxed"), True),
    "too_long": 12_000,
    "repetition": 0.3,
    "other_language": ["en"],
}
SLOW = "other_language"


def lines(path: Path, field: str) -> list[str]:
    """A column of a file of JSON lines."""
    return [json.loads(line)[field] for line in path.read_text().splitlines()]


def every(text: str, step: int, change: Callable[[str], str]) -> str:
    """The text with one word in `step` changed."""
    return " ".join(
        change(word) if place % step == step - 1 else word
        for place, word in enumerate(text.split())
    )


def renumbered(text: str) -> str:
    """The text with other numbers."""
    return "".join(str((int(c) + 3) % 10) if c.isdigit() else c for c in text)


def turned(text: str) -> str:
    """The text's sentences the other way round."""
    return " ".join(reversed(text.replace("? ", ". ").split(". ")))


def planted(asked: list[str], rephrased: list[str]) -> dict[str, list[str]]:
    """Copies of a benchmark's questions, changed in one way each."""
    around = "Please solve this for my homework, and show your work: {} Thank you very much!"
    return {
        "the same, in capitals": [text.upper() for text in asked],
        "with words around it": [around.format(text) for text in asked],
        "one word in 12 changed": [every(text, 12, lambda w: w[::-1]) for text in asked],
        "one word in 6 changed": [every(text, 6, lambda w: w[::-1]) for text in asked],
        "one word in 3 changed": [every(text, 3, lambda w: w[::-1]) for text in asked],
        "other numbers": [renumbered(text) for text in asked],
        "sentences turned round": [turned(text) for text in asked],
        "six of its words": [" ".join(text.split()[4:10]) for text in asked],
        **({"rephrased by a model": rephrased} if rephrased else {}),
    }


def table_of(asked: list[str]) -> pa.Table:
    """Questions as benchmark problems."""
    rows = [{"source": "own", "question": each, "split": "held_out"} for each in asked]
    table = pa.Table.from_pylist(rows, COLUMNS)
    place = pa.array(range(len(rows)))
    return with_ids(table.append_column("place", place), "own", ["question"], None, "place")


def found_line(name: str, texts: list[str], found: dict[int, Match]) -> str:
    """A row of the table: shares found by words, and by each further method with those before."""
    counts = Counter(
        "words" if match.method in WORDS else f"{match.method} {match.reason}"
        for match in found.values()
    )
    total, cells = 0, []
    for how in ("words", "contained contaminated", "neighbour contaminated"):
        total += counts.pop(how, 0)
        cells.append(f"{total / len(texts):.1%}")
    total += counts.total()
    return f"| {name} | {len(texts):,} | {' | '.join(cells)} | {total / len(texts):.1%} |"


def contamination(data: Path, rephrased: list[str]) -> None:
    """Print what is found of planted copies, and in other questions."""
    asked = lines(data / "gsm8k" / "test.jsonl", "question")
    known = Benchmarks(table_of(asked), LIMITS)
    print(f"\nGSM8K test, {len(asked):,} questions; {LIMITS}\n")
    print("| texts | rows | words | + contained | + sure neighbours | + undecided |")
    print("|---|---|---|---|---|---|")
    for name, texts in planted(asked, rephrased).items():
        print(found_line(name, texts, known.questions(texts)), flush=True)
    parts = (lines(data / "svamp" / "test.jsonl", f) for f in ("Body", "Question"))
    svamp = [" ".join(pair) for pair in zip(*parts, strict=True)]
    others = {
        "GSM8K train": lines(data / "gsm8k" / "train.jsonl", "question"),
        "SVAMP": svamp,
        "Alpaca's instructions": [user for user, _ in alpaca(data)],
    }
    for name, texts in others.items():
        print(found_line(f"not planted: {name}", texts, known.questions(texts)), flush=True)


def alpaca(data: Path) -> list[tuple[str, str]]:
    """Instructions and answers."""
    rows = [
        row
        for file in sorted((data / "alpaca").glob("*.json"))
        for row in json.loads(file.read_text())
    ]
    return [(f"{row['instruction']}\n{row['input']}".strip(), row["output"]) for row in rows]


def pairs(data: Path) -> list[tuple[str, str]]:
    """What is there to train on: GSM8K's training rows and the instructions."""
    asked, said = (lines(data / "gsm8k" / "train.jsonl", f) for f in ("question", "answer"))
    return [*zip(asked, said, strict=True), *alpaca(data)]


def repeated(own: list[tuple[str, str]], count: int) -> Iterator[tuple[str, str]]:
    """`count` rows, no two alike: a word in each that no other has."""
    for number in range(count):
        user, said = own[number % len(own)]
        word = "".join(chr(ord("a") + int(digit)) for digit in str(number))
        yield f"{user}\n(Row {word} of this collection.)", said


def add(rows: Duplicates, own: list[tuple[str, str]]) -> None:
    """Rows to a deduplication, as the SFT data adds them."""
    for start in range(0, len(own), 1024):
        part = own[start : start + 1024]
        texts = [f"{user}\n{said}" for user, said in part]
        keys = [text_hash(text).to_bytes(16, "little", signed=True) for text in texts]
        rows.add(keys, texts, [numbers(user) for user, _ in part])


def deduplication(data: Path) -> None:
    """Print what is found of planted near copies of training rows."""
    own = pairs(data)
    chosen = Random(0).sample(own, 1000)
    ways: dict[str, Callable[[str, str], tuple[str, str]]] = {
        "the same, in capitals": lambda user, said: (user.upper(), said.upper()),
        "one word in 60 changed": lambda u, s: (u, every(s, 60, lambda w: w[::-1])),
        "one word in 30 changed": lambda u, s: (u, every(s, 30, lambda w: w[::-1])),
        "one word in 15 changed": lambda u, s: (u, every(s, 15, lambda w: w[::-1])),
        "other numbers in the question": lambda u, s: (renumbered(u), s),
    }
    print(f"\n{len(own):,} rows and 1,000 changed copies; near {NEAR}\n")
    print("| copies | found | of them right |\n|---|---|---|")
    for name, change in ways.items():
        with tempfile.TemporaryDirectory() as folder:
            rows = Duplicates(Path(folder) / "shingles", NEAR)
            add(rows, [*own, *(change(*pair) for pair in chosen)])
            found = rows.found().duplicates
        right = Counter(
            own[each.kept] == chosen[each.place - len(own)]
            for each in found
            if each.place >= len(own)
        )
        print(f"| {name} | {right.total() / 10:.1f} % | {right[True]} of {right.total()} |")
    before = sum(each.place < len(own) for each in found)
    print(f"\nAmong the {len(own):,} rows themselves: {before} duplicates.")


def costs_dedup(data: Path, count: int, work: Path) -> None:
    """Near duplicates among the rows."""
    rows = Duplicates(work / "shingles", NEAR)
    part: list[tuple[str, str]] = []
    for pair in repeated(pairs(data), count):
        part.append(pair)
        if len(part) == 1024:
            add(rows, part)
            part = []
    add(rows, part)
    rows.found()


def costs_words(data: Path, count: int, work: Path) -> None:
    """Questions compared by words."""
    _compared(data, count, None)


def costs_neighbours(data: Path, count: int, work: Path) -> None:
    """Questions compared by words, contained and by neighbours."""
    _compared(data, count, LIMITS)


def _compared(data: Path, count: int, limits: dict[str, float] | None) -> None:
    known = Benchmarks(table_of(lines(data / "gsm8k" / "test.jsonl", "question")), limits)
    texts = [user for user, _ in repeated(pairs(data), count)]
    for start in range(0, count, 1024):
        known.questions(texts[start : start + 1024])


def costs_filters(data: Path, count: int, work: Path) -> None:
    """All filters but that of languages."""
    for user, said in repeated(pairs(data), count):
        for name, says in FILTERS.items():
            if name != SLOW:
                says(said, user, SETTINGS[name])


def costs_language(data: Path, count: int, work: Path) -> None:
    """The filter of languages, on one row in twenty."""
    for _, said in repeated(pairs(data), count // 20):
        FILTERS[SLOW](said, "", SETTINGS[SLOW])


def costs_asset(data: Path, count: int, work: Path) -> None:
    """A source of conversations through the store: read, compared, filtered, written."""
    file = work / "own.jsonl"
    with file.open("w") as out:
        for user, said in repeated(pairs(data), count):
            out.write(json.dumps({"q": user, "a": said}) + "\n")
    store = Store(work / "home")
    asked = lines(data / "gsm8k" / "test.jsonl", "question")
    made = Output(tables={"problems": table_of(asked)})
    benchmark = store.build(
        Request("benchmarks/own", None, lambda *_: made, {}, {}, 0, code_version="1")
    )
    fields = {"prompt": "q", "response": "a"}
    source = {"kind": "conversations", "path": file.name, "fields": fields, "license": "mit"}
    recipe = {
        "name": "own",
        "source": source,
        "shards": [{"shard": "own", "pieces": [{"name": file.name, "start": 0, "stop": None}]}],
        **{"max_drop": 0.0, "holdout": 0.01, "over_long": "drop"},
        **{"deduplicate": {"near": NEAR}, "decontaminate": LIMITS},
        "filters": {name: value for name, value in SETTINGS.items() if name != SLOW},
    }
    request = Request(
        "sft_data/own", None, load, {"benchmark_own": benchmark}, recipe, 0, code_version="1"
    )
    built = store.build(request, execution=Execution(observe=(str(file),)))
    print(f"<!-- {count:,} rows: {dict(built.metrics)} -->")


COSTS: dict[str, tuple[Callable[[Path, int, Path], None], int]] = {
    "near duplicates": (costs_dedup, 1),
    "questions against the benchmark, words alone": (costs_words, 1),
    "the same, contained and neighbours too": (costs_neighbours, 1),
    "filters, languages aside": (costs_filters, 1),
    "filter of languages": (costs_language, 20),
    "a source of conversations, all of it but languages": (costs_asset, 1),
}


def measured(name: str, data: Path, count: int) -> None:
    """Print a row of the table of costs; runs in a process of its own."""
    work, share = COSTS[name]
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        work(data, count, Path(folder))
    spent = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = count / share / spent
    print(f"| {name} | {count // share:,} | {spent:.1f} | {rate:,.0f} | {peak:,.0f} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rephrased", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000])
    given = parser.parse_args()
    rephrased = lines(given.rephrased, "text") if given.rephrased else []
    rephrased = [t.removeprefix("Question: ").partition("\nAnswer:")[0] for t in rephrased]
    contamination(given.data, rephrased)
    deduplication(given.data)
    print("\n| | rows | CPU seconds | rows/s | peak MB |\n|---|---|---|---|---|", flush=True)
    spawn = multiprocessing.get_context("spawn")
    for count in given.rows:
        for name in COSTS:
            child = spawn.Process(target=measured, args=(name, given.data, count))
            child.start()
            child.join()


if __name__ == "__main__":
    main()
