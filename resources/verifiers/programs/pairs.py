"""One program on pairs of standard input and output: what to run next, and what has been seen.

Every pair is a process of its own, so no state and no limit is shared. Pairs run in growing waves;
the first wave in which one fails is the last.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from resources.verifiers.isolation.testing import matching
from resources.verifiers.programs import sandbox
from resources.verifiers.programs.code_tests import Pairs
from resources.verifiers.programs.sandbox import Limits
from resources.verifiers.verdict import Verdict, shorten

_CHECKING = Limits(wall_seconds=10.0)


class PairsRun:
    """The state of one program's run. `program` is the part of a job that says what to run."""

    def __init__(self, program: Mapping[str, Any], tests: Pairs) -> None:
        self.program = dict(program)
        self.tests = tests
        self.passed = 0
        self._size = 1

    def wave(self) -> list[dict[str, Any]]:
        """The jobs to run next."""
        given = self.tests.inputs[self.passed : self.passed + self._size]
        return [self.program | {"stdin": text} for text in given]

    def take(self, results: Sequence[Mapping[str, Any]]) -> Verdict | None:
        """The verdict, once it is known, from the results of the last wave."""
        count = len(self.tests.inputs)
        marks = []
        first: Verdict | None = None
        for index, result in enumerate(results, self.passed):
            verdict = self._judge(index, result)
            marks.append(verdict.verdict)
            if first is None and not verdict.correct:
                first = verdict
        if first is None:
            self.passed += len(results)
            self._size *= 2
            every = f"all {count} tests passed"
            return Verdict("correct", every) if self.passed == count else None
        right = self.passed + marks.count("correct")
        tried = self.passed + len(results)
        left = f", {count - tried} not run" if tried < count else ""
        return Verdict(first.verdict, f"{first.evidence} ({right} of {count} passed{left})")

    def _judge(self, index: int, result: Mapping[str, Any]) -> Verdict:
        given, wanted = self.tests.inputs[index], self.tests.outputs[index]
        where = f"test {index + 1}, given {_shown(given)}"
        if "stdout" not in result:
            return Verdict(result["verdict"], f"{where}: {result['evidence']}")
        right = self._right(given, result["stdout"], wanted)
        if isinstance(right, Verdict):
            return right
        text = f"{where}: printed {_shown(result['stdout'])}, expected {_shown(wanted)}"
        return Verdict("correct" if right else "incorrect", text)

    def _right(self, given: str, printed: str, wanted: str) -> bool | Verdict:
        """Whether the output is right; a checker's own failure is a verdict."""
        if self.tests.values:
            return self._returned(printed, wanted)
        if self.tests.checker in matching.CHECKERS:
            return matching.printed(printed, wanted, self.tests.checker, self.tests.tolerance)
        result = sandbox.shared().call(
            self.tests.checker, "check", [given, printed, wanted], _CHECKING
        )
        value = result.get("value")
        if not isinstance(value, bool):
            said = json.dumps(value) if "value" in result else result["evidence"]
            return Verdict("unknown", f"the checker gave no verdict: {shorten(said)}")
        return value

    def _returned(self, printed: str, wanted: str) -> bool:
        """Whether the last line printed is the value wanted."""
        lines = printed.split("\n")[:-1]
        try:
            value = json.loads(lines[-1])
        except (IndexError, ValueError, RecursionError):
            return False
        return matching.returned(
            value, json.loads(wanted), self.tests.checker, self.tests.tolerance
        )


def _shown(text: str) -> str:
    short = text if len(text) <= 60 else text[:57] + "..."
    return repr(short)
