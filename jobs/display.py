"""What `heirloom run` shows: a live table on a terminal, one plain line an event elsewhere.

Knows names, states and seconds; asks nobody and decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

PRIOR_SECONDS = 60.0
FOUND = 0.2  # of its prediction: what took less had most of its work done before
DONE = ("built", "restored", "spared")
STYLES = {"running": "bold cyan", "built": "green", "restored": "green", "failed": "bold red"}


@dataclass
class Line:
    """One asset, or one partition, of the run; of its kind, `abreast` are built side by side."""

    key: str
    predicted: float  # seconds
    abreast: int = 1
    state: str = "waiting"  # waiting, running, built, restored, spared, failed
    seconds: float = 0.0
    rows: int | None = None
    metric: str = ""
    message: str = ""
    fraction: float = 0.0
    started: float = field(default=0.0, repr=False)


class Display(Protocol):
    """What the driver tells as it goes."""

    board: Board

    def start(self, key: str) -> None: ...
    def progress(self, message: str, fraction: float, key: str | None = None) -> None: ...
    def finish(self, key: str, state: str, rows: int | None, metric: str) -> None: ...
    def close(self) -> None: ...


class Board:
    """The lines of one run and the remaining time; both displays read it.

    Remaining seconds are the predicted ones of what is not done yet, scaled by observed / predicted
    over what was built in this run, so that a slow machine shows honestly. The prediction counts
    like a minute that was observed, so that the first, short builds do not swing it. What runs
    longer than expected counts as observed too, and is taken to need half as long again: nothing
    better is known of it. What was built in a small part of its time had its answers or steps
    already, and says nothing of the machine.
    """

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines: Mapping[str, Line] = {line.key: line for line in lines}
        self.begun = time.monotonic()
        self.current: str | None = None

    def start(self, key: str) -> Line:
        line = self.lines[key]
        line.state, line.started, line.fraction = "running", time.monotonic(), 0.0
        self.current = key
        return line

    def progress(self, message: str, fraction: float, key: str | None = None) -> None:
        """What the line `key` says of itself, by default the one that was started last."""
        line = self.lines.get(key or self.current or "")
        if line is not None:
            line.message, line.fraction = message, min(max(fraction, 0.0), 1.0)

    def finish(self, key: str, state: str, rows: int | None, metric: str) -> Line:
        line = self.lines[key]
        if line.started:
            line.seconds = time.monotonic() - line.started
        line.state, line.rows, line.metric, line.message = state, rows, metric, ""
        self.current = None if self.current == key else self.current
        return line

    @property
    def done(self) -> int:
        return sum(line.state in DONE for line in self.lines.values())

    def remaining(self) -> float:
        """Seconds that the rest is expected to take."""
        seen = [
            (line.seconds, line.predicted)
            for line in self.lines.values()
            if line.state == "built" and line.seconds >= FOUND * line.predicted
        ]
        seen += [
            (elapsed, line.predicted)
            for line in self.lines.values()
            if line.state == "running"
            and (elapsed := time.monotonic() - line.started) > line.predicted
        ]
        observed = PRIOR_SECONDS + sum(seconds for seconds, _ in seen)
        pace = observed / (PRIOR_SECONDS + sum(predicted for _, predicted in seen))
        total = 0.0
        for line in self.lines.values():
            if line.state == "waiting":
                total += line.predicted * pace / line.abreast
            elif line.state == "running":
                elapsed = time.monotonic() - line.started
                expected = line.predicted * pace
                if line.fraction > 0.05:
                    expected = elapsed / line.fraction
                elif elapsed > expected:
                    expected = 1.5 * elapsed
                total += max(expected - elapsed, 0.0) / line.abreast
        return total


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
        left = board.remaining()
        caption = (
            f"{board.done} of {len(board.lines)} done · {clock(time.monotonic() - board.begun)}"
        )
        table = Table(caption=caption + (f" · about {clock(left)} left" if left else ""), box=None)
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
        left = self.board.remaining()
        parts = [f"[{self.board.done}/{len(self.board.lines)}] {key} {state}"]
        if line.started:
            parts.append(f"{line.seconds:.1f} s")
        if rows is not None:
            parts.append(f"{rows:,} rows")
        if metric:
            parts.append(metric)
        if left:
            parts.append(f"about {clock(left)} left")
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


def clock(seconds: float) -> str:
    """12 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
