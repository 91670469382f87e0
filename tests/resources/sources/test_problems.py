"""Problems of every published shape are read, and no value becomes text by guess."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.sources import shards
from resources.sources.problems import without_repeated
from resources.sources.reading import read
from tests.resources.sources.reading import rows, source

SHARED = Path(__file__).resolve().parents[4] / "shared"
REAL = Path(os.environ.get("HEIRLOOM_SHARED_DATA", SHARED / "data"))
CASES = SHARED / "cases" / "rows.jsonl"
FIELDS = {"question": "q", "expected_answer": "a"}


def problems(
    folder: Path, content: bytes, fields: dict[str, str] | None = None, **given: Any
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Problems kept and rows rejected of a file with these bytes."""
    name = given.pop("name", "a.jsonl")
    (folder / name).write_bytes(content)
    given = {"verifier": "math"} | given
    kept, lost = rows(
        folder, source(name, "problems", fields=FIELDS if fields is None else fields, **given)
    )
    return [problem for problem, _ in kept], lost


def line(row: Any) -> bytes:
    return (row if isinstance(row, str) else json.dumps(row)).encode() + b"\n"


@pytest.mark.parametrize(
    "written, answer",
    [
        ('"12"', "12"),
        ("12", "12"),
        ("-3", "-3"),
        ("0.1", "0.1"),
        ("0.10", "0.10"),
        ("10000000000000001", "10000000000000001"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("1e400", "1e400"),
        ("1.50E+3", "1.50E+3"),
        ('"so\\n#### 1,002"', "1002"),
        ('" 7 "', " 7 "),
    ],
)
def test_an_answer_is_a_text_or_a_number_as_it_was_written(
    tmp_path: Path, written: str, answer: str
) -> None:
    kept, lost = problems(tmp_path, f'{{"q": "How much?", "a": {written}}}\n'.encode())
    assert not lost and [each["expected_answer"] for each in kept] == [answer]


BAD = [
    ({"q": "How much?", "a": None}, "a", "no answer"),
    ('{"q": "How much?", "a": NaN}', "a", "not a number"),
    ('{"q": "How much?", "a": -Infinity}', "a", "not a number"),
    ({"q": "How much?", "a": ["2", "two"]}, "a", "is a list; give one answer a row"),
    ({"q": "How much?", "a": {"value": 2}}, "a", "must be text or a number, is dict"),
    ({"q": "How much?", "a": True}, "a", "must be text or a number, is bool"),
    ({"q": "How much?", "a": ""}, "a", "empty"),
    ({"q": "How much?", "a": "  "}, "a", "empty"),
    ({"q": "How much?"}, "a", "no such field; there are q"),
    ({"q": 3, "a": "2"}, "q", "must be text, is int"),
    ({"q": None, "a": "2"}, "q", "must be text, is null"),
    ({"q": ["x"], "a": "2"}, "q", "must be text, is list"),
    ({"q": "", "a": "2"}, "q", "empty"),
    ({"q": "x\0y", "a": "2"}, "q", "a NUL at character 2"),
    ('{"q": "x \\ud800 y", "a": "1"}', "q", "lone surrogate"),
    ('{"q": "x", "a": "\\udc00"}', "a", "lone surrogate"),
    ('{"q": "x", "a": ' + "9" * 5000 + "}", "a", "a number of 5000 digits"),
    ("[]", "", "must be a JSON object"),
    ('{"q": "x", "a"', "", "not JSON"),
]


@pytest.mark.parametrize("row, field, reason", BAD)
def test_what_is_no_problem_is_a_rejected_row(
    tmp_path: Path, row: Any, field: str, reason: str
) -> None:
    good = line({"q": "1+1?", "a": "2"})
    kept, lost = problems(tmp_path, good + line(row) + good)
    assert [each["question"] for each in kept] == ["1+1?"] * 2
    assert [(each["line"], each["field"]) for each in lost] == [(2, field)]
    assert reason in lost[0]["reason"]


def test_bytes_of_another_encoding_cost_their_row(tmp_path: Path) -> None:
    foreign = bytes.fromhex("7b2271223a22636166e9222c2261223a2231227d0a")
    kept, lost = problems(tmp_path, foreign + line({"q": "1+1?", "a": "2"}))
    assert len(kept) == 1 and lost[0]["line"] == 1 and "not UTF-8 at byte" in lost[0]["reason"]


@pytest.mark.parametrize(
    "options, answer, asked, letter",
    [
        (["red", "green"], "B", "A=red B=green", "B"),
        (["red", "green"], 1, "A=red B=green", "B"),
        (["red", "green"], "green", "A=red B=green", "B"),
        ({"text": ["Rome", "Paris"], "label": ["A", "B"]}, "B", "A=Rome B=Paris", "B"),
        ({"A": "Rome", "B": "Paris"}, "A", "A=Rome B=Paris", "A"),
        ('["A) 21", "B) 22"]', "B", "A=21 B=22", "B"),
        ([True, False], False, "A=True B=False", "B"),
        ([0.10, 10000000000000001], 0, "A=0.1 B=10000000000000001", "A"),
    ],
)
def test_choices_become_letters(
    tmp_path: Path, options: Any, answer: Any, asked: str, letter: str
) -> None:
    fields = {"question": "q", "choices": "c", "expected_answer": "a"}
    row = {"q": "Which?", "c": options, "a": answer}
    kept, lost = problems(tmp_path, line(row), fields, verifier="science")
    assert not lost
    assert (kept[0]["question"], kept[0]["expected_answer"]) == (f"Which? {asked}", letter)


@pytest.mark.parametrize(
    "row, field",
    [
        ({"c": ["x"], "a": 0}, "c"),
        ({"c": ["x", None], "a": 0}, "c"),
        ({"c": "x or y", "a": 0}, "c"),
        ({"c": None, "a": 0}, "c"),
        ({"c": ["x", "\0"], "a": 0}, "c"),
        ({"c": ["x", "y"], "a": 2}, "a"),
        ({"c": ["x", "y"], "a": None}, "a"),
        ({"c": ["x", "y"], "a": [0]}, "a"),
        ({"c": ["x", "y"], "a": 1e300}, "a"),
    ],
)
def test_choices_that_mean_nothing_are_rejected(tmp_path: Path, row: Any, field: str) -> None:
    fields = {"question": "q", "choices": "c", "expected_answer": "a"}
    kept, lost = problems(tmp_path, line({"q": "Which?"} | row), fields, verifier="science")
    assert not kept and [each["field"] for each in lost] == [field]


def test_tests_are_a_program_or_the_json_of_data(tmp_path: Path) -> None:
    fields = {"question": "q", "tests": "t"}
    pairs = {"inputs": ["1\n"], "outputs": ["2\n"]}
    given: list[Any] = ["assert f(1) == 2", ["assert f(1) == 2", "assert f(2) == 3"], pairs]
    bad: list[Any] = [None, "", [], 3, True]
    content = b"".join(line({"q": "Write f.", "t": tests}) for tests in given + bad)
    kept, lost = problems(tmp_path, content, fields, verifier="code")
    assert [each["tests"] for each in kept] == [
        "assert f(1) == 2",
        "assert f(1) == 2\nassert f(2) == 3",
        json.dumps(pairs),
    ]
    assert [each["field"] for each in lost] == ["t"] * len(bad)


def test_calls_and_metadata_are_kept_as_json(tmp_path: Path) -> None:
    fields = {"question": "q", "expected_answer": "a", "metadata.tools": "tools", "id": "id"}
    call = '[{"name": "f", "arguments": {"x": 0.10}}]'
    content = f'{{"q": "Call f.", "a": {call}, "tools": [{{"name": "f"}}], "id": 7}}\n'.encode()
    kept, _ = problems(tmp_path, content, fields, verifier="tools")
    assert kept[0]["expected_answer"] == call
    assert kept[0]["metadata"] == '{"tools": [{"name": "f"}]}' and kept[0]["id"] == "7"
    for metadata, read_as in (
        ({"b": 1, "a": [None]}, '{"a": [null], "b": 1}'),
        ('{"a": 0.10}', '{"a": 0.10}'),
        (None, "{}"),
        ("", "{}"),
    ):
        content = line({"q": "Call f.", "m": metadata})
        kept, lost = problems(tmp_path, content, {"question": "q", "metadata": "m"})
        assert not lost and kept[0]["metadata"] == read_as
    for wrong in (["a"], "plain", "[1]", 3, '{"a": NaN}'):
        content = line({"q": "Call f.", "m": wrong})
        kept, lost = problems(tmp_path, content, {"question": "q", "metadata": "m"})
        assert not kept and lost[0]["field"] == "m"


def test_a_difficulty_is_a_whole_number(tmp_path: Path) -> None:
    fields = {"question": "q", "difficulty": "d"}
    given: list[Any] = [3, 3.0, "3", None, "", 0.7, "Level 5", True, 1 << 40]
    content = b"".join(line({"q": "How?", "d": each}) for each in given)
    kept, lost = problems(tmp_path, content, fields)
    assert [each["difficulty"] for each in kept] == [3, 3, 3, None, None]
    assert [each["line"] for each in lost] == [6, 7, 8, 9]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    answers = [
        (pa.array([2, None], pa.int64()), ["2"]),
        (pa.array([0.1, float("nan")], pa.float64()), ["0.1"]),
        (pa.array([0.1, None], pa.float32()), ["0.1"]),
        (pa.array([Decimal("1.50"), None], pa.decimal128(9, 2)), ["1.50"]),
        (pa.array([["2"], None], pa.list_(pa.string())), []),
        (pa.array([b"2", None], pa.binary()), []),
        (pa.array([0, None], pa.date32()), []),
    ]
    for column, expected in answers:
        pq.write_table(pa.table({"q": ["How?", "Why?"], "a": column}), tmp_path / "p.parquet")
        kept, lost = rows(tmp_path, source("p.parquet", "problems", verifier="math", fields=FIELDS))
        assert [problem["expected_answer"] for problem, _ in kept] == expected
        assert len(lost) == 2 - len(expected)
    nested = pa.table({"q": ["How?"], "extra": [{"a": "7", "b": 1}]})
    pq.write_table(nested, tmp_path / "p.parquet")
    fields = {"question": "q", "expected_answer": "extra.a"}
    kept, _ = rows(tmp_path, source("p.parquet", "problems", verifier="math", fields=fields))
    assert kept[0][0]["expected_answer"] == "7"


def test_without_fields_the_columns_bear_our_names(tmp_path: Path) -> None:
    row = {"question": "How much?", "expected_answer": 7, "other": None, "domain": "algebra"}
    kept, _ = problems(tmp_path, line(row), {})
    assert kept[0]["expected_answer"] == "7"
    pq.write_table(pa.Table.from_pylist([row | {"other": 1}]), tmp_path / "p.parquet")
    kept, _ = rows(tmp_path, source("p.parquet", "problems", verifier="math"))
    assert kept[0][0]["expected_answer"] == "7"


def test_an_id_stands_once(tmp_path: Path) -> None:
    content = b"".join(line({"q": f"{n}?", "n": each}) for n, each in enumerate(["a", 1, "a", "1"]))
    (tmp_path / "a.jsonl").write_bytes(content)
    fields = {"question": "q", "id": "n"}
    declared = source("a.jsonl", "problems", verifier="math", fields=fields)
    (shard,) = shards.shards(declared, tmp_path, tmp_path)
    (batch,) = read(declared, shard)
    found = without_repeated(batch, "n", {})
    assert [each["id"] for each in found.kept.column("problem").to_pylist()] == ["a", "1"]
    assert found.rows == 4
    assert found.rejected.column("reason").to_pylist() == [
        "the same id as a.jsonl:1",
        "the same id as a.jsonl:2",
    ]


def odd_lines(count: int) -> list[bytes]:
    """Seeded lines of every malformed kind among good ones."""
    draw = Random(20250502)
    values = ["null", "NaN", "Infinity", "7", "0.10", "true", "[]", '["a"]', "{}", '""', '" "']
    values += ['"a\\u0000b"', '"\\ud800"', '"ok"', "1e999", "9" * 5000, '"' + "x" * 9999 + '"']
    whole = [
        b"",
        b"null",
        b"[1]",
        b"{",
        b'{"q": "x"',
        b'{"q": "caf\xe9", "a": "1"}',
        b"\x00",
        b"\xff\xfe",
    ]
    whole += [b"[" * 5000, b'{"q": 1} {"q": 2}', b'{"q": "x", "a": "1",}', b"\xef\xbb\xbf{}"]
    made = []
    for _ in range(count):
        if draw.random() < 0.3:
            made.append(draw.choice(whole))
        else:
            pair = {"q": draw.choice(values), "a": draw.choice(values)}
            names = draw.choice([("q", "a"), ("q",), ("a",), ("q", "a", "q")])
            made.append(("{" + ", ".join(f'"{n}": {pair[n]}' for n in names) + "}").encode())
    return made


def test_a_malformed_corpus_is_accounted_for_to_the_row(tmp_path: Path) -> None:
    lines = odd_lines(int(os.environ.get("HEIRLOOM_MALFORMED_ROWS", "300")))
    kept, lost = problems(tmp_path, b"\n".join(lines))
    there = [number for number, text in enumerate(lines, 1) if text.strip()]
    told = [each["line"] for each in lost]
    assert len(kept) + len(lost) == len(there) and set(told) <= set(there)
    assert all(each["reason"] and each["value"].encode() is not None for each in lost)
    for each in kept:
        assert each["question"] in ("ok", "x" * 9999)
        assert each["expected_answer"] in ("7", "0.10", "1e999", "ok", "x" * 9999)


@pytest.mark.skipif(not CASES.is_file(), reason=f"no cases at {CASES}")
def test_the_cases_that_failed_are_right(tmp_path: Path) -> None:
    right = 0
    for case in map(json.loads, CASES.read_text().splitlines()):
        raw = bytes.fromhex(case["row_bytes_hex"]) if "row_bytes_hex" in case else None
        content = raw or line(case.get("row_text") or case["row"])
        verifier = "science" if "choices" in case.get("fields", {}) else "math"
        kept, lost = problems(tmp_path, content, case.get("fields"), verifier=verifier)
        if case["right"].startswith("choices"):
            assert kept[0]["question"].endswith("A=Rome B=Paris")
            assert kept[0]["expected_answer"] == "B"
        else:
            assert not kept and lost[0]["line"] == 1 and lost[0]["reason"]
        right += 1
    assert right


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real data at {REAL}")
@pytest.mark.parametrize(
    ("verifier", "path", "fields", "count"),
    [
        ("math", "gsm8k/test.jsonl", {"question": "question", "expected_answer": "answer"}, 1319),
        ("code", "mbpp/mbpp.jsonl", {"question": "text", "tests": "test_list"}, 974),
        (
            "science",
            "mmlu_stem/test.jsonl",
            {
                "question": "question",
                "choices": "choices",
                "expected_answer": "answer",
                "subtopic": "type",
            },
            3018,
        ),
    ],
)
def test_public_data_is_read_whole(
    verifier: str, path: str, fields: dict[str, str], count: int
) -> None:
    kept, lost = rows(REAL, source(path, "problems", verifier=verifier, fields=fields))
    assert len(kept) == count and not lost
    assert all(problem["expected_answer"] or problem["tests"] for problem, _ in kept)
