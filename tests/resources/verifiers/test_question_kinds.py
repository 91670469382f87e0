"""Kinds of math problems are told by exact rules, and are unknown where rules do not decide."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from resources.verifiers.question_kinds import kind

DATA = Path(os.environ.get("HEIRLOOM_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
OPTIONS = "What is 1 + 1? (A) 1 (B) 2 (C) 3"


@pytest.mark.parametrize(
    ("question", "answer", "found"),
    [
        ("Prove that $n^3 - n$ is divisible by 6.", "", "proof"),
        ("Let $a > b$. Show that $a^2 > b^2$ for positive $a, b$.", "", "proof"),
        (
            "Given a triangle, please prove the triangle inequality.",
            "Proved above, by parts",
            "proof",
        ),
        ("Disprove: every prime is odd.", "", "proof"),
        ("Find all $x$ with $x^2 = 4$ and prove that there are no others.", "2,-2", "unknown"),
        ("Show that $x + 1 = 2$ has the solution $x = 1$.", "1", "unknown"),
        ("He watched a show that lasted 2 hours. How many minutes is that?", "120", "answer"),
        ("She proved 3 theorems a day. How many did she prove in 5 days?", "15", "answer"),
        (OPTIONS, "B", "choice"),
        (OPTIONS, "2", "choice"),
        (OPTIONS, "", "choice"),
        (OPTIONS, r"\text{(B)}", "choice"),
        ("Which?\nA) 1\nB) 2\nC) 3\nD) 4", "D", "choice"),
        ("Which?\nA. 1\nB. 2\nC. 3", "C", "choice"),
        (r"Which? $\textbf{(A)}\ 1 \qquad \textbf{(B)}\ 2 \qquad \textbf{(C)}\ 3$", "A", "choice"),
        ("Which is even? A=1 B=2 C=3 D=5", "B", "choice"),
        ("In circles (A), (B) and (C) there are 3 dots each. How many are there?", "9", "answer"),
        ("Where is $A$? [asy] label(A); f((A)); f((B)); f((C)); [/asy]", "(1,2)", "answer"),
        ("Is 91 prime?", "No", "binary"),
        ("Is 91 prime?", r"\text{no}.", "binary"),
        ("Is 91 prime?", "", "binary"),
        ("Tom has 3 apples. Can he give 2 to each of 2 friends?", "", "binary"),
        ("True or false: 2 is even?", "True", "binary"),
        ("Is 91 prime, and how many divisors has it?", "", "answer"),
        ("Is 3 or 4 larger?", "", "unknown"),
        ("Is 3 or 4 larger?", "4", "answer"),
        ("What is shown? ![](figure.png)", "4", "invalid"),
        ("Find x. https://example.org/a/1.PNG", "4", "invalid"),
        ("?!", "4", "invalid"),
        ("How much is 2 + 2?", "4", "answer"),
        ("The marked price of the watch is:", "4", "unknown"),
    ],
)
def test_a_kind_is_what_a_text_says(question: str, answer: str, found: str) -> None:
    assert kind(question, answer)[0] == found


def test_of_published_word_problems_none_is_taken_for_another_kind() -> None:
    if not (DATA / "gsm8k").is_dir():
        pytest.skip(f"no GSM8K and MATH-500 in {DATA}; HEIRLOOM_SHARED_DATA names their folder")
    counts: Counter[str] = Counter()
    for name, asked in (("gsm8k/test", "question"), ("math500/test", "problem")):
        for line in (DATA / f"{name}.jsonl").read_text().splitlines():
            row = json.loads(line)
            counts[kind(row[asked], row["answer"].split("####")[-1].strip())[0]] += 1
    # Three problems of MATH-500 have options.
    assert counts == {"answer": 1816 - counts["unknown"], "choice": 3, "unknown": counts["unknown"]}
    assert counts["unknown"] <= 1
