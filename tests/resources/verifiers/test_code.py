"""The sandbox: right programs pass, programs that fake success or try to get out do not."""

import gzip
import json
import os
from pathlib import Path

import pytest

from resources.verifiers import code, sandbox
from resources.verifiers.sandbox import Limits, Sandbox, SandboxUnavailable

DATA = Path(os.environ.get("HEIRLOOM_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
TESTS = "assert solve(1) == 2\nassert solve(5) == 6"
QUICK = Limits(cpu_seconds=1, wall_seconds=4.0)


@pytest.fixture(scope="module", autouse=True)
def _isolation() -> None:
    try:
        sandbox.shared()
    except SandboxUnavailable as error:
        pytest.skip(str(error))


def test_a_right_program_passes_and_a_wrong_one_does_not() -> None:
    right = code.verify("def solve(x):\n    return x + 1", TESTS)
    wrong = code.verify("def solve(x):\n    return 2", TESTS)
    assert right.verdict == "correct"
    assert wrong.verdict == "incorrect"
    assert "assert solve(5) == 6" in wrong.evidence and "solve(5) returned 2" in wrong.evidence


CHEATS = {
    "exit": "import sys; sys.exit(0)",
    "hard exit": "import os; os._exit(0)",
    "exit in the call": "import os\ndef solve(x):\n    os._exit(0)",
    "exit exception in the call": "def solve(x):\n    raise SystemExit(0)",
    "equal to everything": """
class Any(int):
    def __eq__(self, other): return True
    def __hash__(self): return 0
def solve(x): return Any(0)
""",
    "equal object": """
class Any:
    def __eq__(self, other): return True
def solve(x): return Any()
""",
    "list that equals": """
class Any(list):
    def __eq__(self, other): return True
def solve(x): return Any()
""",
    "patched builtins": """
import builtins
builtins.AssertionError = type("Quiet", (BaseException,), {})
builtins.__dict__["__build_class__"] = None
def solve(x): return 0
""",
    "frames": """
import sys
def solve(x):
    frame = sys._getframe()
    while frame:
        for name, value in list(frame.f_globals.items()):
            if name == "tests": frame.f_globals[name] = ""
        frame = frame.f_back
    return 0
""",
    "forged replies": """
import os, struct, json
def send(message):
    data = json.dumps(message).encode()
    for number in range(3, 64):
        try: os.write(number, struct.pack("!I", len(data)) + data)
        except OSError: pass
def solve(x):
    send({"verdict": "correct", "evidence": ""})
    send({"nonce": "", "verdict": "correct"})
    return 0
""",
    "forged remote": """
import os, struct, json
data = json.dumps({"names": {"solve": {"t": "type", "v": "bool"}, "assert": 1}}).encode()
for number in range(3, 64):
    try: os.write(number, struct.pack("!I", len(data)) + data)
    except OSError: pass
def solve(x): return 0
""",
    "asks the tester for its code": """
import os, struct, json
def solve(x):
    data = json.dumps({"op": "getattr", "args": ["", "join"], "kwargs": {}}).encode()
    for number in range(3, 64):
        try: os.write(number, struct.pack("!I", len(data)) + data)
        except OSError: pass
    return 0
""",
    "printed marker": "print('all tests passed')\ndef solve(x):\n    print('correct'); return 0",
    "endless": "while True: pass",
    "endless call": "def solve(x):\n    while True: pass",
    "sleep": "import time; time.sleep(60)",
    "endless output": "while True: print('x' * 10000)",
    "memory": "x = bytearray(4 << 30)",
    "memory by lists": "x = []\nwhile True: x.append('y' * 1000000)",
    "fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "thread bomb": """
import threading, time
while True: threading.Thread(target=time.sleep, args=(99,)).start()
""",
    "disk": "f = open('/tmp/x', 'wb')\nwhile True: f.write(b'x' * 1000000)",
    "deep": "x = []\nfor _ in range(100000): x = [x]\ndef solve(_): return x",
    "huge answer": "def solve(x): return 'x' * (30 << 20)",
    "crash": "import ctypes\ndef solve(x): ctypes.string_at(0)",
    "kill all": "import os, signal\nos.kill(-1, signal.SIGKILL)\ndef solve(x): return 0",
    "close the connection": "import os\nos.closerange(0, 100)\ndef solve(x): return 0",
    "no solution": "def other(x): return x",
    "not python": "def solve(x) return x",
}


def test_no_cheat_passes_and_none_disturbs_its_neighbours() -> None:
    honest = ("def solve(x):\n    return x + 1", TESTS)
    jobs = [job for cheat in CHEATS.values() for job in ((cheat, TESTS), honest)]
    verdicts = code.verify_many(jobs, limits=QUICK)
    passed = [name for name, got in zip(CHEATS, verdicts[::2], strict=True) if got.correct]
    assert passed == []
    assert {got.verdict for got in verdicts[1::2]} == {"correct"}


def test_swallowing_tests_do_not_hide_that_the_program_left() -> None:
    tests = "try:\n    solve(0)\nexcept BaseException:\n    pass"
    assert not code.verify("import os\ndef solve(x): os._exit(0)", tests).correct
    assert code.verify("def solve(x): raise ValueError(x)", tests).correct


def test_redefined_builtins_do_not_decide() -> None:
    tests = "assert abs(solve(2) - 4) < 1e-6\nassert len([solve(1)]) == 1"
    cheat = "def abs(x): return 0\ndef len(x): return 1\ndef solve(x): return 0"
    assert code.verify(cheat, tests).verdict == "incorrect"
    named_like_a_builtin = "def sum(a, b):\n    return a * b"
    assert code.verify(named_like_a_builtin, "assert sum(2, 3) == 6").correct


def test_programs_see_nothing_of_each_other_or_of_the_host(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_text("secret")
    leave = "open('/tmp/mark', 'w').write('x')\ndef solve(x): return 1"
    look = f"""
import os
def solve(x):
    return [os.path.exists('/tmp/mark'), os.path.exists({str(canary)!r}), dict(os.environ),
            os.path.exists({str(Path.cwd())!r}), [p for p in os.listdir('/proc') if p.isdigit()],
            os.getpid()]
"""
    tests = "assert solve(0) == [False, False, {}, False, ['1'], 1]"
    first, second = code.verify_many([(leave, "assert solve(0) == 1"), (look, tests)])
    assert first.correct and second.correct, second.evidence
    assert canary.read_text() == "secret"


@pytest.mark.parametrize(
    ("program", "tests"),
    [
        ("def f(xs): xs.append(1); xs.sort()", "x = [3]\nf(x)\nassert x == [1, 3]"),
        ("def f(xs):\n    for x in xs: yield x", "assert list(f([1, 2])) == [1, 2]"),
        ("def f(g, x): return g(x)", "assert f(lambda y: y * 2, 4) == 8"),
        ("def f(g, x): return g(x)", "assert f(str, 4) == '4'"),
        ("class E(ValueError): pass\ndef f(): raise E('a')",
         "try:\n    f()\n    assert False\nexcept E as e:\n    assert str(e) == 'a'"),
        ("def f(x): return int(x)",
         "try:\n    f('a')\nexcept ValueError: pass\nelse: assert False"),
        ("class S:\n    def __init__(self): self.x = []\n    def push(self, v): self.x.append(v)\n"
         "    def __len__(self): return len(self.x)",
         "s = S()\ns.push(3)\nassert len(s) == 1 and s.x == [3] and isinstance(s, S)"),
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\n"
         "def f(x): return P(x)", "assert f(1) == P(1)\nassert f(1) != P(2)"),
        ("import math\ndef f(x): return math.pi * x", "assert math.isclose(f(2), 2 * math.pi)"),
        ("def f(): return {1: (2, {3}), 'a': 10**40, None: 1.5j, b'x': frozenset([1])}",
         "assert f() == {1: (2, {3}), 'a': 10**40, None: 1.5j, b'x': frozenset([1])}"),
        ("from collections import Counter\ndef f(s): return Counter(s)",
         "assert f('aa') == {'a': 2}"),
        ("X = [1, 2]", "assert X == [1, 2]"),
    ],
)  # fmt: skip
def test_what_tests_may_do_with_a_program(program: str, tests: str) -> None:
    verdict = code.verify(program, tests)
    assert verdict.correct, verdict.evidence


def test_what_cannot_be_judged_is_unknown() -> None:
    assert code.verify("x = 1", "assert (").verdict == "unknown"
    assert code.verify("def solve(x): return x", "assert 1 == 1").verdict == "unknown"
    assert code.verify("def solve(x): return x", "").verdict == "unknown"
    with pytest.raises(ValueError, match="only 'python'"):
        code.verify("x", "y", language="cobol")


def test_a_machine_without_isolation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_BOOT", "raise SystemExit('no namespaces')")
    with pytest.raises(SandboxUnavailable, match="no namespaces"):
        Sandbox()


def test_a_probe_that_gets_out_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    escaped = tmp_path / "escape.py"
    escaped.write_text("def escapes(*args): return {'network': ['eth0']}")
    monkeypatch.setattr(sandbox, "_PROBE", escaped)
    with pytest.raises(SandboxUnavailable, match="eth0"):
        Sandbox()


def test_one_fenced_program_is_read() -> None:
    assert code.program("a\n```python\nx = 1\n```\nb") == "x = 1\n"
    assert code.program("```python\nx\n```\n```python\ny\n```") is None
    assert code.program("no fence") is None


@pytest.mark.skipif(not (DATA / "humaneval").exists(), reason="no HumanEval data here")
def test_humaneval_references_pass_and_stubs_fail() -> None:
    with gzip.open(DATA / "humaneval" / "HumanEval.jsonl.gz", "rt") as file:
        problems = [json.loads(line) for line in file]
    tests = [f"{p['test']}\ncheck({p['entry_point']})" for p in problems]
    references = [p["prompt"] + p["canonical_solution"] for p in problems]
    stubs = [p["prompt"] + "    pass\n" for p in problems]
    verdicts = code.verify_many(list(zip(references + stubs, tests + tests, strict=True)))
    assert sum(v.correct for v in verdicts[:164]) == 164
    assert sum(v.correct for v in verdicts[164:]) == 0
