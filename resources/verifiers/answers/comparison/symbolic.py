"""Computer algebra in a process of its own, which is ended when it takes too long or too much.

What a model wrote may make SymPy hang or grow. `one_equation` and `solved` are the host's side,
`main` is the process; what is not answered in time is undecided, never unequal.
"""

import atexit
import json
import os
import socket
import subprocess
import sys
import threading
import time
from typing import Any

from resources.checkout import CHECKOUT
from resources.verifiers.answers.comparison.identities import Outcome
from resources.verifiers.answers.notation.tree import Tree, to_json
from resources.verifiers.answers.shapes import Interval, Region, Relation

_SECONDS = 10.0  # for one question
_START_SECONDS = 120.0
_MEMORY = 3 << 30  # bytes


class _Worker:
    """One worker process, started at first use and again after each end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection = socket.socket()
        self._owner = 0

    def ask(self, question: str, *arguments: Any) -> dict[str, Any]:
        """The worker's `result`, or the `failure` of one that is over its limits."""
        with self._lock:
            try:
                process = self._started()
                process.sendall((json.dumps([question, *arguments]) + "\n").encode())
                return self._read(process, _SECONDS)
            except TimeoutError:
                self.stop()
                return {"failure": f"computer algebra took over {_SECONDS:g} s"}
            except (ConnectionError, EOFError):
                self.stop()
                return {"failure": "computer algebra broke its process"}

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
            root = str(CHECKOUT)
            boot = f"import sys; sys.path.append({root!r})\nimport {__name__} as s; s.main({fd})"
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


def one_equation(left: Tree, right: Tree) -> Outcome:
    """Whether two equations, given as what is zero in them, have the same solutions."""
    answer = _worker.ask("one_equation", to_json(left), to_json(right))
    if "failure" in answer:
        return Outcome(None, str(answer["failure"]))
    equal = answer["result"]
    said = {True: "one", False: "different", None: "neither one nor different"}
    return Outcome(equal, f"computer algebra finds the equations {said[equal]}")


def solved(relation: Relation) -> Region | str:
    """Where an inequality in one variable holds, or why that is not known."""
    import mpmath

    trees, signs = [to_json(tree) for tree in relation.trees], list(relation.signs)
    answer = _worker.ask("solved", trees, signs)
    if "failure" in answer:
        return str(answer["failure"])
    with mpmath.workdps(60):
        ends = [[end and mpmath.mpf(end) for end in each[:2]] for each in answer["result"]]
    kinds = [each[2:] for each in answer["result"]]
    return Region(tuple(Interval(*a, *b) for a, b in zip(ends, kinds, strict=True)))


def main(descriptor: int) -> None:
    """The worker: one JSON line in, one out, until the socket closes."""
    import logging
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    logging.disable(logging.CRITICAL)
    import sympy

    from resources.verifiers.answers.comparison import algebra

    stream = socket.socket(fileno=descriptor).makefile("rw")
    stream.write(json.dumps({"ready": sympy.__name__}) + "\n")
    stream.flush()
    for line in stream:
        question, *arguments = json.loads(line)
        try:
            answer = {"result": getattr(algebra, question)(*arguments)}
        except algebra.NoAnswer as error:
            answer = {"failure": f"computer algebra: {error}"}
        except Exception as error:  # SymPy raises whatever it meets: no result, no inequality
            answer = {"failure": f"computer algebra failed ({type(error).__name__})"}
        stream.write(json.dumps(answer) + "\n")
        stream.flush()
