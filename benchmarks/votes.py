"""Votes on GSM8K with its answers withheld, of four models' published solutions, beside the truth.

    python benchmarks/votes.py SOLUTIONS

SOLUTIONS is `example_model_solutions.jsonl` of GSM8K's own repository: solutions to its 1,319 test
problems by four models, each ending in `A: 18`, which is boxed here. They are read as a source of
recorded answers with `truth: vote`, voted on and judged by the assets; what other rules would
decide is asked of the view `votes`. A second run spells the same numbers in other ways, by a hash.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assets.sft_data.responses import read_responses
from assets.sft_data.verify import verify
from assets.sft_data.vote import vote
from resources.execution import Execution
from resources.verifiers import math
from warehouse import catalog
from warehouse.store import Request, Store

MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
RULES = ((2, 0.5, 0.0), (3, 0.5, 0.2), (3, 0.6, 0.2), (4, 0.75, 0.5), (4, 1.0, 1.0))
RULE = (3, 0.6, 0.2)  # the recipe's default
WANTED = """
SELECT problem_id, leader FROM votes WHERE votes >= {} AND leader_votes > second_votes
AND leader_votes >= {} * votes AND leader_votes - second_votes >= {} * votes
"""


def spelled(number: str, key: str) -> str:
    """A whole number in another of the spellings that people use, chosen by a hash."""
    plain = number.replace(",", "").removesuffix(".00").removesuffix(".0")
    if not re.fullmatch(r"-?\d+", plain):
        return number
    forms = (plain, f"{plain}.0", rf"\frac{{{2 * int(plain)}}}{{2}}", f"{int(plain):,}", "x = ")
    form = forms[hashlib.blake2b(key.encode(), digest_size=1).digest()[0] % len(forms)]
    return form + plain if form == "x = " else form


def rows(solutions: Path, respell: bool) -> Iterator[dict[str, str | None]]:
    """A recorded answer to each problem by each model, the problem's own answer withheld."""
    for line in solutions.read_text().splitlines():
        row = json.loads(line)
        for model in MODELS:
            text, marked, last = row[model]["solution"].rpartition("\nA: ")
            answer = spelled(last.strip(), row["question"] + model) if respell else last.strip()
            said = f"{text}\n\\boxed{{{answer}}}" if marked else row[model]["solution"]
            yield {"q": row["question"], "a": None, "said": said, "who": model}


def truths(solutions: Path) -> dict[str, str]:
    """The withheld answer to each question."""
    found = (json.loads(line) for line in solutions.read_text().splitlines())
    return {row["question"].strip(): row["ground_truth"].rpartition("A: ")[2] for row in found}


def built(store: Store, solutions: Path, work: Path, respell: bool) -> dict[str, float]:
    """The recorded answers, their votes and verdicts, as assets; seconds of each."""
    file = work / "solutions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows(solutions, respell)))
    fields = {"question": "q", "expected_answer": "a", "response": "said", "model": "who"}
    source = {"kind": "responses", "path": file.name, "fields": fields, "license": "mit"}
    shards = [{"shard": "s", "pieces": [{"name": file.name, "start": 0, "stop": None}]}]
    recipe = {
        **{"name": "gsm8k", "source": source | {"verifier": "math", "truth": "vote"}},
        **{"shards": shards, "max_drop": 0.0},
    }
    asked: list[tuple[str, Any, dict[str, Any]]] = [
        ("sft_data/gsm8k_responses", read_responses, recipe),
        (
            "sft_data/gsm8k_votes",
            vote,
            {
                **{"domain": "math", "modes": ["on", "off"]},
                "vote": dict(zip(("minimum", "share", "margin"), RULE, strict=True)),
            },
        ),
        ("sft_data/gsm8k_verdicts", verify, {"domain": "math"}),
    ]
    inputs: dict[str, Any] = {}
    took = {}
    for key, function, settings in asked:
        began = time.process_time()
        request = Request(key, None, function, dict(inputs), settings, 0, code_version="1")
        made = store.build(request, execution=Execution(observe=(str(file),)))
        took[key] = time.process_time() - began
        inputs |= {"votes": made} if inputs else {"problems": made, "generations": made}
    return took


def by_text(solutions: Path, respell: bool, truth: dict[str, str]) -> Counter[str]:
    """What a vote by the very text of answers decides, under the default rule."""
    given: dict[str, Counter[str]] = {}
    for row in rows(solutions, respell):
        found = re.search(r"\\boxed\{(.*)\}$", str(row["said"]))
        if found is not None:
            given.setdefault(str(row["q"]).strip(), Counter())[found[1]] += 1
    outcome: Counter[str] = Counter()
    minimum, share, margin = RULE
    for question, votes in given.items():
        (first, leading), (_, second) = [*votes.most_common(2), ("", 0)][:2]
        total = votes.total()
        decided = total >= minimum and leading > second and leading >= share * total
        if decided and leading - second >= margin * total:
            outcome["right" if right(first, truth[question]) else "wrong"] += 1
    return outcome


def right(answer: str, truth: str) -> bool:
    """Whether an answer is the withheld one."""
    return math.verify(f"\\boxed{{{answer}}}", truth).correct


def measure(solutions: Path, respell: bool) -> None:
    """Print the tables of one way to spell the answers."""
    truth = truths(solutions)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "home")
        took = built(store, solutions, Path(folder), respell)
        connection = catalog.connect(store)
        print(f"\n{'the same, spelled in other ways' if respell else 'as they were written'}\n")
        print("| minimum, share, margin | decided | of 1,319 | right | wrong |")
        print("|---|---:|---:|---:|---:|")
        asked = dict(catalog.query(connection, "SELECT row_id, question FROM problems").fetchall())
        for rule in RULES:
            found = catalog.query(connection, WANTED.format(*rule)).fetchall()
            correct = sum(right(leader, truth[asked[row]]) for row, leader in found)
            shown = ", ".join(map(str, rule)) + (" (default)" if rule == RULE else "")
            count, wrong = len(found), len(found) - correct
            print(f"| {shown} | {count:,} | {count / len(truth):.1%} | {correct:,} | {wrong} |")
        text = by_text(solutions, respell, truth)
        count = text.total()
        shown = f"{count:,} | {count / len(truth):.1%} | {text['right']:,} | {text['wrong']}"
        print(f"| default, by text | {shown} |")
        verdicts(connection, truth)
        print({key: round(seconds, 2) for key, seconds in took.items()}, "CPU seconds")


def verdicts(connection: Any, truth: dict[str, str]) -> None:
    """Print what the vote says of the answers, beside the truth."""
    query = (
        "SELECT p.question, g.response, v.verdict FROM verdicts v JOIN generations g "
        "ON g.row_id = v.generation_id JOIN problems p ON p.row_id = g.problem_id"
    )
    counts: Counter[tuple[str, str]] = Counter()
    for question, response, verdict in catalog.query(connection, query).fetchall():
        known = math.verify(response, truth[question]) if "\\boxed" in response else None
        counts[verdict, known.verdict if known else "incorrect"] += 1
    print(
        "\n| by vote (default) | truly correct | truly incorrect | unknown |\n|---|---:|---:|---:|"
    )
    for verdict in ("correct", "incorrect", "unknown"):
        cells = [f"{counts[verdict, each]:,}" for each in ("correct", "incorrect", "unknown")]
        print(f"| {verdict} | {' | '.join(cells)} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("solutions", type=Path)
    given = parser.parse_args()
    for respell in (False, True):
        measure(given.solutions, respell)


if __name__ == "__main__":
    main()
