"""References and stubs of HumanEval and MBPP by every form of tests, in Python and C++.

    python -m benchmarks.code_tasks [DATA] [--cpp]

DATA holds `humaneval/HumanEval.jsonl.gz` and `mbpp/mbpp.jsonl` (default: HEIRLOOM_SHARED_DATA). The
arguments and values of each task's own tests are recorded by running its reference in the sandbox;
from them come the same tests as standard input and output, and as a named function in JSON, as far
as its values are JSON. `--cpp` adds C++ programs of the same tasks (`cpp_tasks.py`), right and
wrong. Prints a Markdown table, and every reference that was not judged correct.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cpp_tasks import TASKS
from resources.verifiers import code
from resources.verifiers.programs import sandbox
from resources.verifiers.programs.sandbox import Limits
from resources.verifiers.verdict import Verdict

RECORDING = """
def recorded_calls():
    import copy, builtins
    calls = []
    original = globals()[{name!r}]
    def candidate(*given):
        kept = copy.deepcopy(given)
        value = original(*given)
        calls.append((kept, copy.deepcopy(value)))
        return value
    globals()[{name!r}] = candidate
    exec({tests!r}, globals())
    return [repr(calls)]
"""
READING = "\nprint(repr({name}(*__import__('ast').literal_eval(__import__('sys').stdin.read()))))\n"


@dataclass(frozen=True)
class Task:
    """A task of a benchmark: its reference, its tests as assertions, and what they call."""

    id: str
    name: str
    reference: str
    stub: str
    tests: str


def humaneval(data: Path) -> Iterator[Task]:
    """The tasks of HumanEval."""
    with gzip.open(data / "humaneval/HumanEval.jsonl.gz", "rt") as file:
        for row in map(json.loads, file):
            name, prompt = row["entry_point"], row["prompt"]
            tests = f"{row['test']}\ncheck({name})"
            reference = prompt + row["canonical_solution"]
            yield Task(row["task_id"], name, reference, f"{prompt}    pass\n", tests)


def mbpp(data: Path) -> Iterator[Task]:
    """The tasks of MBPP; the function is what its first test calls."""
    import re

    for row in map(json.loads, (data / "mbpp/mbpp.jsonl").open()):
        tests = "\n".join([row.get("test_setup_code") or "", *row["test_list"]])
        defined = re.findall(r"^def\s+(\w+)", row["code"], re.MULTILINE)
        called = [name for name in re.findall(r"\w+", row["test_list"][0]) if name in defined]
        name = called[0] if called else ""
        stub = f"def {name}(*given):\n    pass\n"
        yield Task(f"MBPP/{row['task_id']}", name, row["code"], stub, tests)


def calls(task: Task) -> list[tuple[tuple[Any, ...], Any]]:
    """Arguments and values of the calls that the tests make, as far as they are literals."""
    import ast

    program = task.reference + RECORDING.format(name=task.name, tests=task.tests)
    limits = Limits(cpu_seconds=20, wall_seconds=60.0)
    result = sandbox.shared().call(program, "recorded_calls", [], limits)
    try:
        return ast.literal_eval(result["value"][0])  # type: ignore[no-any-return]
    except (KeyError, ValueError, SyntaxError):
        return []


def as_pairs(task: Task, made: Sequence[tuple[tuple[Any, ...], Any]]) -> str:
    """The calls as standard input and output, written as Python literals."""
    given = [repr(arguments) for arguments, _ in made]
    return json.dumps({"inputs": given, "outputs": [repr(value) for _, value in made]})


def as_function(task: Task, made: Sequence[tuple[tuple[Any, ...], Any]]) -> str | None:
    """The calls as JSON, or None where their arguments are not what JSON holds."""
    given = [list(arguments) for arguments, _ in made]
    values = [value for _, value in made]
    try:
        text = json.dumps({"fn_name": task.name, "inputs": given, "outputs": values})
    except TypeError:
        return None
    return text if json.loads(text)["inputs"] == given else None


def row(name: str, right: Sequence[Verdict], wrong: Sequence[Verdict]) -> str:
    """A line of the table."""
    passed, fooled = (sum(each.correct for each in part) for part in (right, wrong))
    unknown = sum(each.verdict == "unknown" for each in [*right, *wrong])
    share = f"{passed}/{len(right)} ({100 * passed / max(len(right), 1):.1f} %)"
    return f"| {name} | {share} | {fooled}/{len(wrong)} | {unknown} |"


def judged(
    jobs: Sequence[tuple[str, str, str]], language: str = "python"
) -> tuple[list[Verdict], list[Verdict]]:
    """Verdicts on right and on wrong programs of (right, wrong, tests)."""
    right = code.verify_many([(good, tests) for good, _, tests in jobs], language)
    return right, code.verify_many([(bad, tests) for _, bad, tests in jobs], language)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = os.environ.get("HEIRLOOM_SHARED_DATA", "../shared/data")
    parser.add_argument("data", type=Path, nargs="?", default=Path(default))
    parser.add_argument("--cpp", action="store_true", help="C++ programs too (minutes of CPU)")
    given = parser.parse_args()
    print("| tests | references correct | stubs correct | unknown |\n|---|---|---|---|")
    failed = []
    for name, tasks in (
        ("HumanEval", list(humaneval(given.data))),
        ("MBPP", list(mbpp(given.data))),
    ):
        made = {task.id: calls(task) for task in tasks}
        told = [task for task in tasks if made[task.id]]
        functions = [(t, text) for t in told if (text := as_function(t, made[t.id]))]
        forms = {
            "assertions": [(t, t.reference, t.stub, t.tests) for t in tasks],
            "standard input and output": [
                (
                    t,
                    t.reference + READING.format(name=t.name),
                    t.stub + READING.format(name=t.name),
                    as_pairs(t, made[t.id]),
                )
                for t in told
            ],
            "named function": [(t, t.reference, t.stub, text) for t, text in functions],
        }
        if given.cpp and name == "HumanEval":
            forms["named function, C++"] = [
                (t, TASKS[t.name], f"int {t.name}() {{ return 0; }}", text)
                for t, text in functions
                if t.name in TASKS
            ]
        for form, jobs in forms.items():
            language = "cpp" if form.endswith("C++") else "python"
            right, wrong = judged([job[1:] for job in jobs], language)
            print(row(f"{name}, {form}", right, wrong), flush=True)
            failed += [
                f"{job[0].id} ({form}): {each.verdict}: {each.evidence}"
                for job, each in zip(jobs, right, strict=True)
                if not each.correct
            ]
    print(*(f"- {line}" for line in failed), sep="\n")


if __name__ == "__main__":
    main()
