"""`heirloom evaluate` on a folder: the score with its interval, and one line where it cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs.cli import main
from resources.pretrained.source import BUNDLED


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("HEIRLOOM_HOME", str(tmp_path / "home"))
    rows = [{"q": f"{n}?", "o": ["a", "b"], "right": "a"} for n in range(4)]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = "{question: q, options: o, right: right}"
    said = f"path: {tmp_path / 'x.jsonl'}, fields: {fields}, license: mit, style: plain"
    said += ", method: loglikelihood, choices: options, answer: right"
    return [
        "evaluate",
        str(BUNDLED / "nano"),
        "--recipe",
        "tiny",
        "--set",
        f"benchmarks.own={{{said}}}",
    ]


def test_prints_the_score_with_its_interval(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--benchmark", "own", "--limit", "3"]) == 0
    shown = capsys.readouterr().out
    assert "rows: 3 = 3 problems + 0 dropped" in shown
    assert "accuracy: " in shown and "95 %), 3 problems; at chance (50.0%)" in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--benchmark", "gsm8"], "no benchmark 'gsm8' in tiny"),
        (["--benchmark", "own", "--set", "benchmarks.own.answer=rigth"], "'rigth' is not among"),
        (["--benchmark", "own", "--set", "benchmarks.own.fields.right=wrong"], "no such field"),
    ],
)
def test_one_line_says_what_is_wrong(
    command: list[str], words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *words]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
