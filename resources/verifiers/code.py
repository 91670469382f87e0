"""Code answers: run the program against its tests, isolated (`sandbox.py`)."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from resources.verifiers import sandbox
from resources.verifiers.sandbox import Limits, SandboxUnavailable
from resources.verifiers.verdict import Verdict

_FENCE = re.compile(r"^```[ \t]*([\w+-]*)[ \t]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)
UNJUDGED = "unjudged"
NOT_JUDGED = Verdict("unknown", f"not run: the recipe leaves programs {UNJUDGED}")
_programs = ContextVar("programs", default="run")
_PYTHON = ("python", "python3", "py", "")


def program(answer: str) -> str | None:
    """The program in an answer: the content of its only Python fence, or None.

    >>> program("Here:\\n```python\\ndef solve(x):\\n    return x\\n```\\n")
    'def solve(x):\\n    return x\\n'
    >>> program("def solve(x): return x") is None
    True
    """
    blocks = [text for name, text in _FENCE.findall(answer) if name.lower() in _PYTHON]
    return blocks[0] if len(blocks) == 1 else None


def programs() -> str:
    """What becomes of programs here and now: "run" or "unjudged"."""
    return _programs.get()


@contextmanager
def judging(programs: str) -> Iterator[None]:
    """Within the block programs are `programs`, as the recipe says for the asset being built."""
    token = _programs.set(programs)
    try:
        yield
    finally:
        _programs.reset(token)


def verify(
    program: str, tests: str, language: str = "python", limits: Limits | None = None
) -> Verdict:
    """Run `tests` (Python source with asserts) against `program` (source text), isolated.

    The tests see what the program defines at top level. Correct: every test passed and at least
    one used the program. Unknown: the tests themselves are broken or cannot be judged from outside
    the program's process. Raises SandboxUnavailable rather than run without isolation, and
    ValueError for another language.
    """
    return verify_many([(program, tests)], language, limits)[0]


def verify_many(
    jobs: Sequence[tuple[str, str]], language: str = "python", limits: Limits | None = None
) -> list[Verdict]:
    """`verify` for many (program, tests) at once, in one sandbox.

    Where programs are not to be run (`judging`) every verdict is `unknown`.
    """
    if language != "python":
        raise ValueError(f"language is {language!r}; only 'python' can be verified")
    if not jobs:
        return []
    if programs() == UNJUDGED:
        return [NOT_JUDGED] * len(jobs)
    results = sandbox.shared().run(jobs, limits or Limits())
    return [Verdict(result["verdict"], result["evidence"]) for result in results]


__all__ = [
    "Limits",
    "SandboxUnavailable",
    "judging",
    "program",
    "programs",
    "verify",
    "verify_many",
]
