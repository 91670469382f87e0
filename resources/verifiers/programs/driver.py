"""The source that calls one function of a C++ program: the driver before it, a `main` after it."""

import re
from pathlib import Path

_HEADER = Path(__file__).with_name("driver.h")
_SOLUTION = re.compile(r"\b(?:class|struct)\s+Solution\b")
_MACROS = ("main", "int", "long", "double", "signed", "return")
PROGRAM, CALL = "program.cpp", "call.cpp"


def source(program: str, name: str) -> str:
    """The program with a `main` that calls its function `name`, or that method of its Solution.

    Compilers name `CALL` as the file of errors that are not the program's own. A program without a
    single `#include` is one of LeetCode's, which has the whole library at hand.

    >>> source("int add(int a, int b) { return a + b; }", "add").splitlines()[-1]
    'signed main() { return heirloom_driver::call(&::add); }'
    """
    target = f"&Solution::{name}" if _SOLUTION.search(program) else f"&::{name}"
    whole = "" if "#include" in program else "using namespace std;"
    undefined = [f"#undef {macro}" for macro in _MACROS]
    return "\n".join(
        [
            '#line 1 "driver.h"',
            _HEADER.read_text(),
            "#define main program_main",
            whole,
            f'#line 1 "{PROGRAM}"',
            program,
            *undefined,
            f'#line 1 "{CALL}"',
            f"signed main() {{ return heirloom_driver::call({target}); }}",
        ]
    )
