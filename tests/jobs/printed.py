"""What a command prints, and the one line of one that fails."""

from __future__ import annotations

import pytest

from jobs import cli


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """Standard output of a command that must end with `code`."""
    capsys.readouterr()
    assert cli.main(words) == code, capsys.readouterr()
    return capsys.readouterr().out


def complaint(capsys: pytest.CaptureFixture[str], *words: str, code: int = 1) -> str:
    """The one line on standard error of a command that must fail."""
    capsys.readouterr()
    assert cli.main(words) == code
    error = capsys.readouterr().err
    assert error.startswith("heirloom: ") and error.count("\n") == 1, error
    return error
