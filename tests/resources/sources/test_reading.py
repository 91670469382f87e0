"""Every row is kept or rejected with its file, line and reason, whatever shape the file has."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.sources import shards
from resources.sources.account import Account, SourceError
from resources.sources.reading import read
from tests.resources.sources.reading import rows, source, texts

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases"


LINES = b'{"text": "one"}\n{"text": "two"}\n'


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.jsonl", LINES),
        ("a.jsonl", b"\xef\xbb\xbf" + LINES),
        ("a.jsonl", LINES.replace(b"\n", b"\r\n")),
        ("a.jsonl", b"\n\n" + LINES.rstrip() + b"\n \n"),
        ("a.jsonl.gz", gzip.compress(LINES, mtime=0)),
        ("a.jsonl.gz", gzip.compress(LINES[:16], mtime=0) + gzip.compress(LINES[16:], mtime=0)),
        ("a.jsonl.zst", pa.compress(LINES, codec="zstd", asbytes=True)),
        ("a.json", b'[{"text": "one"}, {"text": "two"}]'),
        ("a.json", b'\xef\xbb\xbf [\r\n {"text": "one"},\r\n {"text":\n "two"}\n]\n'),
        ("a.json", LINES),
        ("a.jsonl", b'[{"text": "one"}, {"text": "two"}]'),
        ("a.json.gz", gzip.compress(b'[{"text": "one"}, {"text": "two"}]', mtime=0)),
    ],
)
def test_shapes_that_people_have_give_the_same_rows(
    tmp_path: Path, name: str, content: bytes
) -> None:
    assert texts(tmp_path, name, content) == ["one", "two"]


def test_parquet_and_plain_text(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    for number, text in enumerate(["one", "two"]):
        pq.write_table(pa.table({"body": [text]}), folder / f"{number}.parquet")
    kept, lost = rows(tmp_path, source("shards", fields={"text": "body"}))
    assert [text for text, _ in kept] == ["one", "two"] and not lost
    told = b"a\r\nb\r\n\r\n\r\nc\r\n"
    assert texts(tmp_path, "t.txt", told) == ["a\nb\n\n\nc"]
    assert texts(tmp_path, "t.txt", told, document="paragraph") == ["a\nb", "c"]
    assert texts(tmp_path, "t.txt", told, document="line") == ["a", "b", "c"]
    assert texts(tmp_path, "t.py", b"x = 1\n", format="text") == ["x = 1"]


def test_latin_1_is_declared_or_refused_with_its_line(tmp_path: Path) -> None:
    content = '{"text": "ok"}\n{"text": "café"}\n'.encode("latin-1")
    assert texts(tmp_path, "a.jsonl", content, encoding="latin-1") == ["ok", "café"]
    kept, lost = rows(tmp_path, source("a.jsonl"))
    assert [text for text, _ in kept] == ["ok"]
    assert (lost[0]["file"], lost[0]["line"]) == ("a.jsonl", 2)
    assert "UTF-8 at byte 14" in lost[0]["reason"] and "latin-1" in lost[0]["reason"]
    (tmp_path / "b.txt").write_bytes(b"good\nna\xefve\n")
    _, lost = rows(tmp_path, source("b.txt"))
    assert lost[0]["line"] == 2
    (tmp_path / "c.json").write_bytes(b'[{"text": "ok"},\n{"text": "caf\xe9"},\n{"text": "b"}]')
    kept, lost = rows(tmp_path, source("c.json"))
    assert [text for text, _ in kept] == ["ok", "b"] and lost[0]["line"] == 2


BAD = [
    ('{"text": null}', "text", "null", "must be text, is null"),
    ('{"text": ["a", "b"]}', "text", '["a", "b"]', "must be text, is list"),
    ('{"text": 3}', "text", "3", "must be text, is int"),
    ('{"text": ""}', "text", '""', "empty"),
    ('{"text": "x", "n": NaN}', "n", "NaN", "not a number"),
    ('{"text": "x", "n": {"m": [0, -Infinity]}}', "n.m[1]", "-Infinity", "not a number"),
    ('{"other": "x"}', "text", "null", "no such field; there are other"),
    ('{"text": "x \\ud800 y"}', "text", "x \\ud800 y", "lone surrogate"),
    ('{"text": "x \\udc00 y"}', "text", "x \\udc00 y", "lone surrogate"),
    ('{"text": "x"', "", "", "not JSON"),
    ('{"text": "x"} {"text": "y"}', "", "", "not JSON"),
    ("null", "", "null", "must be a JSON object"),
    ("[1]", "", "[1]", "must be a JSON object"),
    ('{"text": "x", "n": [1, ' + "9" * 5000 + "]}", "n[1]", "999", "a number of 5000 digits"),
    ('{"text": "x", "n": ' + "[" * 9999 + "]" * 9999 + "}", "", "", "nested too deeply"),
    ('{"text": "a\tb"}', "", "", "not JSON"),
]


@pytest.mark.parametrize("line, field, value, reason", BAD)
def test_a_row_that_does_not_fit_is_dropped_alone(
    tmp_path: Path, line: str, field: str, value: str, reason: str
) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"text": "before"}}\n{line}\n{{"text": "after"}}\n')
    kept, lost = rows(tmp_path, source("a.jsonl"))
    assert kept == [("before", 1), ("after", 3)]
    assert len(lost) == 1 and lost[0]["line"] == 2 and lost[0]["field"] == field
    assert value in lost[0]["value"] and reason in lost[0]["reason"]
    assert lost[0]["value"].encode()


def test_a_truncated_last_line_is_one_dropped_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{"text": "1+1?","a"')
    kept, lost = rows(tmp_path, source("a.jsonl"))
    assert kept == [("x", 1)] and lost[0]["line"] == 2
    (tmp_path / "b.json").write_text('[{"text": "x"},\n{"text": "1+1?", "a"')
    kept, lost = rows(tmp_path, source("b.json"))
    assert kept == [("x", 1)] and lost[0]["line"] == 2


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("a.json", b'[{"text": "x"}\n{"text": "y"}]', "a.json:2: not JSON: no comma"),
        ("a.json", b'[{"text": "x"},\n{"text" "y"}, {"text": "z"}, {"text": "w"}]', ":2: not JSON"),
        ("a.json", b'[{"text": "x"}] more', "text after the array"),
        ("a.jsonl.gz", gzip.compress(LINES * 99, mtime=0)[:-30], "cannot be read to its end"),
        ("a.jsonl", "text".encode("utf-16"), "UTF-16"),
        ("a.tsv", b"text\nx\n", "no known format"),
        ("a.parquet", b"PAR1 no", "not readable Parquet"),
        ("a.json", b'[] {"text": "x"}', "text after the array"),
        ("a.jsonl", gzip.compress(LINES, mtime=0), "its name must end in .gz"),
        ("a.jsonl.gz", gzip.compress(gzip.compress(LINES, mtime=0), mtime=0), "compressed twice"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError) as error:
        rows(tmp_path, source(name))
    assert words in str(error.value) and name in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_files_columns_and_types_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        rows(tmp_path, source("nothing.jsonl"))
    with pytest.raises(SourceError, match="no file matches"):
        rows(tmp_path, source("*.jsonl"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no file of a known format"):
        rows(tmp_path, source("empty"))
    pq.write_table(pa.table({"body": ["x"], "n": [[1]]}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="no column 'text'; it has body, n"):
        rows(tmp_path, source("a.parquet"))
    with pytest.raises(SourceError, match="column 'n' is list"):
        rows(tmp_path, source("a.parquet", fields={"text": "n"}))


@pytest.mark.parametrize("first", ["[]", "[1, 2]", '[{"text": "x"}]'])
def test_a_first_row_that_is_an_array_makes_no_array_of_the_file(
    tmp_path: Path, first: str
) -> None:
    (tmp_path / "a.jsonl").write_text(f'{first}\n{{"text": "after"}}\n')
    kept, lost = rows(tmp_path, source("a.jsonl"))
    assert kept == [("after", 2)] and lost[0]["reason"] == "each row must be a JSON object"


def test_one_row_of_parquet_that_python_cannot_hold_costs_no_other(tmp_path: Path) -> None:
    foreign = pa.array([b"a?", b"\xff\xfe", b"c?"], pa.binary()).view(pa.string())
    answers = pa.array(["a", "b", "c"], pa.string_view())
    pq.write_table(pa.table({"p": foreign, "r": answers}), tmp_path / "c.parquet")
    fields = {"prompt": "p", "response": "r"}
    kept, lost = rows(tmp_path, source("c.parquet", "conversations", fields=fields))
    assert [line for _, line in kept] == [1, 3]
    assert [(row["line"], row["field"], row["reason"]) for row in lost] == [(2, "p", "not UTF-8")]
    pq.write_table(pa.table({"text": answers}), tmp_path / "t.parquet")
    assert [text for text, _ in rows(tmp_path, source("t.parquet"))[0]] == ["a", "b", "c"]
    twice = pa.Table.from_arrays([answers, answers], names=["text", "text"])
    pq.write_table(twice, tmp_path / "t.parquet")
    with pytest.raises(SourceError, match="2 columns 'text'"):
        rows(tmp_path, source("t.parquet"))


def test_parquet_rows_that_do_not_fit_are_dropped(tmp_path: Path) -> None:
    foreign = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\4\0\0\0"), pa.py_buffer(b"caf\xe9")]
    )
    column = pa.chunked_array([pa.array(["a", None, " "]), foreign, pa.array(["b"])])
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    kept, lost = rows(tmp_path, source("a.parquet"))
    assert kept == [("a", 1), ("b", 5)]
    assert [(row["line"], row["reason"]) for row in lost] == [
        (2, "must be text, is null"),
        (3, "empty"),
        (4, "not UTF-8"),
    ]


def test_too_many_drops_stop_with_counts_and_examples(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n' * 98 + '{"text": null}\n{"text": 1}\n')
    declared = source("a.jsonl", max_drop="1%")
    account = Account("mine")
    for shard in shards.shards(declared, tmp_path, tmp_path):
        for batch in read(declared, shard):
            account.add(batch)
    assert (account.rows, account.kept, account.dropped) == (100, 98, 2)
    assert account.summary().to_pylist() == [
        {"source": "mine", "rows_in": 100, "kept": 98, "dropped": 2}
    ]
    account.judge(0.02)
    with pytest.raises(SourceError) as error:
        account.judge(declared.max_drop)
    assert "2 of 100 rows" in str(error.value) and "a.jsonl:99: text" in str(error.value)
    with pytest.raises(SourceError, match="0 rows"):
        Account("none").judge(0.5)


def test_limit_keeps_the_first_rows(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text(
            "".join(f'{{"text": "{name}{i}"}}\n' for i in range(5)) + "bad\n"
        )
    kept, lost = rows(tmp_path, source("*.jsonl", limit=7))
    assert [text for text, _ in kept] == ["a0", "a1", "a2", "a3", "a4", "b0", "b1"]
    assert [row["file"] for row in lost] == ["a.jsonl"]


def test_no_two_rows_of_an_array_have_one_number(tmp_path: Path) -> None:
    """Rows that say the same are told apart by it, whether the array has line ends or not."""
    same = '{"text": "x"}'
    for written, numbers in [
        (f"[{same}, {same}, null, {same}]", [1, 2, 4]),
        (f"[\n\n{same},\n{same}\n, {same}]", [3, 4, 5]),
        (f"[{same}, {same},\n{same}, {same}]", [1, 2, 3, 4]),
    ]:
        (tmp_path / "a.json").write_text(written)
        kept, lost = rows(tmp_path, source("a.json"))
        assert [line for _, line in kept] == numbers
        assert all(row["line"] == 3 for row in lost)


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
def test_every_shared_case_of_text_and_conversations(tmp_path: Path) -> None:
    """Rows of `rows.jsonl` as text: each is one dropped row, and the others are loaded."""
    for number, line in enumerate((CASES / "rows.jsonl").read_text().splitlines()):
        case = json.loads(line)
        if "row_bytes_hex" in case:
            raw = bytes.fromhex(case["row_bytes_hex"]).rstrip()
        elif "row_text" in case:
            raw = case["row_text"].encode()
        else:
            raw = json.dumps(case["row"]).encode()
        column = "ch" if "ch" in case.get("row", {}) else "a" if b'"a"' in raw else "q"
        if b"ud800" in raw or b"\xe9" in raw:
            column = "q"
        name = f"{number}.jsonl"
        good = json.dumps({column: "fine"}).encode()
        (tmp_path / name).write_bytes(good + b"\n" + raw + b"\n" + good + b"\n")
        kept, lost = rows(tmp_path, source(name, fields={"text": column}))
        assert [row for _, row in kept] == [1, 3], case
        assert (lost[0]["file"], lost[0]["line"]) == (name, 2), case


@pytest.mark.parametrize("folder", ["c4", "alpaca", "tools_glaive"])
def test_public_files(folder: str) -> None:
    data = CASES.parent / "data" / folder
    if not data.is_dir():
        pytest.skip("the public data are not here")
    alpaca = {"prompt": "instruction", "query": "input", "response": "output"}
    glaive = {"messages": "conversations", "role": "from", "content": "value"}
    declared = {
        "c4": source("*.json"),
        "alpaca": source("*.json", "conversations", fields=alpaca),
        "tools_glaive": source("*.json", "conversations", fields=glaive),
    }[folder]
    kept, lost = rows(data, declared)
    counts = {"c4": (300, 0), "alpaca": (1000, 0), "tools_glaive": (300, 0)}
    assert (len(kept), len(lost)) == counts[folder], lost[:3]
