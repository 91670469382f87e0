"""The sandbox: right programs pass, programs that fake success or try to get out do not."""

import gzip
import json
import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from resources.verifiers import code
from resources.verifiers.programs import sandbox
from resources.verifiers.programs.sandbox import Sandbox, SandboxUnavailable
from tests.resources.verifiers.hostile import CHEATS, HONEST, QUICK, TESTS

HERE = Path(__file__).parent  # of the checkout only the way to libraries is to be seen
DATA = Path(os.environ.get("HEIRLOOM_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))


pytestmark = pytest.mark.usefixtures("tier")


def test_a_right_program_passes_and_a_wrong_one_does_not() -> None:
    right = code.verify("def solve(x):\n    return x + 1", TESTS)
    wrong = code.verify("def solve(x):\n    return 2", TESTS)
    assert right.verdict == "correct"
    assert wrong.verdict == "incorrect"
    assert "assert solve(5) == 6" in wrong.evidence and "solve(5) returned 2" in wrong.evidence


def test_no_cheat_passes_and_none_disturbs_its_neighbours() -> None:
    jobs = [job for cheat in CHEATS.values() for job in ((cheat, TESTS), (HONEST, TESTS))]
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


def test_programs_see_nothing_of_each_other_or_of_the_host(tmp_path: Path, tier: str) -> None:
    canary = tmp_path / "canary"
    canary.write_text("secret")
    leave = "open('mark', 'w').write('x')\ndef solve(x): return 1"
    look = f"""
import os
def read(path, look):
    try: return look(path)
    except OSError: return None
def solve(x):
    return [read('mark', open), read({str(canary)!r}, open), read({str(HERE)!r}, os.listdir),
            dict(os.environ), [p for p in read('/proc', os.listdir) or [] if p != str(os.getpid())
            and p.isdigit()], os.listdir('.'), os.getpid() == 1]
"""
    tests = f"assert solve(0) == [None, None, None, {{}}, [], [], {tier == 'namespaces'}]"
    first, second = code.verify_many([(leave, "assert solve(0) == 1"), (look, tests)])
    assert first.correct and second.correct, second.evidence
    assert canary.read_text() == "secret"


def test_nothing_outlives_a_program() -> None:
    mark = f"heirloom-leftover-{os.getpid()}"
    stay = f"""
import os, signal, time
def solve(x):
    open({mark!r}, 'w').close()
    try:
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 60))
                os.chdir('/')
                time.sleep(600)
    except OSError: pass
    return 1
"""
    before = set(_processes())
    assert code.verify(stay, "assert solve(0) == 1").correct
    deadline = time.monotonic() + 20
    left: list[object] = [mark]
    while left:
        assert time.monotonic() < deadline, left
        files = Path(tempfile.gettempdir()).glob(f"heirloom-programs-*/*/{mark}")
        left = [*(set(_processes()) - before), *files]


def _processes() -> list[int]:
    """Sandboxed processes, which have no command line of their own but their server's."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if b"isolation.server" in path.read_bytes():
                found.append(int(path.parent.name))
    return found


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
        ("import asyncio\nasync def g(x):\n    await asyncio.sleep(0)\n    return x\n"
         "def f(x): return asyncio.run(g(x))", "assert f(3) == 3"),
        ("from concurrent.futures import ThreadPoolExecutor\ndef f(xs):\n"
         "    with ThreadPoolExecutor(4) as pool: return list(pool.map(abs, xs))",
         "assert f([-1, -2]) == [1, 2]"),
        ("import tempfile, os, shutil\ndef f(text):\n    with tempfile.TemporaryDirectory() as d:\n"
         "        with open(os.path.join(d, 'a'), 'w') as file: file.write(text)\n"
         "        shutil.copyfile(os.path.join(d, 'a'), os.path.join(d, 'b'))\n"
         "        return [open(os.path.join(d, 'b')).read(), sorted(os.listdir(d))]",
         "assert f('hi') == ['hi', ['a', 'b']]"),
        ("import signal\nclass Late(Exception): pass\ndef late(*_): raise Late\ndef f():\n"
         "    signal.signal(signal.SIGALRM, late)\n    try:\n"
         "        signal.setitimer(signal.ITIMER_REAL, 0.01)\n        while True: pass\n"
         "    except Late: return 'late'",
         "assert f() == 'late'"),
        ("import json, re, sqlite3, decimal, uuid, hashlib, datetime, multiprocessing, subprocess\n"
         "import unicodedata, zoneinfo, random, secrets\n"
         "def f(): return hashlib.sha256(b'').hexdigest()[:4] + str(len(uuid.uuid4().hex))",
         "assert f() == 'e3b032'"),
    ],
)  # fmt: skip
def test_what_tests_may_do_with_a_program(program: str, tests: str) -> None:
    verdict = code.verify(program, tests)
    assert verdict.correct, verdict.evidence


def test_what_cannot_be_judged_is_unknown() -> None:
    assert code.verify("x = 1", "assert (").verdict == "unknown"
    assert code.verify("def solve(x): return x", "assert 1 == 1").verdict == "unknown"
    assert code.verify("def solve(x): return x", "").verdict == "unknown"
    with pytest.raises(ValueError, match="only 'python' and 'cpp'"):
        code.verify("x", "y", language="cobol")


def test_a_machine_without_isolation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_BOOT", "raise SystemExit('no {tier} here')")
    with pytest.raises(SandboxUnavailable, match=r"no namespaces here.*no landlock here.*Needed"):
        Sandbox()


def test_a_probe_that_gets_out_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    escaped = tmp_path / "escape.py"
    contained = {"network": ["eth0"], "host files": [], "calls past the filter": []}
    escaped.write_text(f"def escapes(places): return {contained}")
    monkeypatch.setattr(sandbox, "_PROBE", escaped)
    with pytest.raises(SandboxUnavailable, match="eth0"):
        Sandbox()


def test_one_fenced_program_is_read() -> None:
    assert code.program("a\n```python\nx = 1\n```\nb") == "x = 1\n"
    assert code.program("```python\nx\n```\n```python\ny\n```") == "y\n"
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
