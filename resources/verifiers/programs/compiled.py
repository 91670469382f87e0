"""C++ programs: compiled once in the sandbox, with a driver where a function is to be called.

The driver (`driver.h`) reads arguments from standard input and prints the value that the
function returns, so that what is expected never stands in the program's process.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resources.verifiers.isolation.kernel import namespaces
from resources.verifiers.programs import driver, sandbox
from resources.verifiers.programs.code_tests import Functions, Pairs
from resources.verifiers.programs.pairs import PairsRun
from resources.verifiers.programs.sandbox import Limits
from resources.verifiers.verdict import Verdict, shorten

COMPILING = Limits(
    cpu_seconds=30,
    wall_seconds=90.0,
    memory_bytes=2 << 30,
    processes=16,
    file_bytes=64 * 2**20,
    open_files=64,
)


class Binaries:
    """The distinct programs of a call to `verify_many`, and their binaries once they are built."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._sources: dict[str, str] = {}  # source with its driver -> binary, once there is one

    def ask(self, source: str, tests: Pairs | Functions) -> tuple[dict[str, Any], Pairs]:
        """The part of a job that will run this program, and its tests as pairs."""
        if isinstance(tests, Functions):
            source = driver.source(source, tests.name)
            outputs = tuple(json.dumps(each) for each in tests.outputs)
            inputs = tuple(json.dumps(each) for each in tests.inputs)
            tests = Pairs(inputs, outputs, tests.tolerance, tests.checker, values=True)
        self._sources.setdefault(source, "")
        return {"source": source}, tests

    def build(self, runs: Mapping[int, PairsRun]) -> dict[int, Verdict]:
        """Compile all; the verdicts on what does not compile. The others' jobs get their binary."""
        why = self._impossible()
        if why:
            return dict.fromkeys(runs, Verdict("unknown", f"cannot be judged: {why}"))
        compiler = os.path.realpath(str(_compiler()))
        sources = list(self._sources)
        asked = [{"compile": source, "compiler": compiler} for source in sources]
        results = sandbox.shared().results(asked, COMPILING)
        built = dict(zip(sources, results, strict=True))
        failed = {}
        for place, run in runs.items():
            result = built[run.program.pop("source")]
            if "binary" in result:
                run.program |= {"binary": result["binary"], "program": ""}
            else:
                failed[place] = _refused(result)
        return failed

    @staticmethod
    def _impossible() -> str | None:
        if not sandbox.shared().runs_binaries:
            return f"C++ needs the tier namespaces; here is {sandbox.shared().tier}"
        return None if _compiler() else "there is no g++ in the system's folders"


def _compiler() -> str | None:
    """The compiler that a program sees: one in the folders that the sandbox shows."""
    found = shutil.which("g++", path="/usr/bin:/bin")
    shown = found and any(
        Path(os.path.realpath(found)).is_relative_to(f) for f in namespaces.SYSTEM
    )
    return found if shown else None


def _refused(result: Mapping[str, Any]) -> Verdict:
    """The verdict on what did not compile; errors in the call alone are not the program's."""
    if result.get("why") != "status":
        verdict = "incorrect" if result.get("why") else "unknown"
        return Verdict(verdict, f"compile error: {result['evidence']}")  # type: ignore[arg-type]
    errors = [line for line in result["said"].splitlines() if "error:" in line]
    evidence = f"compile error: {shorten(' '.join(errors[:2]), 300)}"
    if not any(line.startswith(driver.PROGRAM) for line in errors):
        absent = "has not been declared" in evidence or "is not a member" in evidence
        return Verdict("incorrect" if absent else "unknown", evidence)
    return Verdict("incorrect", evidence)
