"""What `heirloom run` shows: a live table on a terminal, one plain line an event elsewhere.

Reads a board of lines; decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jobs.board import Board, Line, clock

STYLES = {"running": "bold cyan", "built": "green", "restored": "green", "failed": "bold red"}


class Display(Protocol):
    """What the driver tells as it goes."""

    board: Board

    def start(self, key: str) -> None: ...
    def progress(self, message: str, fraction: float, key: str | None = None) -> None: ...
    def finish(self, key: str, state: str, rows: int | None, metric: str) -> None: ...
    def close(self) -> None: ...


class LiveTable:
    """A table that redraws itself, on a terminal."""

    def __init__(self, board: Board, console: Console) -> None:
        self.board, self.console = board, console
        # What others print belongs in the log, to which the driver has turned both streams; by
        # default rich would take it from there and put it above the table.
        self.live = Live(
            get_renderable=self._table,
            console=console,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.live.start()

    def start(self, key: str) -> None:
        self.board.start(key)

    def progress(self, message: str, fraction: float, key: str | None = None) -> None:
        self.board.progress(message, fraction, key)

    def finish(self, key: str, state: str, rows: int | None, metric: str) -> None:
        self.board.finish(key, state, rows, metric)

    def close(self) -> None:
        self.live.stop()

    def _table(self) -> Table:
        board = self.board
        elapsed = clock(time.monotonic() - board.begun)
        caption = [f"{board.done} of {len(board.lines)} done", elapsed, board.left()]
        table = Table(caption=" · ".join(filter(None, caption)), box=None)
        for name in ("asset", "state"):
            table.add_column(name, no_wrap=True)
        for name in ("seconds", "rows"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("key metric")
        for line in self._visible():
            seconds = line.seconds
            if line.state == "running":
                seconds = time.monotonic() - line.started
            table.add_row(
                Text(line.key),  # Rich would take `[group_1]` for markup
                Text(line.state, style=STYLES.get(line.state, "dim")),
                f"{seconds:.1f}" if seconds else "",
                "" if line.rows is None else f"{line.rows:,}",
                Text(line.message or line.metric),
            )
        return table

    def _visible(self) -> list[Line]:
        """All lines if they fit; else those around the running one, so that it is always seen."""
        lines = list(self.board.lines.values())
        room = max(self.console.size.height - 5, 5)
        if len(lines) <= room:
            return lines
        active = [i for i, line in enumerate(lines) if line.state in ("running", "failed")]
        centre = active[-1] if active else self.board.done
        first = min(max(centre - room * 2 // 3, 0), len(lines) - room)
        return lines[first : first + room]


class PlainLines:
    """One line when an asset starts and one when it ends, for logs and pipes."""

    def __init__(self, board: Board, file: TextIO) -> None:
        self.board, self.file = board, file
        self.told = time.monotonic()

    def start(self, key: str) -> None:
        self.board.start(key)

    def progress(self, message: str, fraction: float, key: str | None = None) -> None:
        self.board.progress(message, fraction, key)
        if time.monotonic() - self.told > 30:
            self._print(f"  {key or self.board.current}: {message} ({fraction:.0%})")

    def finish(self, key: str, state: str, rows: int | None, metric: str) -> None:
        line = self.board.finish(key, state, rows, metric)
        parts = [f"[{self.board.done}/{len(self.board.lines)}] {key} {state}"]
        if line.started:
            parts.append(f"{line.seconds:.1f} s")
        if rows is not None:
            parts.append(f"{rows:,} rows")
        if metric:
            parts.append(metric)
        if left := self.board.left():
            parts.append(left)
        self._print(" · ".join(parts))

    def close(self) -> None:
        self.file.flush()

    def _print(self, text: str) -> None:
        print(text, file=self.file, flush=True)
        self.told = time.monotonic()


def open_display(lines: Sequence[Line], file: TextIO) -> Display:
    """The live table where `file` is a terminal, plain lines elsewhere."""
    board = Board(lines)
    if file.isatty():
        return LiveTable(board, Console(file=file))
    return PlainLines(board, file)
