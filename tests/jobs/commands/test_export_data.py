"""`heirloom export` of SFT samples: columns, formats that others load, a card that adds up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import cli
from jobs.commands.export.data import PUBLISHED
from resources.store.home import Home
from warehouse.rows import PARENTS, with_ids
from warehouse.schemas import SCHEMAS
from warehouse.store import Artifact, Output, Request, Store

ANSWERS = ("\\boxed{4}", "<think>\n2+2\n</think>\n\n\\boxed{4}", 'say "é\u2028🙂" | \\n')


def samples(key: str, answers: tuple[str, ...]) -> pa.Table:
    """SFT samples that differ in their answers, one license each mode."""
    rows = [
        {
            "domain": "math",
            "input": [{"role": "user", "content": f"{n}: 2 + 2?"}],
            "output": said,
            "category": "math",
            "license": "MIT",
            "reasoning": "on" if said.startswith("<think>") else "off",
            "generator": "parents/teacher",
            "version": "v1",
            "system_prompt": None,
            "tokens": 3 + n,
        }
        for n, said in enumerate(answers)
    ]
    schema = pa.schema([f for f in SCHEMAS["sft_samples"] if f.name not in ("row_id", "parents")])
    made = pa.Table.from_pylist(rows, schema=schema)
    from_one = [{"row_id": b"\x07" * 16, "asset_key": "problems/math"}]
    return with_ids(made, key, ["output"], pa.array([from_one] * len(rows), PARENTS))


def built(home: Home, answers: tuple[str, ...], dropped: int, made: int | None = None) -> Artifact:
    """`sft_data/math` chosen from `made` answers, as the home of a run holds it."""
    store, key = Store(home.path), "sft_data/math"
    total = len(answers) + dropped if made is None else made
    generations = pa.table(
        {"row_id": pa.array([bytes(15) + bytes([n]) for n in range(total)], pa.binary(16))}
    )
    for name in (f.name for f in SCHEMAS["generations"] if f.name != "row_id"):
        kind = SCHEMAS["generations"].field(name).type
        generations = generations.append_column(name, pa.nulls(total, kind))
    whole = generations.select(["row_id"]).slice(0, dropped)
    lost = whole.append_column("reason", pa.array(["incorrect"] * dropped, pa.string()))
    for name in ("evidence", "matched_row_id"):
        lost = lost.append_column(name, pa.nulls(dropped, SCHEMAS["dropped"].field(name).type))

    def answer(*_: Any) -> Output:
        return Output(tables={"generations": generations})

    def select(
        workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: object
    ) -> Output:
        return Output(tables={"sft_samples": samples(key, answers), "dropped": lost})

    asked = store.build(Request(f"{key}_generations", None, answer, {}, {}, 0, code_version="1"))
    return store.build(Request(key, None, select, {"generations": asked}, {}, 0, code_version="1"))


def run(home: Home, *words: str) -> int:
    return cli.main(["export", "--home", str(home.path), "--recipe", "smoke", *words])


def test_the_formats_hold_the_same_rows(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = built(home, ANSWERS, dropped=2)
    for form in ("parquet", "jsonl", "datasets"):
        assert run(home, "sft_data", str(tmp_path / form), "--format", form) == 0
    said = capsys.readouterr().out
    assert "5 rows = 3 samples + 2 incorrect" in said and "3 samples as jsonl" in said

    rows = pq.read_table(tmp_path / "parquet" / "math.parquet").to_pylist()
    assert tuple(rows[0])[: len(PUBLISHED)] == PUBLISHED
    assert sorted(row["output"] for row in rows) == sorted(ANSWERS)
    held = artifact.table("sft_samples").to_pylist()
    assert [row["row_id"] for row in rows] == [row["row_id"].hex() for row in held]
    assert {row["data_version"] for row in rows} == {artifact.data_version}
    assert rows[0]["parents"] == [{"row_id": "07" * 16, "asset_key": "problems/math"}]
    lines = (tmp_path / "jsonl" / "math.jsonl").read_text().removesuffix("\n").split("\n")
    assert [json.loads(line) for line in lines] == rows

    from datasets import load_dataset, load_from_disk

    for folder in ("parquet", "jsonl"):
        cache = str(tmp_path / "cache")
        loaded = load_dataset(str(tmp_path / folder), "math", split="train", cache_dir=cache)
        assert loaded["output"] == [row["output"] for row in rows]
    assert load_from_disk(tmp_path / "datasets" / "math")["row_id"] == [r["row_id"] for r in rows]


def test_the_card_adds_up(home: Home, tmp_path: Path) -> None:
    built(home, ANSWERS, dropped=2)
    assert run(home, "sft_data/math", str(tmp_path / "out")) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\nconfigs:\n- config_name: math\n")
    assert "| math | 5 | 3 | 2 |" in card and "| all | 5 | 3 | 2 |" in card
    assert "| math | MIT | parents/teacher | off | 2 | 8 |" in card
    assert "| math | MIT | parents/teacher | on | 1 | 4 |" in card


def test_rows_that_nobody_accounts_for_are_no_export(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built(home, ANSWERS, dropped=2, made=7)
    assert run(home, "sft_data", str(tmp_path / "out")) == 1
    assert "7 rows = 3 samples + 2 incorrect: some rows are not" in capsys.readouterr().err
    assert list(tmp_path.glob("out*")) == []


def test_no_samples_are_an_empty_file(home: Home, tmp_path: Path) -> None:
    built(home, (), dropped=2)
    assert run(home, "sft_data/math", str(tmp_path / "out")) == 0
    assert pq.read_table(tmp_path / "out" / "math.parquet").num_rows == 0
    assert run(home, "sft_data/math", str(tmp_path / "out"), "--format", "jsonl") == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "README.md",
        "heirloom.json",
        "math.jsonl",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "padded"], "sft_data/math is SFT samples: --format parquet or jsonl"),
        (["--no-verify"], "--no-verify is for checkpoints"),
    ],
)
def test_options_of_checkpoints_are_refused(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    built(home, ANSWERS, dropped=0)
    assert run(home, "sft_data/math", str(tmp_path / "out"), *words) == 1
    assert said in capsys.readouterr().err


def test_a_home_without_samples_says_so(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(home, "sft_data", str(tmp_path / "out")) == 1
    assert "no SFT samples" in capsys.readouterr().err
