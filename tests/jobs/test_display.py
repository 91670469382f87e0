"""The run's display: plain lines, the live table's rows, and an ETA that follows the pace."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console

from jobs.board import Board, Line, clock
from jobs.display import LiveTable, PlainLines, open_display


def test_remaining_time_follows_the_observed_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    board = Board([Line("a", 10.0), Line("b", 20.0), Line("c", 40.0)])
    assert board.remaining() == 70.0
    board.start("a")
    now[0] += 20.0  # twice as long as predicted
    board.finish("a", "built", 3, "")
    pace = (60 + 20) / (60 + 10)
    assert board.remaining() == pytest.approx(60 * pace)
    board.start("b")
    now[0] += 10.0
    assert board.remaining() == pytest.approx(60 * pace - 10)
    board.progress("half", 0.5)  # what the stage itself says wins
    assert board.remaining() == pytest.approx(10 + 40 * pace)
    board.finish("b", "restored", None, "")
    board.finish("c", "spared", None, "")
    assert board.remaining() == 0.0 and board.done == 3


def test_answers_that_were_there_do_not_make_the_machine_fast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    board = Board([Line("a", 300.0), Line("b", 40.0), Line("c", 100.0)])
    board.start("a")
    now[0] += 10.0  # its requests were hits
    board.finish("a", "built", 3, "")
    assert board.remaining() == 140.0
    board.start("b")
    now[0] += 20.0
    board.finish("b", "built", 3, "")
    assert board.remaining() == pytest.approx(100 * (60 + 20) / (60 + 40))


def test_a_build_beyond_its_prediction_is_not_about_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    board = Board([Line("a", 10.0), Line("b", 30.0)])
    board.start("a")
    now[0] += 40.0
    pace = (60 + 40) / (60 + 10)
    assert board.remaining() == pytest.approx(40 / 2 + 30 * pace)


def test_what_may_stand_as_it_is_is_told_apart() -> None:
    board = Board([Line("a", 30.0), Line("b", 600.0, certain=False), Line("c", 60.0)])
    assert board.left() == "about 1 min 30 s left, up to 11 min 30 s if inputs come out changed"
    board.expect("b", 600.0, True)  # they did
    assert board.left() == "about 11 min 30 s left"
    board.expect("b", 0.0, True)  # it is to be restored
    assert board.left() == "about 1 min 30 s left"
    board.expect("b", 600.0, False)
    board.expect("nobody asked for it", 9.0, True)
    for key in "ac":
        board.finish(key, "restored", None, "")
    assert board.left() == "up to 10 min 00 s left, if inputs come out changed"
    board.finish("b", "spared", None, "")
    board.expect("b", 5.0, True)
    assert board.left() == ""


def test_plain_lines() -> None:
    out = io.StringIO()
    display = open_display([Line("a", 0.0), Line("b", 90.0)], out)
    assert isinstance(display, PlainLines)
    display.start("a")
    display.finish("a", "built", 1234, "loss 0.5")
    display.close()
    assert (
        out.getvalue() == "[1/2] a built · 0.0 s · 1,234 rows · loss 0.5 · about 1 min 30 s left\n"
    )


def test_live_table_shows_the_running_asset_of_many() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, height=12)
    display = LiveTable(Board([Line(f"asset{i}", 1.0) for i in range(40)]), console)
    for i in range(30):
        display.start(f"asset{i}")
        display.finish(f"asset{i}", "built", i, "accuracy 0.5")
    display.start("asset30")
    display.progress("epoch 2", 0.3)
    display.live.refresh()
    frame = out.getvalue().split("asset39")[0]
    assert "asset30" in frame and "epoch 2" in out.getvalue() and "30 of 40 done" in out.getvalue()
    display.close()


def test_the_live_table_leaves_what_others_print_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The driver turns both streams to a log; logs of libraries do not stand above the table."""
    out = io.StringIO()
    display = LiveTable(Board([Line("a", 1.0)]), Console(file=out, force_terminal=True, width=100))
    print("a library's line", file=sys.stderr)
    print("and another")
    display.close()
    assert "line" not in out.getvalue() and "another" not in out.getvalue()
    told = capsys.readouterr()
    assert (told.out, told.err) == ("and another\n", "a library's line\n")


def test_partitions_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    out = io.StringIO()
    lines = [Line(f"a/library[group_{n}]", 30.0, abreast=2) for n in (1, 2, 3)]
    display = LiveTable(Board(lines), Console(file=out, force_terminal=True, width=100))
    assert display.board.remaining() == 45.0
    display.start("a/library[group_1]")
    display.start("a/library[group_2]")
    now[0] += 10.0
    display.progress("half", 0.5, "a/library[group_1]")
    assert display.board.remaining() == pytest.approx((10 + 20 + 30) / 2)
    display.live.refresh()
    assert "a/library[group_1]" in out.getvalue() and "half" in out.getvalue()
    display.finish("a/library[group_1]", "failed", None, "")
    display.progress("told of another", 0.1)
    assert display.board.lines["a/library[group_2]"].message == "told of another"
    display.close()


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.4, "3 s"), (61, "1 min 01 s"), (7260, "2 h 01 min")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
