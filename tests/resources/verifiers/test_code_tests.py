"""Tests as TACO, APPS, CodeContests and LiveCodeBench write them; fences; matching of outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resources.verifiers import code, dispatch
from resources.verifiers.isolation.testing import matching
from resources.verifiers.programs import code_tests, sandbox
from resources.verifiers.programs.code_tests import Functions, Pairs
from resources.verifiers.programs.sandbox import Limits, Sandbox, SandboxUnavailable
from tests.resources.verifiers import hostile_cpp
from tests.resources.verifiers.hostile import CHEATS, QUICK

CASES = Path(__file__).parents[4] / "shared" / "cases" / "code.jsonl"
DOUBLE = {"inputs": ["3\n", "5\n"], "outputs": ["6\n", "10\n"]}
ADD = {"fn_name": "add", "inputs": [[1, 2], [3, 4]], "outputs": [3, 7]}


@pytest.mark.parametrize(
    "given",
    [
        DOUBLE,
        {"input": DOUBLE["inputs"], "output": DOUBLE["outputs"]},  # CodeContests
        [
            {"input": "3\n", "output": "6\n", "testtype": "stdin"},
            {"input": "5\n", "output": "10\n", "testtype": "stdin"},
        ],
        {"inputs": [["3", ""], ["5", ""]], "outputs": [["6", ""], ["10", ""]]},  # lists of lines
    ],
)  # fmt: skip
def test_pairs_in_every_spelling(given: Any) -> None:
    read = code_tests.read(json.dumps(given))
    assert read == Pairs(("3\n", "5\n"), ("6\n", "10\n"))


@pytest.mark.parametrize(
    "given",
    [
        ADD,
        ADD | {"inputs": ["1\n2", "3\n4"], "outputs": ["3", "7"]},  # LiveCodeBench
        [
            {"input": "1\n2", "output": "3", "testtype": "functional", "func_name": "add"},
            {"input": "3\n4", "output": "7", "metadata": {"func_name": "add"}},
        ],
    ],
)  # fmt: skip
def test_functions_in_every_spelling(given: Any) -> None:
    assert code_tests.read(json.dumps(given)) == Functions("add", ([1, 2], [3, 4]), (3, 7))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (" ", "empty"),
        ("[1, 2", "neither Python nor JSON"),
        ("[1, 2]", "not of objects"),
        ('{"inputs": []}', "without outputs"),
        ('{"inputs": [], "outputs": []}', "0 inputs"),
        ('{"inputs": ["1"], "outputs": []}', "1 inputs but 0 outputs"),
        ('{"inputs": [1], "outputs": ["1"]}', "texts or lists of lines"),
        ('{"inputs": "1", "outputs": "1"}', "must be lists"),
        ('{"inputs": ["1"], "outputs": ["1"], "tolerance": "x"}', "tolerance is"),
        ('{"inputs": ["1"], "outputs": ["1"], "checker": "wat"}', "checker is"),
        ('{"inputs": ["x"], "outputs": ["1"], "fn_name": "f"}', "no JSON"),
        ('{"inputs": [[1]], "outputs": [1], "fn_name": "a b"}', "no name of a function"),
        ('[{"input": "1", "output": "1", "testtype": "functional"}]', "of which function"),
    ],
)
def test_tests_that_judge_nothing_are_refused_and_unknown(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        code_tests.read(text)


@pytest.mark.parametrize(
    ("given", "wanted", "checker", "tolerance", "right"),
    [
        ("6", "6\n", "lines", 0, True),
        ("6  \n\n", "6", "lines", 0, True),
        (" 6", "6", "lines", 0, False),
        ("6\r\n7", "6\n7\n", "lines", 0, True),
        ("0.1", "0.10000001", "lines", 1e-6, True),
        ("0.1", "0.2", "lines", 1e-6, False),
        ("10", "10.0", "lines", 1e-6, True),
        ("1000000", "1000001", "lines", 1e-3, False),
        ("1.0", "1.00", "lines", 0, False),
        ("a\nb", "b\na", "lines", 0, False),
        ("a\nb", "b\na", "unordered", 0, True),
        ("a\na", "b\na", "unordered", 0, False),
        ("1\n2 3", "1 2\n3", "tokens", 0, True),
        ("6\n", "6", "exact", 0, False),
    ],
)
def test_printed(given: str, wanted: str, checker: str, tolerance: float, right: bool) -> None:
    assert matching.printed(given, wanted, checker, tolerance) is right


@pytest.mark.parametrize(
    ("value", "wanted", "right"),
    [
        (3, 3, True), (3, [3], True), ([3], [3], True), (3.0, 3, True), (0.1 + 0.2, 0.3, True),
        (True, 1, False), (1, True, False), ((1, (2,)), [1, [2]], True), ({1: 2}, {"1": 2}, True),
        ({3, 1}, [1, 3], True), ("a", "a", True), (None, None, True), (float("nan"), 1.0, False),
        ([1, 2], [2, 1], False), (float("inf"), float("inf"), True), ("3", 3, False),
    ],
)  # fmt: skip
def test_returned(value: Any, wanted: Any, right: bool) -> None:
    assert matching.returned(value, wanted, "equal", 1e-6) is right
    assert not right or matching.returned(value, wanted, "unordered", 1e-6)


PROGRAM = "x = 1\nprint(x)\n"


@pytest.mark.parametrize(
    "answer",
    [
        f"a\r\n```python\r\n{PROGRAM}```\r\nb".replace("\n", "\r\n").replace("\r\r", "\r"),
        f"```\n{PROGRAM}```",
        f"~~~py\n{PROGRAM}~~~",
        f"````python\n{PROGRAM}````",
        f"```python\ndraft\n```\nBetter:\n```Python3\n{PROGRAM}```",
        f"```\n1 2\n```\n```python\n{PROGRAM}```\nprints\n```text\n1\n```",
        f"````markdown\nThe program:\n```python\n{PROGRAM}```\n````",
        f"   ``` {{.python}}\n{PROGRAM}   ```",
        f'```python title="a.py"\n{PROGRAM}```',
    ],
)
def test_fences_in_every_spelling(answer: str) -> None:
    assert code.program(answer) == PROGRAM


@pytest.mark.parametrize(
    "answer", ["x = 1", f"```python\n{PROGRAM}", f"```rust\n{PROGRAM}```", "```python\n\n```"]
)
def test_what_is_no_program(answer: str) -> None:
    assert code.program(answer) is None


def test_a_program_of_the_language_asked_for() -> None:
    both = "```python\na\n```\n```c++\nb\n```"
    assert (code.program(both), code.program(both, "cpp")) == ("a\n", "b\n")


@pytest.fixture
def binaries() -> Iterator[None]:
    """The tier that runs C++; skipped, and why, where this machine does not have it."""
    try:
        with Sandbox(tiers=["namespaces"]) as started, pytest.MonkeyPatch.context() as patch:
            patch.setattr(sandbox, "_shared", started)
            yield
    except SandboxUnavailable as error:
        pytest.skip(str(error))


def test_programs_by_pairs(tier: str) -> None:
    tests = json.dumps(DOUBLE)
    right = [
        "n = int(input())\nprint(n * 2)",
        "def main(): print(int(open(0).read()) * 2, end='')\nif __name__ == '__main__': main()",
        "import sys\nsys.stdout.write(str(int(sys.stdin.buffer.read()) * 2))\nsys.exit(0)",
        "import threading\nt = threading.Thread(target=lambda: print(int(input()) * 2))\nt.start()",
        "from collections import *\nprint(Counter(a=int(input()))['a'] * 2)\nimport os",
    ]
    wrong = {
        "print(int(input()) * 2 + 1)": "test 1, given '3\\n': printed '7\\n', expected '6\\n'",
        "n = int(input())\nprint(6)": "test 2, given '5\\n': printed '6\\n'",
        "raise SystemExit(1)": "exit status 1",
        "x = 1\n1 / 0": "ZeroDivisionError in line 2",
        "print(6": "SyntaxError",
        "input()\ninput()": "EOFError",
        "import sys\nprint(6, file=sys.stderr)": "printed ''",
    }
    jobs = [(program, tests) for program in [*right, *wrong]]
    verdicts = code.verify_many(jobs)
    assert [each.evidence for each in verdicts[: len(right)]] == ["all 2 tests passed"] * len(right)
    for each, evidence in zip(verdicts[len(right) :], wrong.values(), strict=True):
        assert each.verdict == "incorrect" and evidence in each.evidence, each.evidence
    assert "(1 of 2 passed)" in verdicts[len(right) + 1].evidence


def calls(inputs: list[Any], outputs: list[Any]) -> str:
    return json.dumps({"fn_name": "f", "inputs": inputs, "outputs": outputs})


def test_programs_by_functions(tier: str) -> None:
    tests = json.dumps(ADD)
    method = "class Solution:\n    def add(self, a: List[int], b): return a + b"
    equal = "def f(x):\n    class A:\n        def __eq__(self, o): return True\n    return A()"
    jobs = [
        ("def add(a, b): return a + b", tests),
        (method, tests),
        ("def add(a, b): return 3", tests),
        ("def sub(a, b): return a - b", tests),
        ("def add(a, b): raise ValueError('no')", tests),
        ("def f(x): x.reverse()", calls([[[1, 2]]], [[2, 1]])),
        ("def f(n):\n    for i in range(n): yield i, i / 3", calls([[2]], [[[0, 0], [1, 1 / 3]]])),
        (equal, calls([[2]], [2])),
    ]
    got = code.verify_many(jobs)
    assert [each.verdict for each in got] == [
        *["correct"] * 2, *["incorrect"] * 3, *["correct"] * 2, "unknown",
    ]  # fmt: skip
    assert got[2].evidence == "test 2 of 2: add(3, 4) returned 3, expected 7"


def test_no_cheat_passes_pairs_or_functions(tier: str) -> None:
    pairs = json.dumps({"inputs": ["1\n"], "outputs": ["2\n"]})
    named = json.dumps({"fn_name": "solve", "inputs": [[1], [5]], "outputs": [2, 6]})
    slow = {"sleep", "endless", "endless call", "memory by lists", "fork bomb", "thread bomb"}
    quick = {name: cheat for name, cheat in CHEATS.items() if name not in slow}
    for tests in (pairs, named):
        verdicts = code.verify_many([(cheat, tests) for cheat in quick.values()], limits=QUICK)
        assert [n for n, each in zip(quick, verdicts, strict=True) if each.correct] == []


def test_a_declared_checker_judges(tier: str) -> None:
    checker = "def check(given, printed, expected):\n    return sorted(printed) == sorted(expected)"
    tests = {"inputs": [""], "outputs": ["ab"], "checker": checker}
    assert code.verify("print('ba', end='')", json.dumps(tests)).correct
    assert code.verify("print('bb', end='')", json.dumps(tests)).verdict == "incorrect"
    broken = tests | {"checker": "def check(given, printed, expected):\n    return 1 / 0"}
    assert code.verify("print('ab')", json.dumps(broken)).verdict == "unknown"


def test_cpp_programs(binaries: None) -> None:
    pairs, calls = json.dumps(DOUBLE), json.dumps(ADD)
    double = "#include <iostream>\nint main() { long n; std::cin >> n; std::cout << 2 * n; }"
    jobs = [
        (double, pairs),
        (double.replace("2 * n", "2 * n + n / 5"), pairs),
        (double.replace("long n;", "long m;"), pairs),
        ("int add(int a, int b) { return a + b; }\nint main() { return 1; }", calls),
        ("struct Solution { long add(long a, long b) { return a - b; } };", calls),
        ("int sub(int a, int b) { return a - b; }", calls),
        ("struct N {};\nint add(N* a, N* b) { return 1; }", calls),
        (double, "assert f(1) == 2"),
    ]
    got = code.verify_many(jobs, "c++")
    assert [each.verdict for each in got] == [
        "correct", *["incorrect"] * 2, "correct", *["incorrect"] * 2, *["unknown"] * 2,
    ]  # fmt: skip
    assert "(1 of 2 passed)" in got[1].evidence
    assert got[2].evidence.startswith("compile error: program.cpp:2:")
    row = {"domain": "code", "tests": pairs, "metadata": '{"language": "cpp"}'}
    assert dispatch.verify("code", f"```cpp\n{double}\n```", row).correct


def test_hostile_cpp_is_contained(binaries: None) -> None:
    quick = Limits(cpu_seconds=1, wall_seconds=4.0)
    names = ["exit", "verdicts on every descriptor", "a host file in the binary", "endless output"]
    jobs = [(hostile_cpp.CHEATS[name], hostile_cpp.TESTS) for name in names]
    jobs += [(hostile_cpp.HONEST, hostile_cpp.TESTS), (hostile_cpp.ESCAPES, hostile_cpp.CONTAINED)]
    got = code.verify_many(jobs, "cpp", quick)
    assert [each.correct for each in got] == [False] * len(names) + [True, True], got


@pytest.mark.skipif(not CASES.exists(), reason="no shared cases here")
def test_shared_cases(tier: str) -> None:
    rows = [json.loads(line) for line in CASES.read_text().splitlines()]
    for row in rows:
        tests = row["tests"] if isinstance(row["tests"], str) else json.dumps(row["tests"])
        found = code.verify(row["program"], tests)
        right = row["right"].split(":")[0].split(",")[0]
        assert found.verdict == (right if right in ("correct", "incorrect") else "correct"), row
