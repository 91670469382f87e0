"""`heirloom pass-rate`: a served model asked about a file's rows, each answer paid for once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.cli import main
from tests.resources.answering import Answering
from tests.resources.engines.server.hostile import Body, Hostile, said, send, serving

ROWS: list[dict[str, Any]] = [
    {"question": "always", "expected_answer": "4"},
    {"question": "sometimes", "expected_answer": 4},
    {"question": "never", "expected_answer": "5"},
    {"prompt": "not asked", "expected_answer": "4"},
    {"question": "no truth", "expected_answer": None},
    {"question": "cut off", "expected_answer": "4"},
]


def answering(_: Hostile, handler: Answering, body: Body, number: int) -> bool:
    """Says 4; every other time 7 where it is asked "sometimes"; "cut off" ends at the limit."""
    question = body["messages"][-1]["content"]
    wrong = question == "sometimes" and body["seed"] % 2
    answer = said(f"\\boxed{{{7 if wrong else 4}}}")
    if question == "cut off":
        answer["choices"][0]["finish_reason"] = "length"
    send(handler, 200, answer)
    return True


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def run(file: Path, url: str, *words: str) -> int:
    output = ["--output", str(file.with_name("rates.jsonl"))]
    return main(["pass-rate", str(file), "--engine", url, *output, *words])


def rates(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.with_name("rates.jsonl").read_text().splitlines()]


def test_rates_and_reasons(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Hostile([{"id": "m"}], answering)) as server:
        assert run(file, server.url, "--samples", "4") == 0
    made = {row.get("question"): row for row in rates(file)}
    always, never, sometimes = (made[name] for name in ("always", "never", "sometimes"))
    shown = [always[name] for name in ("samples", "correct", "pass_rate", "verdict")]
    assert shown == [4, 4, 1.0, "solved"] and always["evidence"].startswith("correct: ")
    assert never["incorrect"] == 4 and never["verdict"] == "kept"
    assert sometimes["correct"] + sometimes["incorrect"] == 4
    assert sometimes["pass_rate"] == sometimes["correct"] / 4
    assert made[None]["verdict"] == "no question" and made[None]["samples"] is None
    assert made["no truth"]["verdict"] == "unjudged" and made["no truth"]["pass_rate"] is None
    assert made["cut off"]["truncated"] == 4 and made["cut off"]["verdict"] == "truncated"
    assert "6 rows = " in capsys.readouterr().err


def test_nothing_is_asked_twice(file: Path) -> None:
    with serving(Hostile([{"id": "m"}], answering)) as server:
        assert run(file, server.url, "--samples", "2") == 0
        first, asked = rates(file), len(server.asked)
        assert asked == 5 * 2
        assert run(file, server.url, "--samples", "2") == 0
        assert rates(file) == first and len(server.asked) == asked
        assert run(file, server.url, "--samples", "3") == 0
        assert len(server.asked) == asked + 5


def test_failed_requests_stop_it_and_the_others_are_kept(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusing(server: Hostile, handler: Answering, body: Body, number: int) -> bool:
        if body["messages"][-1]["content"] == "never":
            send(handler, 400, {"error": {"message": "that is not for me"}})
            return True
        return answering(server, handler, body, number)

    with serving(Hostile([{"id": "m"}], refusing)) as server:
        assert run(file, server.url, "--samples", "2") == 1
    [line] = [each for each in capsys.readouterr().err.splitlines() if "heirloom:" in each]
    assert "2 of 10 requests were not answered" in line and "that is not for me" in line
    assert "run again" in line and not file.with_name("rates.jsonl").exists()
    with serving(Hostile([{"id": "m"}], answering)) as server:
        assert run(file, server.url, "--samples", "2") == 0
        assert server.asked == ["never", "never"]


@pytest.mark.parametrize(
    ("models", "words", "said"),
    [
        ([{"id": "a"}, {"id": "b"}], [], "lists a, b: say which with --model"),
        ([{"id": "a"}], ["--model", "c"], "does not serve c; it serves a"),
        ([{"id": "a"}], ["--field", "question=q"], "no row has text in 'q'"),
        ([{"id": "a"}], ["--api-key-env", "HEIRLOOM_NO_SUCH_KEY"], "holds no key; set it"),
    ],
    ids=["several", "another", "column", "key"],
)
def test_what_is_wrong_is_one_line(
    file: Path,
    capsys: pytest.CaptureFixture[str],
    models: list[Body],
    words: list[str],
    said: str,
) -> None:
    with serving(Hostile(models, answering)) as server:
        assert run(file, server.url, *words) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_no_server(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(file, "http://127.0.0.1:9/v1") == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "127.0.0.1:9" in line
    assert run(file, "not a url") == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "no address of a server" in line
