"""Right programs and tests in any shape that Python allows; what cannot be judged is unknown."""

from __future__ import annotations

import pytest

from resources.recipe.programs import LIBRARIES
from resources.verifiers import code
from resources.verifiers.isolation.testing import shapes
from resources.verifiers.programs import libraries, sandbox
from resources.verifiers.programs.sandbox import Sandbox

ADD = "def add(a, b):\n    return a + b"
STACK = """
class Stack:
    def __init__(self): self.items = []
    def push(self, x): self.items.append(x)
    def __contains__(self, x): return x in self.items
    def __len__(self): return len(self.items)
    def __repr__(self): return f'Stack({self.items})'
    def __eq__(self, other): return self.items == getattr(other, 'items', other)
    def __enter__(self): self.push('in'); return self
    def __exit__(self, kind, error, trace): self.push(kind and kind.__name__); return True
    def __mul__(self, n): return [x * n for x in self.items]
    __rmul__ = __mul__
    async def later(self): return len(self)
"""
ASYNC = """
import asyncio
async def double(x):
    await asyncio.sleep(0)
    return 2 * x
async def count(n):
    for i in range(n): yield i
class Door:
    async def __aenter__(self): return 'open'
    async def __aexit__(self, *error): return False
"""
DECORATED = """
import functools
def counted(function):
    @functools.wraps(function)
    def inner(*given):
        inner.calls += 1
        return function(*given)
    inner.calls = 0
    function.wrapped = True
    return inner
@functools.lru_cache(None)
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
"""
SAYS = (
    "def greet(name):\n    print('Hi', name, end='!')\ndef ask():\n    return int(input('n? ')) + 1"
)
RIGHT = {
    "from solution import": (ADD, "from solution import add\nassert add(1, 2) == 3"),
    "import of the module": (ADD, "import solution as s\nassert s.add(1, 2) == 3"),
    "star": (ADD, "from your_module import *\nassert add(1, 2) == 3"),
    "pytest functions": (
        ADD,
        "import pytest\nfrom solution import add\n"
        "@pytest.mark.parametrize('a, b, c', [(1, 2, 3), (0, 0, 0)])\n"
        "def test_add(a, b, c):\n    assert add(a, b) == c\n"
        "def test_raises():\n    with pytest.raises(TypeError, match='unsupported'):\n"
        "        add(1, None)\n"
        "def test_near():\n    assert add(0.1, 0.2) == pytest.approx(0.3)",
    ),
    "fixtures": (
        ADD,
        "import pytest\n@pytest.fixture\ndef one(): return 1\n"
        "class TestAdd:\n    def test_add(self, one): assert add(one, 1) == 2",
    ),
    "unittest": (
        ADD,
        "import unittest\nclass T(unittest.TestCase):\n    def setUp(self): self.x = 1\n"
        "    def test(self):\n        self.assertEqual(add(self.x, 2), 3)\n"
        "        with self.assertRaises(TypeError): add(1, 'a')\n"
        "if __name__ == '__main__': unittest.main()",
    ),
    "in": (STACK, "s = Stack()\ns.push(3)\nassert 3 in s and 4 not in s"),
    "repr": (STACK, "s = Stack()\ns.push(3)\nassert repr(s) == 'Stack([3])' == f'{s}'"),
    "equal to a plain value": (STACK, "s = Stack()\ns.push(3)\nassert s == [3] and [4] != s"),
    "operators": (STACK, "s = Stack()\ns.push(3)\nassert s * 2 == [6] == 2 * s"),
    "with": (
        STACK,
        "with Stack() as s:\n    s.push(1)\n    raise ValueError\n"
        "assert s.items == ['in', 1, 'ValueError']",
    ),
    "await": (
        ASYNC,
        "import asyncio\nassert asyncio.run(double(2)) == 4\nasync def check():\n"
        "    assert await asyncio.gather(double(1), double(2)) == [2, 4]\n"
        "    assert [i async for i in count(3)] == [0, 1, 2]\n"
        "    async with Door() as d: assert d == 'open'\nasyncio.run(check())",
    ),
    "async tests": (
        ASYNC,
        "import pytest\n@pytest.mark.asyncio\nasync def test(): assert await double(2) == 4",
    ),
    "decorators": (
        DECORATED,
        "@counted\ndef f(x):\n    'Doc.'\n    return x + 1\nassert f(1) == 2 and f.calls == 1\n"
        "assert f.__name__ == 'f' and fib(30) == 832040 and fib.cache_info().misses == 31",
    ),
    "captured output": (
        SAYS,
        "import io, contextlib, sys\nout = io.StringIO()\n"
        "with contextlib.redirect_stdout(out): greet('Ann')\nassert out.getvalue() == 'Hi Ann!'\n"
        "sys.stdout = again = io.StringIO()\ngreet('Bo')\nassert again.getvalue() == 'Hi Bo!'\n"
        "def test(capsys):\n    greet('Cy')\n    assert capsys.readouterr().out == 'Hi Cy!'",
    ),
    "given input": (
        SAYS,
        "import sys, io\nfrom unittest.mock import patch\nsys.stdin = io.StringIO('4')\n"
        "assert ask() == 5\nwith patch('builtins.input', side_effect=['7']): assert ask() == 8",
    ),
    "named tuples": (
        "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)",
        "p = f()\nassert p.x == 1 and p == (1, 2)",
    ),
    "numpy in the tests": (
        "import numpy as np\ndef f(x):\n    x *= 2\n    return x @ np.eye(2)",
        "import numpy as np\nx = np.ones((2, 2))\nassert np.allclose(f(x), 2) and x.sum() == 8",
    ),
    "numpy's numbers": (
        "import numpy\ndef f(x): return numpy.int64(x), numpy.float32(x)",
        "assert f(1) == (1, 1.0)",
    ),
}  # fmt: skip
UNKNOWN = {
    "a library that is not there": ("import no_such_library\ndef f(): return 1", "assert f() == 1"),
    "the tests' library is not there": (ADD, "import no_such_library\nassert add(1, 2) == 3"),
    "one that is missed in the call": ("def f():\n    import no_such_library", "assert f() == 1"),
    "an object that says it is equal": (
        "class A:\n    def __eq__(self, o): return True\ndef f(): return A()", "assert f() == 1",
    ),
    "an object that says it holds it": (
        "class f:\n    def __contains__(self, o): return True", "assert 1 in f()",
    ),
    "a class in a function's place": (
        "class Max:\n    def __init__(self, *x): pass\n    def __eq__(self, o): return True",
        "assert Max(1, 2) == 2",
    ),
    "an object that subtracts to nothing": (
        "class A:\n    def __sub__(self, o): return 0\ndef f(): return A()",
        "assert abs(f() - 2) < 1e-6",
    ),
    "a part of pytest that is not there": (ADD, "import pytest\npytest.importorskip('x')"),
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("tier")


def test_right_programs_in_any_shape() -> None:
    found = dict(zip(RIGHT, code.verify_many(list(RIGHT.values())), strict=True))
    assert {name: each.evidence for name, each in found.items() if not each.correct} == {}


def test_wrong_programs_in_the_same_shapes() -> None:
    jobs = {
        name: (program.replace("return", "return None and"), tests)
        for name, (program, tests) in RIGHT.items()
        if program in (ADD, ASYNC)
    }
    found = dict(zip(jobs, code.verify_many(list(jobs.values())), strict=True))
    assert {name for name, each in found.items() if each.verdict != "incorrect"} == set()


def test_what_cannot_be_judged_is_unknown() -> None:
    found = dict(zip(UNKNOWN, code.verify_many(list(UNKNOWN.values())), strict=True))
    assert {n: each for n, each in found.items() if each.verdict != "unknown"} == {}


def test_libraries_are_those_declared() -> None:
    assert any(path.endswith("/numpy") for path in libraries.shown(LIBRARIES))
    assert libraries.shown(("no_such_library",)) == ()
    program = "import numpy\ndef f(): return 1"
    with Sandbox(libraries=()) as bare:
        result = bare.run([(program, "assert f() == 1")], sandbox.Limits())[0]
    assert result["verdict"] == "unknown" and "numpy" in result["evidence"]


def test_what_tests_take_for_a_class() -> None:
    assert shapes.classes("s = Stack()\ns.push(1)\nassert Max(1) == 2") == {"Stack"}
    assert shapes.classes("assert Find_Max(1).x == 2\nr = solve(1)\nr.sort()") == set()
    assert shapes.classes("assert Vec(1).norm() == 1\nwith Door() as d: pass") == {"Vec", "Door"}
