"""`heirloom verify`: a file of answers in, the same rows with verdicts out, no home touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cli import main

ROWS: list[dict[str, Any]] = [
    {
        "id": 1,
        "response": "<think>\nhm\n</think>\nIt is \\boxed{1{,}000}.",
        "expected_answer": "1000",
    },
    {"id": 2, "response": "\\boxed{3}", "expected_answer": 4},
    {"id": 3, "response": "\\boxed{1+\\cdots+9}", "expected_answer": "45"},
    {"id": 4, "answer": "0.5", "expected_answer": "1/2"},
    {"id": 5, "response": None, "expected_answer": "1"},
    {"id": 6, "response": "\\boxed{3}", "expected_answer": [3]},
    {"id": 7, "response": "no box", "expected_answer": "3"},
]
RIGHT = ["correct", "incorrect", "unknown", "correct", "unknown", "unknown", "incorrect"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def test_rows_come_back_with_verdicts(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(file), "--verifier", "math"]) == 0
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [row["verdict"] for row in rows] == RIGHT
    assert [{k: v for k, v in r.items() if k not in ("verdict", "evidence")} for r in rows] == ROWS
    assert "ellipsis" in rows[2]["evidence"] and "'expected_answer'" in rows[5]["evidence"]
    assert said.err.strip() == "7 rows = 2 correct + 2 incorrect + 3 unknown"


def test_parquet_stays_parquet(tmp_path: Path) -> None:
    table = pa.table({"gold": ["5", "6"], "said": ["\\boxed{5}", "\\boxed{5}"], "n": [1, 2]})
    pq.write_table(table, tmp_path / "a.parquet")
    fields = ["--field", "expected_answer=gold", "--field", "response=said"]
    output = tmp_path / "b.parquet"
    words = ["verify", str(tmp_path / "a.parquet"), "--verifier", "math", "--output", str(output)]
    assert main([*words, *fields]) == 0
    made = pq.read_table(output)
    assert made.select(table.column_names).equals(table)
    assert made["verdict"].to_pylist() == ["correct", "incorrect"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]


def test_lines_that_are_no_rows_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n{no\n" + json.dumps(ROWS[1]) + "\n")
    output = tmp_path / "b.jsonl"
    assert main(["verify", str(path), "--verifier", "math", "--output", str(output)]) == 0
    assert len(output.read_text().splitlines()) == 2
    said = capsys.readouterr().err
    assert f"{path}:2: not JSON" in said and "1 lines are no rows" in said


def test_every_verifier_of_the_registry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls = [{"name": "add", "arguments": {"a": 1}}]
    rows = {
        "science": {"response": "\\boxed{B}", "expected_answer": "B"},
        "tools": {
            "response": f"<TOOLCALL>{json.dumps(calls)}</TOOLCALL>",
            "expected_answer": calls,
        },
        "instructions": {
            "response": "no comma here",
            "metadata": {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
        },
    }
    for verifier, row in rows.items():
        path = tmp_path / f"{verifier}.jsonl"
        path.write_text(json.dumps(row) + "\n")
        assert main(["verify", str(path), "--verifier", verifier]) == 0
        assert json.loads(capsys.readouterr().out)["verdict"] == "correct", verifier


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nothing.jsonl", "--verifier", "math"], 1, "nothing.jsonl: no such file"),
        (["nothing.docx", "--verifier", "math"], 1, "no known format"),
        (["{file}", "--verifier", "maths"], 2, "must be one of math, code"),
        (["{file}", "--verifier", "math", "--field", "gold"], 2, "must be OURS=THEIRS"),
        (["{file}", "--verifier", "math", "--output", "x.parquet"], 2, "keep their format"),
    ],
)
def test_what_is_wrong_is_one_line(
    file: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    assert main(["verify", *[word.format(file=file) for word in words]]) == code
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1
