"""Computer algebra on two answers, in a process of its own that is ended when it takes too long.

math-verify's own time limits work in the main thread of a process only, and a parser fed with
model output may hang or grow. `compare` is the host's side, `main` the process.
"""

import atexit
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 10.0  # per comparison, on top of math-verify's own limit
_START_SECONDS = 120.0
_OWN_LIMIT = 4  # seconds, math-verify's
_MEMORY = 3 << 30  # bytes
_POINTS = ((0.7391, 1.8127), (2.3457, 0.4143), (1.2093, 3.1871), (0.3139, 0.9231))
_ASIDE = re.compile(r"\\(?:text|textbf|mbox)\{[^{}]*\}|\\[a-zA-Z]+")
_CLOSE = 1e-9  # relative, at 30 digits


@dataclass(frozen=True)
class Comparison:
    """`equal`: what math-verify says. `sampled`: whether values at random points agree, None where
    there are none (sets, equations, intervals). `failure`: why there is no result, or ""."""

    equal: bool = False
    sampled: bool | None = None
    has_variables: bool = False
    failure: str = ""


class _Worker:
    """One worker process, started at first use and again after each end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection = socket.socket()
        self._owner = 0

    def ask(self, answer: str, expected: str) -> Comparison:
        """Compare in the worker; a failure for one that is over its limits."""
        with self._lock:
            try:
                process = self._started()
                request = json.dumps({"answer": answer, "expected": expected}) + "\n"
                process.sendall(request.encode())
                return Comparison(**self._read(process, _SECONDS))
            except TimeoutError:
                self.stop()
                return Comparison(failure=f"computer algebra took over {_SECONDS:g} s")
            except (ConnectionError, EOFError):
                self.stop()
                return Comparison(failure="computer algebra broke its process")

    def stop(self) -> None:
        """End the worker process."""
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
        self._process = None

    def _started(self) -> socket.socket:
        if self._process is None or self._owner != os.getpid():
            self._connection, theirs = socket.socketpair()
            fd = theirs.fileno()
            boot = (
                f"import sys; sys.path.append({str(_ROOT)!r})\nimport {__name__} as s; s.main({fd})"
            )
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", boot],
                pass_fds=[fd],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
            )
            theirs.close()
            self._owner = os.getpid()
            atexit.register(self.stop)
            self._read(self._connection, _START_SECONDS)
        return self._connection

    def _read(self, connection: socket.socket, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        data = b""
        while not data.endswith(b"\n"):
            connection.settimeout(max(end - time.monotonic(), 0.001))
            part = connection.recv(65536)
            if not part:
                raise EOFError
            data += part
        answer: dict[str, Any] = json.loads(data)
        return answer


_worker = _Worker()


def compare(answer: str, expected: str) -> Comparison:
    """Compare two expressions without delimiters (LaTeX or plain)."""
    return _worker.ask(answer, expected)


def main(descriptor: int) -> None:
    """The worker: one JSON line in, one out, until the socket closes."""
    import logging
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    logging.disable(logging.CRITICAL)
    import math_verify
    from math_verify.errors import TimeoutException

    stream = socket.socket(fileno=descriptor).makefile("rw")
    stream.write(json.dumps({"ready": math_verify.__name__}) + "\n")
    stream.flush()
    for line in stream:
        request = json.loads(line)
        try:
            result = _compare(request["answer"], request["expected"])
        except (MemoryError, RecursionError, TimeoutError, TimeoutException) as error:
            result = {"failure": f"computer algebra gave up ({type(error).__name__})"}
        except Exception as error:  # reported as no result, never as an inequality
            result = {"failure": f"computer algebra failed ({type(error).__name__})"}
        stream.write(json.dumps(result) + "\n")
        stream.flush()


def _compare(answer: str, expected: str) -> dict[str, Any]:
    from math_verify import verify

    got, want = _parse(answer), _parse(expected)
    if want is None:
        return {"failure": "the expected answer is not an expression"}
    if got is None:
        return {"equal": False}
    try:
        equal = bool(verify(want, got, timeout_seconds=_OWN_LIMIT, raise_on_error=True))
    except (ValueError, TypeError, AttributeError, NotImplementedError):  # not comparable
        equal = False
    if equal and not (_whole(answer, got) and _whole(expected, want)):
        return {"failure": "computer algebra read a part only"}
    symbols = getattr(want[0], "free_symbols", set()) | getattr(got[0], "free_symbols", set())
    sampled = _sampled(got[0], want[0], sorted(symbols, key=str))
    return {"equal": equal, "sampled": sampled, "has_variables": bool(symbols)}


def _parse(text: str) -> list[Any] | None:
    """math-verify's reading: [expression, text read], or None when there is none."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse
    from math_verify.errors import TimeoutException

    configs = (LatexExtractionConfig(), ExprExtractionConfig())
    try:
        found = parse(f"${text}$", configs, parsing_timeout=_OWN_LIMIT, raise_on_error=True)
    except TimeoutException:
        raise
    except Exception:  # its parser raises whatever the grammar and SymPy raise
        return None
    return found if found and not isinstance(found[0], str) else None


def _whole(text: str, found: list[Any]) -> bool:
    """Whether a reading covers the text, but for words in \\text{} and units."""
    if len(found) < 2 or not isinstance(found[1], str):
        return True
    count = [sum(map(str.isalnum, _ASIDE.sub("", part))) for part in (text, found[1])]
    return count[1] >= count[0]


def _sampled(left: Any, right: Any, symbols: list[Any]) -> bool | None:
    """Whether two expressions agree at fixed points; None when they have no values there."""
    import sympy  # type: ignore[import-untyped]

    if not (isinstance(left, sympy.Expr) and isinstance(right, sympy.Expr)):
        return None
    told = 0
    for point in _POINTS:
        values = {symbol: point[i % 2] + i // 2 for i, symbol in enumerate(symbols)}
        try:
            a, b = (sympy.N(side.subs(values), 30) for side in (left, right))
            if not (a.is_number and b.is_number and a.is_finite and b.is_finite):
                continue
            scale = max(abs(a), abs(b))
            if scale != 0 and abs(a - b) > _CLOSE * scale:
                return False
        except (TypeError, ValueError, AttributeError, ZeroDivisionError, OverflowError):
            continue
        told += 1
    return True if told else None
