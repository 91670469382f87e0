"""`heirloom decontaminate`: a file in, the same rows with what of the others was found in each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cli import main

ASKED = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in "
    "May. How many clips did Natalia sell altogether in April and May?"
)
OTHER = "A train leaves the station at noon and travels 60 miles an hour. When does it arrive?"
REPHRASED = (
    "In April Natalia sold clips to 48 friends of hers; in May she sold half as many clips. "
    "Altogether, how many clips did Natalia sell in April and May?"
)


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def benchmark(tmp_path: Path) -> str:
    return written(tmp_path / "test.jsonl", [{"question": OTHER}, {"question": ASKED}])


def test_every_shape_of_row_is_compared(
    tmp_path: Path, benchmark: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[dict[str, Any]] = [
        {"question": ASKED.upper()},
        {"messages": [{"role": "user", "content": f"Please help. {ASKED} Thanks!"}]},
        {"messages": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": ASKED}]},
        {"text": "He said: " + ASKED + " Nobody knew."},
        {"question": REPHRASED},
        {"question": "What is the capital of France?"},
        {"question": 5, "n": 1},
    ]
    path = written(tmp_path / "train.jsonl", rows)
    assert main(["decontaminate", path, "--against", benchmark]) == 0
    said = capsys.readouterr()
    made = [json.loads(line) for line in said.out.splitlines()]
    assert [each["verdict"] for each in made] == [
        *["contaminated"] * 5,
        "clean",
        "nothing to compare",
    ]
    assert [each["method"] for each in made[:2]] == ["exact", "ngram_13"]
    assert made[4]["method"] in ("neighbour", "ngram_8")
    assert {each["matched"] for each in made[:5]} == {"test.jsonl, row 2"}
    assert made[5] == rows[5] | dict.fromkeys(("method", "score", "matched", "evidence")) | {
        "verdict": "clean"
    }
    assert said.err.strip() == "7 rows = 1 clean + 5 contaminated + 1 nothing to compare"


def test_parquet_stays_parquet_and_a_second_time_changes_nothing(
    tmp_path: Path, benchmark: str
) -> None:
    table = pa.table({"prompt": [ASKED, "What is up?"], "n": [1, 2]})
    pq.write_table(table, tmp_path / "a.parquet")
    words = ["--against", benchmark, "--field", "question=prompt", "--output"]
    for file in ("a", "b"):
        output = str(tmp_path / f"{'b' if file == 'a' else 'c'}.parquet")
        assert main(["decontaminate", str(tmp_path / f"{file}.parquet"), *words, output]) == 0
    made = pq.read_table(tmp_path / "b.parquet")
    assert made.select(["prompt", "n"]).equals(table)
    assert made["verdict"].to_pylist() == ["contaminated", "clean"]
    assert pq.read_table(tmp_path / "c.parquet").equals(made)


@pytest.mark.parametrize(
    ("against", "words", "said"),
    [
        ('{"q": "x"}\n', [], "row 1 has no text in 'question'; it has q (--against-field)"),
        ("", [], "no rows to compare with"),
        ('{"question": "a b c d e f g h"}\n{"question"', [], "test.jsonl:2: "),
        (None, [], "no such file"),
        (
            '{"question": "x"}\n',
            ["--field", "q=question"],
            "--field q=question: must be OURS=THEIRS",
        ),
    ],
    ids=["column", "empty", "cut", "missing", "field"],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    against: str | None,
    words: list[str],
    said: str,
) -> None:
    path = written(tmp_path / "train.jsonl", [{"question": ASKED}])
    if against is not None:
        (tmp_path / "test.jsonl").write_text(against)
    output = tmp_path / "out.jsonl"
    command = ["decontaminate", path, "--against", str(tmp_path / "test.jsonl"), *words]
    assert main([*command, "--output", str(output)]) in (1, 2)
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
    assert not list(tmp_path.glob("*out*")) and not list(tmp_path.glob(".*"))
