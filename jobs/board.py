"""What a run has to make, how each of it stands, and what time the rest will take.

Knows names, states and seconds; shows nothing, asks nobody and decides nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PRIOR_SECONDS = 60.0
FOUND = 0.2  # of its prediction: what took less had most of its work done before
DONE = ("built", "restored", "spared")


@dataclass
class Line:
    """One asset, or one partition, of the run; of its kind, `abreast` are built side by side.

    Not `certain`: it is made only where an input comes out otherwise than it is.
    """

    key: str
    predicted: float  # seconds
    abreast: int = 1
    certain: bool = True
    state: str = "waiting"  # waiting, running, built, restored, spared, failed
    seconds: float = 0.0
    rows: int | None = None
    metric: str = ""
    message: str = ""
    fraction: float = 0.0
    started: float = field(default=0.0, repr=False)


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

    def expect(self, key: str, seconds: float, certain: bool) -> None:
        """What a line that waits is known to take now; others stay as they are."""
        line = self.lines.get(key)
        if line is not None and line.state == "waiting":
            line.predicted, line.certain = seconds, certain

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

    def left(self) -> str:
        """What the rest will take, in words; nothing where nothing is left.

        What may yet turn out to stand as it is would make the estimate too long by hours, and
        leaving it out too short: it is said apart.
        """
        sure, most = self.remaining(), self.remaining(most=True)
        if clock(sure) == clock(most):
            return f"about {clock(sure)} left" if sure else ""
        if not sure:
            return f"up to {clock(most)} left, if inputs come out changed"
        return f"about {clock(sure)} left, up to {clock(most)} if inputs come out changed"

    def remaining(self, *, most: bool = False) -> float:
        """Seconds that the rest is expected to take: what is certain, or all at `most`."""
        pace, total = self._pace(), 0.0
        for line in self.lines.values():
            if line.state == "waiting" and (most or line.certain):
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

    def _pace(self) -> float:
        """Observed seconds by predicted ones."""
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
        return observed / (PRIOR_SECONDS + sum(predicted for _, predicted in seen))


def clock(seconds: float) -> str:
    """12 s, 3 min 05 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
