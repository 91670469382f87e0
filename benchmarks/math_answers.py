"""Math answers of published sources: golds verified, shuffled golds refused, rows a second.

    python benchmarks/math_answers.py DATA [--against-math-verify] [--list]

DATA holds gsm8k, svamp, aqua, mmlu_stem and math500 as their projects publish them; no model is
asked. Each answer stands in a box, as a model writes it. A shuffled gold is another row's; where
both rows' golds are written alike, or are the same number, it is a coincidence and counted apart.
`--against-math-verify` times math-verify 0.9 (no dependency) on the same pairs in the same process.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.verifiers import choice, math
from resources.verifiers.verdict import Verdict

Check = Callable[[str, str], Verdict]
ROOM = 2_000  # pairs that math-verify is timed on, of each source


@dataclass(frozen=True)
class Source:
    """`pairs`: (answer, expected answer) of each row, equal by the source's own word."""

    name: str
    pairs: list[tuple[str, str]]
    check: Check = math.verify


@dataclass(frozen=True)
class Counts:
    """Of one source: golds verified, and others' golds refused, equal by chance, and all else."""

    rows: int
    verified: int
    refused: int
    coincidences: int
    unread: int
    seconds: float
    misses: list[str]


def sources(data: Path) -> Iterator[Source]:
    """Every source that lies in DATA, each spelling of its golds apart."""
    for split in ("train", "test"):
        rows = _rows(data / f"gsm8k/{split}.jsonl")
        golds = [row["answer"].split("####")[-1].strip() for row in rows]
        bare = [gold.replace(",", "") for gold in golds]
        grouped = [f"{int(gold):,}" for gold in bare]
        name = f"GSM8K {split}"
        yield Source(f"{name}, bare", list(zip(_boxed(bare), golds, strict=True)))
        yield Source(f"{name}, 1,000", list(zip(_boxed(grouped), bare, strict=True)))
        solutions = [row["answer"] for row in rows]
        yield Source(f"{name}, solution", list(zip(solutions, bare, strict=True)))
        yield Source(f"{name}, as truth", list(zip(_boxed(grouped), solutions, strict=True)))
    rows = _rows(data / "svamp/test.jsonl")
    texts = [str(row["Answer"]) for row in rows]
    whole = [text.removesuffix(".0") for text in texts]
    yield Source("SVAMP", list(zip(_boxed(whole), texts, strict=True)))
    rows = _rows(data / "math500/test.jsonl")
    yield Source("MATH-500", [(row["solution"], row["answer"]) for row in rows])
    rows = _rows(data / "aqua/test.jsonl")
    letters = [row["correct"] for row in rows]
    yield Source("AQuA, letter", list(zip(_boxed(letters), letters, strict=True)), choice.verify)
    texts = [_option(row, row["correct"]) for row in rows]
    yield Source("AQuA, option", list(zip(_boxed(texts), texts, strict=True)))
    rows = _rows(data / "mmlu_stem/test.jsonl")
    letters = ["ABCD"[row["answer"]] for row in rows]
    yield Source("MMLU-STEM", list(zip(_boxed(letters), letters, strict=True)), choice.verify)


def count(source: Source, seed: int = 0) -> Counts:
    """Judge every gold against itself, and against another row's."""
    order = list(range(len(source.pairs)))
    random.Random(seed).shuffle(order)
    began = time.perf_counter()
    own = [source.check(*pair) for pair in source.pairs]
    seconds = time.perf_counter() - began
    misses = [f"not verified: {v.evidence}" for v in own if not v.correct]
    refused = coincidences = unread = 0
    for place, other in zip(order, [*order[1:], order[0]], strict=True):
        (answer, _), (_, expected) = source.pairs[place], source.pairs[other]
        verdict = source.check(answer, expected)
        if _alike(source.pairs[place][1], expected):
            coincidences += 1
        elif verdict.verdict == "incorrect":
            refused += 1
        else:
            unread += verdict.verdict == "unknown"
            misses.append(f"{verdict.verdict}: {verdict.evidence}")
    verified = sum(v.correct for v in own)
    return Counts(len(own), verified, refused, coincidences, unread, seconds, misses)


def wrong_options(data: Path) -> tuple[int, int, list[str]]:
    """AQuA's wrong options against the right one: (all, refused, the others)."""
    found, misses = 0, []
    for row in _rows(data / "aqua/test.jsonl"):
        right = _option(row, row["correct"])
        for letter in set("ABCDE") - {row["correct"]}:
            verdict = math.verify(_boxed([_option(row, letter)])[0], right)
            found += 1
            if verdict.verdict != "incorrect":
                misses.append(f"{verdict.verdict}: {verdict.evidence}")
    return found, found - len(misses), misses


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def _boxed(answers: list[str]) -> list[str]:
    return [f"So it is $\\boxed{{{answer}}}$." for answer in answers]


def _option(row: dict[str, Any], letter: str) -> str:
    """An option's text without the letters before it."""
    text: str = row["options"]["ABCDE".index(letter)]
    while text[:2] == f"{letter})":
        text = text[2:].strip()
    return text


def _alike(left: str, right: str) -> bool:
    """Whether two golds are written alike or are one number, told without our verifier."""
    left, right = (text.split("####")[-1].strip().replace(",", "") for text in (left, right))
    try:
        return left == right or float(left) == float(right)
    except ValueError:
        return False


def _theirs(pairs: list[tuple[str, str]]) -> float:
    """Seconds that math-verify takes for the same pairs."""
    from math_verify import parse, verify

    began = time.perf_counter()
    for answer, expected in pairs:
        verify(parse(f"${expected}$"), parse(answer))
    return time.perf_counter() - began


def main() -> None:
    """Print the table, and the rows that were not as they should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--against-math-verify", action="store_true")
    parser.add_argument("--list", action="store_true", help="every row that is not as it should be")
    given = parser.parse_args()
    math.verify("x+1", "1+x")  # what is imported at first use is no row's cost
    print(
        "| source | rows | gold verified | others' refused | by chance equal | unknown | rows/s |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    for source in sources(given.data):
        counts = count(source)
        others = counts.rows - counts.coincidences
        rate = f"{counts.rows / counts.seconds:,.0f}"
        if given.against_math_verify and source.check is math.verify:
            pairs = source.pairs[:ROOM]
            rate += f" ({counts.rows / counts.seconds * _theirs(pairs) / len(pairs):.1f} x theirs)"
        print(
            f"| {source.name} | {counts.rows:,} | {counts.verified / counts.rows:.2%} | "
            f"{counts.refused / others:.2%} | {counts.coincidences:,} | {counts.unread} | {rate} |"
        )
        for miss in counts.misses if given.list else []:
            print(f"    {miss}")
    found, refused, misses = wrong_options(given.data)
    print(f"AQuA's wrong options: {refused}/{found} refused")
    print("".join(f"    {miss}\n" for miss in misses), end="")


if __name__ == "__main__":
    main()
