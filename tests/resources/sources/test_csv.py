"""Rows of CSV files: by the names of the header, each text as it stands, each with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from resources.sources.account import SourceError
from tests.resources.sources.reading import rows, source

PAIR = {"prompt": "p", "response": "r"}


def test_values_are_texts_as_they_were_written(tmp_path: Path) -> None:
    content = '\ufeffq,a\r\n"one, two\nand ""three""",0.10\r\n\r\nfour,10000000000000001\r\n'
    (tmp_path / "a.csv").write_text(content, newline="")
    fields = {"question": "q", "expected_answer": "a"}
    kept, lost = rows(tmp_path, source("a.csv", "problems", verifier="math", fields=fields))
    assert not lost
    assert [(each["question"], each["expected_answer"], line) for each, line in kept] == [
        ('one, two\nand "three"', "0.10", 2),
        ("four", "10000000000000001", 5),
    ]


def test_every_kind_reads_them_compressed_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text,n\none,1\n,2\n", mtime=0))
    kept, lost = rows(tmp_path, source("a.csv.gz"))
    assert kept == [("one", 2)] and [each["reason"] for each in lost] == ["empty"]
    (tmp_path / "b.csv").write_text("p,r\nHi,Hello\n")
    kept, _ = rows(tmp_path, source("b.csv", "conversations", fields=PAIR))
    assert [turn["content"] for turn in kept[0][0]] == ["Hi", "Hello"]


def test_a_row_that_does_not_fit_is_rejected_alone(tmp_path: Path) -> None:
    content = (
        b'text,n\nbefore,1\nmore,2,3\nless\n"a"b,4\ncaf\xe9,5\na\x00b,6\nafter,7\n"open,8\nend,9'
    )
    (tmp_path / "a.csv").write_bytes(content)
    kept, lost = rows(tmp_path, source("a.csv"))
    assert kept == [("before", 2), ("after", 8)]
    why = {each["line"]: each["reason"] for each in lost}
    assert why.keys() == {3, 4, 5, 6, 7, 9}
    assert why[3] == "3 values, but 2 names in the first line"
    assert why[5].startswith("not CSV") and why[9].startswith("not CSV")
    assert "foreign byte" in why[6] and "NUL" in why[7]


@pytest.mark.parametrize(
    "content, words",
    [
        ("", "no names of columns"),
        ("\n\n", "no names of columns"),
        ("a,b,a\n1,2,3\n", "2 columns 'a'; rename one"),
        ('"a\n', "not CSV"),
    ],
)
def test_a_file_without_sound_names_is_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(SourceError, match=words):
        rows(tmp_path, source("a.csv"))
