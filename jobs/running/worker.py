"""`python -m jobs.running.worker`: builds one partition in a process of its own, for `workers`.

Reads its task, one line of JSON, from standard input, and answers with lines of JSON on standard
output: progress, then the outcome. When standard input closes, its driver is gone, and the worker
ends at once with everything that it started. Knows the one door; decides nothing.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from typing import Any, TextIO

from jobs.errors import one_line
from resources.execution import Execution
from resources.pretrained.source import ParentSource
from resources.store.building import Code, code_of, load, materialise
from resources.store.spec import Spec
from warehouse.errors import WarehouseError
from warehouse.manifest import jsonable, label
from warehouse.store import CheckFailed, Store


@dataclass(frozen=True)
class Task:
    """What to build, exactly as the driver planned it, and how."""

    spec: Spec
    code: Code
    partition: str | None
    home: str
    execution: Execution
    run_id: str

    @property
    def label(self) -> str:
        return label(self.spec.key, self.partition)

    def to_line(self) -> str:
        """One line of JSON. ValueError for a spec of other than plain values."""
        values = vars(self) | {
            "spec": dataclasses.asdict(self.spec),
            "code": dataclasses.asdict(self.code),
            "execution": self.execution.recorded(),
        }
        return json.dumps(values, allow_nan=False) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Task:
        """The task of such a line."""
        values = json.loads(line)
        spec = values.pop("spec")
        for name, value in spec.items():
            spec[name] = tuple(value) if isinstance(value, list) else value
        if isinstance(spec["source"], dict):
            spec["source"] = ParentSource.of(spec["source"])
        execution = Execution.read(values["execution"])
        parts = {"spec": Spec(**spec), "code": Code(**values["code"]), "execution": execution}
        return cls(**values | parts)


def build(task: Task, answers: TextIO) -> None:
    """Build or restore the task's partition and publish it.

    WarehouseError where the code on disk is no longer the planned one.
    """

    def answer(**values: Any) -> None:
        print(json.dumps(jsonable(values)), file=answers, flush=True)

    def progress(message: str, fraction: float) -> None:
        answer(progress=[message, fraction])

    try:
        load(task.spec.fn)
        if code_of(task.spec).version != task.code.version:
            raise WarehouseError(f"the code of {task.spec.key} changed on disk; run again")
        execution = task.execution.but(progress=progress)
        store = Store(task.home)
        materialise(store, task.spec, task.code, execution, task.run_id, task.partition)
    except CheckFailed as error:
        answer(failed=str(error), checks=[dataclasses.asdict(each) for each in error.results])
    except Exception as error:
        print(f"{task.label}:", file=sys.stderr)
        traceback.print_exc()
        answer(failed=one_line(error))
    else:
        answer(made=True)


def end_with_driver() -> None:
    """Wait until standard input closes; then kill this process and those that it started."""
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)


def main() -> int:
    """Build what standard input asks for; the outcome is in the answer, not in the exit code."""
    line = sys.stdin.readline()
    if not line:
        return 1
    threading.Thread(target=end_with_driver, daemon=True).start()
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)  # what libraries print goes to the driver's log
        build(Task.from_line(line), answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
