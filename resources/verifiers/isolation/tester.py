"""The tester's process: run the tests against the program behind a connection, and judge.

The tests run here, with the tester's own builtins; the program sees only the arguments of calls.
Limits of what this proves: helpers that a test takes from the program (and comparisons between two
of the program's own objects) are as honest as the program.
"""

import ast
import builtins
import importlib
import os
import random
import signal
import sys
import time
import traceback
import types
from collections.abc import Iterator, Mapping
from typing import Any

from resources.verifiers.isolation import whole
from resources.verifiers.isolation.connection.peer import Closed, Late, Malformed, Peer
from resources.verifiers.isolation.connection.remote import Remote, Stop, Unsupported
from resources.verifiers.isolation.results import described, failed, result
from resources.verifiers.isolation.testing import functions, redirected, runner, shapes, standin

# Modules that a test may use because the program imported them: the tester imports its own copy.
_SHARED_MODULES = frozenset(
    [
        "math",
        "cmath",
        "typing",
        "collections",
        "itertools",
        "functools",
        "string",
        "re",
        "random",
        "copy",
        "heapq",
        "bisect",
        "datetime",
        "fractions",
        "decimal",
        "statistics",
    ]
)
_TESTS = "<tests>"
# What tests call the module of the program that they are for.
PROGRAM_NAMES = (
    "solution", "solutions", "program", "main", "answer", "submission", "candidate", "module",
    "my_module", "your_module", "my_solution", "your_solution", "solution_module", "user_code",
)  # fmt: skip
_PROGRAMS = ("program", "limits", "stdin", "compile", "compiler", "binary", "prelude")


def judge(
    peer: Peer, job: dict[str, Any], program_pid: int, output: int, killed_for: str
) -> dict[str, Any]:
    """The result of a job: {"verdict", "evidence"}, with "value" for a job that calls a function.

    A job has `program`, `limits` and one of `tests` (source), `call` ([name, arguments]), `cases`
    (see `functions.py`) and `stdin`; or `compile`, a source, and no program (see `whole.py`).
    """
    limits = job["limits"]
    peer.deadline = time.monotonic() + limits["wall_seconds"]
    random.seed(0)
    try:
        code = compile(job["tests"], _TESTS, "exec") if "tests" in job else None
    except (SyntaxError, ValueError) as error:
        return result("unknown", f"the tests are not valid Python: {error}")
    names = sorted(set(_names(code))) if code else functions.names(job)
    try:
        peer.send({key: job[key] for key in _PROGRAMS if key in job} | {"names": names})
        isolated = peer.receive()
        if "isolated" not in isolated:
            return result("unknown", "not isolated", refused=str(isolated.get("refused")))
        if whole.is_whole(job):
            return whole.collect(peer, job, program_pid, output, killed_for)
        ready = peer.receive()
        if "raise" in ready:
            raised = peer.exception(ready["raise"])
            return failed(raised, f"the program raised {described(raised)}{_printed(output)}")
        given = ready["names"]
        found = {name: peer.decode(given[name]) for name in names if name in given}
        for name, value in found.items():
            if isinstance(value, Remote):
                value.__dict__["_label"] = name
        if "cases" in job:
            return functions.judge(found, job["cases"], peer)
        if code is None:
            return result("correct", "called", value=found[names[0]](*job["call"][1]))
        return _assertions(code, job, found, names, peer, output)
    except Closed:
        return result("incorrect", _ended(program_pid, limits, output, killed_for))
    except Late:
        return result("incorrect", f"no answer within {limits['wall_seconds']:g} s")
    except Unsupported as error:
        return result("unknown", f"cannot be judged: {error}")
    except Malformed as error:
        return result("incorrect", f"the program broke the protocol: sent {error}")
    except Exception as error:
        if isinstance(error, (TypeError, AttributeError)) and Remote.__name__ in str(error):
            return result("unknown", f"cannot be judged: {error}")
        tests = job.get("tests", "")
        return failed(error, _failure(error, tests, peer) + _printed(output))


def _assertions(
    code: types.CodeType,
    job: dict[str, Any],
    found: dict[str, Any],
    names: list[str],
    peer: Peer,
    output: int,
) -> dict[str, Any]:
    """Run tests that are Python source, and the test functions and classes that they define."""
    imported, own = _take(found, job["program"], names)
    Remote.classes = shapes.classes(job["tests"])
    _stand_in(found)
    redirected.Streams(peer, output)
    namespace: dict[str, Any] = imported | own | {"__name__": "tests"}
    exec(code, namespace)
    runner.run(namespace, job["tests"])
    if Stop.raised:
        raise Stop.raised[0]
    if peer.calls == 0 and all(isinstance(value, Remote) for value in own.values()):
        return result("unknown", "the tests use nothing of the program")
    return result("correct", f"all tests passed, {peer.calls} calls")


def _stand_in(found: Mapping[str, Any]) -> None:
    """The modules that tests import and that lie in no file: the program, and pytest."""
    for name in PROGRAM_NAMES:
        module = types.ModuleType(name)
        module.__dict__.update(found)
        sys.modules[name] = module
    sys.modules["pytest"] = standin.module()


def _take(
    found: dict[str, Any], program: str, names: list[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the tests see: shared standard modules, and what is the program's own.

    A name of a builtin counts as the program's only when the tests use no other function of the
    program; else redefining `abs` or `len` would decide comparisons.
    """
    imported = _imports(program, names)
    found = {name: value for name, value in found.items() if name not in imported}
    own = any(callable(value) for name, value in found.items() if not hasattr(builtins, name))
    kept = {name: v for name, v in found.items() if not (own and hasattr(builtins, name))}
    return imported, kept


def _imports(program: str, names: list[str]) -> dict[str, Any]:
    """The tester's own copies of what the program imports at top level and the tests name."""
    found: dict[str, Any] = {}
    for node in ast.parse(program).body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound = alias.asname or alias.name
                if bound in names and alias.name in _SHARED_MODULES:
                    found[bound] = importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module in _SHARED_MODULES:
            module = importlib.import_module(node.module)
            for alias in node.names:
                wanted = names if alias.name == "*" else [alias.asname or alias.name]
                for bound in set(wanted) & set(names):
                    source = bound if alias.name == "*" else alias.name
                    if hasattr(module, source):
                        found[bound] = getattr(module, source)
    return found


def _names(code: types.CodeType) -> Iterator[str]:
    yield from (name for name in code.co_names if not name.startswith("__"))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _failure(error: BaseException, tests: str, peer: Peer) -> str:
    lines = tests.splitlines()
    numbers = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == _TESTS and frame.lineno and frame.lineno <= len(lines)
    ]
    line = lines[numbers[-1] - 1].strip() if numbers else ""
    what = "failed" if isinstance(error, AssertionError) else f"raised {described(error)} at"
    call = f"; {peer.last_call}" if peer.last_call else ""
    return f"{what}: {line}{call}"


def _ended(pid: int, limits: dict[str, Any], output: int, killed_for: str) -> str:
    """Why the program's process is gone. It is not reaped: its parent's parent does that."""
    for _ in range(50):
        info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        if info is not None and info.si_pid:
            if info.si_code == os.CLD_EXITED:
                return f"the program ended with exit status {info.si_status}" + _printed(output)
            if info.si_status == signal.SIGKILL:
                over = f"over {limits['cpu_seconds']} s of CPU, or {killed_for}"
                return f"the program was killed: {over}"
            return f"the program was ended by signal {info.si_status}" + _printed(output)
        time.sleep(0.002)
    return "the program closed its connection"


def _printed(output: int) -> str:
    text = os.pread(output, 400, 0).decode(errors="replace").strip()
    return f"; printed {text[:160]!r}" if text else ""


def run(
    job: dict[str, Any], peer: Peer, program_pid: int, output: int, killed_for: str
) -> dict[str, Any]:
    """`judge`, with the tester's own failures reported as unknown."""
    try:
        with open(os.devnull, "w") as nowhere:
            sys.stdout = sys.stderr = nowhere
            return judge(peer, job, program_pid, output, killed_for)
    except BaseException as error:
        return result("unknown", f"the tester failed: {described(error)}")
