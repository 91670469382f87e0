"""Real data enters with a declared mapping; what does not fit is refused with file and line."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.tasks import incoming
from resources.tasks.loaders import LoadError, load

REAL = Path(os.environ.get("HEIRLOOM_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_declared_mapping_is_applied(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"q": "1+1?", "a": "so\n#### 1,002"}])
    table = load(
        {
            "format": "jsonl",
            "path": str(path),
            "fields": {"question": "q", "expected_answer": "a"},
            "license": "MIT",
        },
        "math",
    )
    row = table.to_pylist()[0]
    assert (row["question"], row["expected_answer"], row["license"]) == ("1+1?", "1002", "MIT")


@pytest.mark.parametrize("answer", ["B", 1, "1", "green"])
def test_choices_become_letters(tmp_path: Path, answer: object) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"q": ["Grass?"], "c": [["red", "green"]], "a": [answer]}), path)
    fields = {"question": "q", "choices": "c", "expected_answer": "a"}
    row = load({"format": "parquet", "path": str(path), "fields": fields}, "science").to_pylist()[0]
    assert row["question"] == "Grass? A=red B=green"
    assert row["expected_answer"] == "B"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"format": "jsonl", "path": "none.jsonl"}, "no such file"),
        ({"format": "csv", "path": "a.jsonl"}, "format 'csv' is unknown"),
        ({"format": "jsonl", "path": "a.jsonl", "fields": {"question": "x"}}, "no field 'x'"),
        ({"format": "jsonl", "path": "a.jsonl", "fields": {"quest": "q"}}, "unknown field 'quest'"),
        (
            {"format": "jsonl", "path": "b.jsonl", "fields": {"question": "q"}},
            "b.jsonl:1: not JSON",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, source: dict[str, object], message: str
) -> None:
    write(tmp_path / "a.jsonl", [{"q": "1+1?"}])
    (tmp_path / "b.jsonl").write_text("{oops\n")
    with pytest.raises(LoadError, match=message):
        load(source, "math", base=tmp_path)


def test_dropped_files_concern_the_domains_they_hold(tmp_path: Path) -> None:
    own = write(tmp_path / "math" / "a.jsonl", [{"question": "1+1?", "expected_answer": "2"}])
    mixed = write(
        tmp_path / "mixed.jsonl",
        [
            {"question": "2+2?", "expected_answer": "4", "domain": "math"},
            {"question": "sort", "tests": "assert solve([1]) == [1]", "domain": "code"},
        ],
    )
    assert incoming.files(tmp_path, "math") == [own, mixed]
    assert incoming.files(tmp_path, "code") == [mixed]
    assert incoming.files(tmp_path, "science") == []
    assert incoming.read([own, mixed], "math").column("question").to_pylist() == ["1+1?", "2+2?"]


def test_a_dropped_line_without_a_question_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "math" / "a.jsonl", [{"quest": "1+1?"}])
    with pytest.raises(LoadError, match=r"a\.jsonl:1: no field 'question'"):
        incoming.read([path], "math")


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real data at {REAL}")
@pytest.mark.parametrize(
    ("domain", "source", "rows"),
    [
        (
            "math",
            {
                "path": "gsm8k/test.jsonl",
                "fields": {"question": "question", "expected_answer": "answer"},
            },
            1319,
        ),
        (
            "code",
            {"path": "mbpp/mbpp.jsonl", "fields": {"question": "text", "tests": "test_list"}},
            974,
        ),
        (
            "science",
            {
                "path": "mmlu_stem/test.jsonl",
                "fields": {
                    "question": "question",
                    "choices": "choices",
                    "expected_answer": "answer",
                    "subtopic": "type",
                },
            },
            3018,
        ),
    ],
)
def test_public_data_loads(domain: str, source: dict[str, object], rows: int) -> None:
    table = load({"format": "jsonl", **source}, domain, base=REAL)
    assert table.num_rows == rows
    first = table.to_pylist()[0]
    assert first["question"]
    assert first["expected_answer"] or first["tests"]
