"""The `heirloom` command line: arguments in, exit code out.

A command's room is imported only when it is called, so that `heirloom status` never waits for torch
or Dagster. Every error becomes one line here.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from jobs.errors import UsageError, one_line, ours
from jobs.options import parser
from jobs.stopping import stoppable

FAILURE, USAGE, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. 0 on success, 1 on failure, 2 on wrong usage, 130 when interrupted."""
    words, extra = _split(list(sys.argv[1:] if argv is None else argv))
    try:
        arguments = parser().parse_args(words)
    except SystemExit as stop:
        return int(stop.code or 0)
    arguments.extra = extra
    if arguments.home:
        os.environ["HEIRLOOM_HOME"] = arguments.home  # the recipe's watched folder lies there
    # Threads that wait for each other sleep: spinning, they keep cores from those they wait for.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with stoppable():
            code = int(importlib.import_module(f"jobs.{arguments.room}").main(arguments))
            sys.stdout.flush()  # here, where a reader that left is no failure
            return code
    except KeyboardInterrupt:
        print("heirloom: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # the one place where an error becomes a line for the reader
        if os.environ.get("HEIRLOOM_DEBUG"):
            raise
        print(f"heirloom: {one_line(error)}{_written_down(error, arguments)}", file=sys.stderr)
        return USAGE if isinstance(error, UsageError) else FAILURE


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """The command's own words, and those after `--`, which `serve` hands on."""
    if words[:1] != ["serve"] or "--" not in words:
        return words, []
    end = words.index("--")
    return words[:end], words[end + 1 :]


def _written_down(error: BaseException, arguments: argparse.Namespace) -> str:
    """Keep the traceback of an unforeseen error beside the home's logs; say where."""
    if ours(type(error).__module__):
        return ""
    from resources.store import home

    try:
        log = home.find(arguments.home).logs / "errors.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            traceback.print_exception(error, file=file)
    except (OSError, home.HomeError):
        return " (HEIRLOOM_DEBUG=1 shows the traceback)"
    return f" (traceback: {Path(log)})"


if __name__ == "__main__":
    sys.exit(main())
