"""What comparing a corpus with benchmarks costs: the mixture with and without, beside a tokenizer.

    python benchmarks/decontamination.py QUESTIONS.jsonl:FIELD … [--documents N] [--tokenizer FILE]

The documents are Python's own docstrings and source code, repeated until there are N, a line in
each that no other has; the benchmarks' questions are the column FIELD of JSON Lines files. The
mixture is built through the store, without and with the benchmarks, in CPU seconds of this process;
FILE is a `tokenizer.json`, whose bare `encode_batch` on the same texts (one thread) is measured
beside. Also how many documents each rule would drop: they are no copies of a benchmark's text.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from resources.benchmarks.compared import Benchmarks
from resources.benchmarks.overlap import Index
from resources.benchmarks.problems import COLUMNS
from resources.cleaning.words import words
from resources.execution import Execution
from resources.recipe.sections.data import Source
from resources.sources.reading import read
from resources.sources.shards import shards
from warehouse.rows import with_ids
from warehouse.store import Artifact, Output, Request, Store

TEXT = ("python:docstrings", "python:source")
RULES = ("ngram_8", "ngram_13")


def brought() -> list[str]:
    """The documents that come with Python."""
    found: list[str] = []
    for path in TEXT:
        source = Source.model_validate({"kind": "text", "path": path, "license": "PSF-2.0"})
        for shard in shards(source, Path(), Path()):
            for batch in read(source, shard):
                found += batch.kept.column("text").to_pylist()
    return found


def repeated(texts: list[str], count: int) -> Iterator[str]:
    """`count` documents, no two of them alike."""
    for number in range(count):
        yield f"Note {number} of this collection.\n\n{texts[number % len(texts)]}"


def questions(given: list[str]) -> list[str]:
    """The questions that `FILE:FIELD` names."""
    found: list[str] = []
    for each in given:
        name, _, field = each.rpartition(":")
        opened = gzip.open if name.endswith(".gz") else open
        with opened(name, "rt", encoding="utf-8") as lines:
            found += [json.loads(line)[field] for line in lines]
    return found


def texts_of(store: Store, file: Path) -> Artifact:
    """The documents as the only shard of a source."""
    from assets.problems.texts import make_texts

    recipe = {
        "name": "own",
        "source": {"kind": "text", "path": file.name, "license": "PSF-2.0"},
        "shard": file.name,
        "pieces": [{"name": file.name, "start": 0, "stop": None}],
    }
    request = Request("problems/text_own", None, make_texts, {}, recipe, 0, code_version="1")
    return store.build(request, execution=Execution(observe=(str(file),)))


def benchmark_of(store: Store, asked: list[str]) -> Artifact:
    """The questions as a declared benchmark."""
    rows = [{"source": "own", "question": each, "split": "held_out"} for each in asked]
    table = pa.Table.from_pylist(rows, COLUMNS)
    table = with_ids(
        table.append_column("place", pa.array(range(len(rows)))),
        "benchmarks/own",
        ["question"],
        None,
        "place",
    )
    made = Output(tables={"problems": table})
    return store.build(
        Request("benchmarks/own", None, lambda *_: made, {}, {}, 0, code_version="1")
    )


def mixture_of(store: Store, inputs: dict[str, Artifact]) -> Artifact:
    """The mixture of all documents."""
    from assets.problems.mixture import make_mixture

    recipe = {"weights": {"own": 1.0}, "max_drop": {"own": 0.0}, "tokens": 10**9, "holdout": 0.02}
    return store.build(
        Request("problems/corpus", None, make_mixture, inputs, recipe, 0, code_version="1")
    )


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process, and what was made."""
    began = time.process_time()
    made = work()
    return time.process_time() - began, made


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("questions", nargs="+", metavar="FILE:FIELD")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--tokenizer", type=Path)
    given = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = "1"  # of the tokenizer
    own, asked = brought(), questions(given.questions)
    texts = list(repeated(own, given.documents))
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    print(f"{len(texts):,} documents, {megabytes:.0f} MB, {len(asked):,} questions\n")
    print("| | CPU seconds | documents/s | MB/s |\n|---|---|---|---|")

    def line(name: str, spent: float) -> None:
        print(f"| {name} | {spent:.1f} | {len(texts) / spent:,.0f} | {megabytes / spent:.1f} |")

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "own.jsonl"
        file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        store = Store(Path(folder) / "home")
        inputs = {"own": texts_of(store, file)}
        line("mixture, compared with nothing", seconds(lambda: mixture_of(store, inputs))[0])
        inputs["benchmark_own"] = benchmark_of(store, asked)
        spent, made = seconds(lambda: mixture_of(store, inputs))
        line("mixture, compared with the questions", spent)
        dropped = made.metrics["dropped_contaminated"]
    problems = {"row_id": [b""] * len(asked), "question": asked, "source": ["own"] * len(asked)}
    known = Benchmarks(pa.table(problems))
    index, _ = seconds(lambda: known.documents([""]))
    line("comparing alone", seconds(lambda: known.documents(texts))[0])
    line("of it cutting texts into words", seconds(lambda: [len(words(t)) for t in texts])[0])
    if given.tokenizer:
        from tokenizers import Tokenizer

        bare = Tokenizer.from_file(str(given.tokenizer))
        starts = range(0, len(texts), 1024)
        encode = seconds(lambda: [len(bare.encode_batch(texts[s : s + 1024])) for s in starts])
        line("bare tokenizer, one thread", encode[0])
    print(f"\nindex of the questions: {index:.1f} s; dropped by the mixture: {dropped:.0f}")
    for rule in RULES:
        found = Index(asked, (rule,)).find(own)
        examples = "; ".join(sorted({hit.evidence for hit in found.values()})[:4])
        print(f"{rule} alone would drop {len(found)} of {len(own):,} different ones: {examples}")


if __name__ == "__main__":
    main()
