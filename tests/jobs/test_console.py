"""Tables in pipes and files: whole lines, and nothing after a line's last word."""

from __future__ import annotations

import subprocess
import sys

import pytest

from jobs.console import UNWRAPPED, open_console, plain_table
from resources.checkout import CHECKOUT


def test_lines_of_a_table_end_with_their_last_word(capsys: pytest.CaptureFixture[str]) -> None:
    table = plain_table("asset", "why")
    table.add_row("a/b", "x" * (UNWRAPPED // 2))
    table.add_row("a/c", "y")
    table.add_row("a/d", "")
    open_console().print(table)
    open_console().print("2 assets ", style="dim")
    lines = capsys.readouterr().out.split("\n")
    assert lines[1:] == [f"a/b    {'x' * (UNWRAPPED // 2)}", "a/c    y", "a/d", "2 assets", ""]
    assert lines[0] == "asset  why"


def test_a_reader_that_leaves_is_told_as_such() -> None:
    script = (
        "from jobs.console import open_console\n"
        "try:\n    [open_console().print('x' * 300) for _ in range(1000)]\n"
        "except BrokenPipeError:\n    import os; os._exit(7)"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=CHECKOUT, stdout=-1) as printing:
        assert printing.stdout is not None
        printing.stdout.close()
    assert printing.returncode == 7
