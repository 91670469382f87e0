"""A program run as a whole: text in on standard input, text out on standard output; compilers too.

Both ends are here: the program's process (`prepare`, `serve`), and its tester's (`collect`), which
reads what was printed and how it ended. The program never sees what it should print. C++ is
compiled as one job, whose process runs the compiler alone, and the binary run as another.
"""

import atexit
import base64
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any

from resources.verifiers.isolation.connection.peer import Closed, Peer
from resources.verifiers.isolation.results import failed

MOST_PRINTED = 6 * 2**20  # bytes
FLAGS = ("-std=gnu++20", "-O2", "-w", "-pipe", "-fmax-errors=3")
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "TMPDIR": "/tmp", "LANG": "C.UTF-8"}
_SOURCE, _BINARY = "program.cpp", "program.out"


def is_whole(order: Mapping[str, Any]) -> bool:
    """Whether this job runs a program as a whole, or compiles one."""
    return "stdin" in order or "compile" in order


def prepare(order: Mapping[str, Any]) -> None:
    """Put the text of standard input in place; called before the process is shut in."""
    given = os.memfd_create("stdin")
    remaining = memoryview(order.get("stdin", "").encode(errors="surrogatepass"))
    while remaining:
        remaining = remaining[os.write(given, remaining) :]
    os.lseek(given, 0, os.SEEK_SET)
    os.dup2(given, 0)


def serve(peer: Peer, order: Mapping[str, Any], namespace: dict[str, Any]) -> int:
    """In the program's process: run it, and return its exit status. A binary does not return."""
    if "compile" in order:
        return _compile(peer, order)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 2)
    if "binary" in order:
        with open(_BINARY, "wb") as file:
            file.write(base64.b64decode(order["binary"]))
        os.chmod(_BINARY, 0o700)
        os.execve(_BINARY, [_BINARY], _ENVIRONMENT)
    sys.stdin = open(0, closefd=False, encoding="utf-8", errors="replace")  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False, encoding="utf-8", errors="replace")  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, errors="replace")  # noqa: SIM115
    status = _run(peer, order["program"], namespace)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    return status


def _run(peer: Peer, program: str, namespace: dict[str, Any]) -> int:
    try:
        exec(compile(program, "<program>", "exec"), namespace)
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException as error:
        line = [f.lineno for f in traceback.extract_tb(error.__traceback__)
                if f.filename == "<program>"]  # fmt: skip
        peer.send({"raise": peer.raised(error), "line": line[-1] if line else None})
        return 1
    return 0


def _compile(peer: Peer, order: Mapping[str, Any]) -> int:
    """Compile the source and send the binary, or that the compiler refused it."""
    with open(_SOURCE, "w", errors="replace") as file:
        file.write(order["compile"])
    pid = os.fork()
    if pid == 0:
        try:
            command = [order["compiler"], *FLAGS, "-o", _BINARY, _SOURCE]
            os.execve(order["compiler"], command, _ENVIRONMENT)
        finally:
            os._exit(127)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        with open(_BINARY, "rb") as binary:
            peer.send({"binary": base64.b64encode(binary.read()).decode()})
    return 0 if code == 0 else 1


def collect(
    peer: Peer, job: Mapping[str, Any], program_pid: int, output: int, killed_for: str
) -> dict[str, Any]:
    """In the tester: the job's result, with `stdout` where the program ended well, or `binary`.

    `why` says what became of one that did not: "raised", "status", "signal", "killed" or "printed".
    """
    error, line, binary = None, None, None
    try:
        while True:
            message = peer.receive()
            if "binary" in message and "compile" in job:
                binary = str(message["binary"])
            elif "raise" in message:
                error, line = peer.exception(message["raise"]), message.get("line")
    except Closed as closed:
        closed.forget()
    ended = _wait(program_pid, peer)
    if binary is not None:
        return {"verdict": "correct", "evidence": "compiled", "binary": binary}
    if error is not None:
        where = f" in line {line}" if type(line) is int else ""
        text = f"the program raised {type(error).__name__}{where}: {str(error)[:160]}"
        return failed(error, text.removesuffix(": "), why="raised")
    if ended.si_code == os.CLD_EXITED and ended.si_status != 0:
        return _ill("status", f"the program ended with exit status {ended.si_status}", output)
    if ended.si_code != os.CLD_EXITED and ended.si_status == signal.SIGKILL:
        over = f"over {job['limits']['cpu_seconds']} s of CPU, or {killed_for}"
        return _ill("killed", f"the program was killed: {over}")
    if ended.si_code != os.CLD_EXITED:
        return _ill("signal", f"the program was ended by signal {ended.si_status}", output)
    size = os.fstat(output).st_size
    if size > MOST_PRINTED:
        return _ill("printed", f"the program printed {size} bytes")
    printed = os.pread(output, MOST_PRINTED, 0).decode(errors="replace")
    return {"verdict": "correct", "evidence": "ran", "stdout": printed}


def _wait(pid: int, peer: Peer) -> os.waitid_result:
    """How the process ended; it is not reaped. Raises Late at the deadline."""
    pause = 0.001
    while True:
        info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if info is not None and info.si_pid:
            return info
        peer.check_time()
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)


def _ill(why: str, evidence: str, output: int | None = None) -> dict[str, Any]:
    said = os.pread(output, 50_000, 0).decode(errors="replace") if output is not None else ""
    return {"verdict": "incorrect", "evidence": evidence, "why": why, "said": said}
