"""Code answers: find the program, run it against its tests, isolated (`programs/`), and judge."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from resources.recipe.programs import LIBRARIES
from resources.verifiers import fences
from resources.verifiers.programs import code_tests, compiled, sandbox
from resources.verifiers.programs.code_tests import Assertions, Functions, Pairs
from resources.verifiers.programs.pairs import PairsRun
from resources.verifiers.programs.sandbox import Limits, SandboxUnavailable
from resources.verifiers.verdict import Verdict

UNJUDGED = "unjudged"
NOT_JUDGED = Verdict("unknown", f"not run: the recipe leaves programs {UNJUDGED}")
_programs = ContextVar("programs", default="run")
LANGUAGES: dict[str, tuple[str, ...]] = {
    "python": ("python", "python3", "py", "py3", "python2", "pypy", "pypy3", "ipython"),
    "cpp": ("cpp", "c++", "cc", "cxx", "c++17", "c++20", "cpp17", "c"),
}
_SPELLINGS = {"python3": "python", "py": "python", "c++": "cpp", "cxx": "cpp"}
RUNNING = ("programs", "libraries")  # the parts of a recipe that `judging` takes
_WRAPPERS = ("markdown", "md")


def program(answer: str, language: str = "python") -> str | None:
    """The program in an answer: the content of its last fence of that language, or None.

    Fences are read as Markdown has them (`fences.py`). Where none names the language, those without
    a name are taken. What stands before the last is a draft; a fence that never closes is none.

    >>> program("Here:\\n```python\\ndef solve(x):\\n    return x\\n```\\n")
    'def solve(x):\\n    return x\\n'
    >>> program("def solve(x): return x") is None
    True
    """
    closed = [block for block in fences.blocks(answer) if block.closed]
    named = [block.text for block in closed if block.label in LANGUAGES[language]]
    if not named and len(closed) == 1 and closed[0].label in _WRAPPERS:
        return program(closed[0].text, language)
    bare = [block.text for block in closed if not block.label]
    found = [text for text in named or bare if text.strip()]
    return found[-1] if found else None


def programs() -> str:
    """What becomes of programs here and now: "run" or "unjudged"."""
    return _programs.get()


def running() -> dict[str, Any]:
    """How programs are run here and now, as `judging` takes it."""
    return {"programs": _programs.get(), "libraries": list(sandbox.declared.get())}


@contextmanager
def judging(programs: str = "run", libraries: Sequence[str] = LIBRARIES) -> Iterator[None]:
    """Within the block programs are `programs`, and may import these libraries, as the recipe says
    for the asset being built."""
    token, given = _programs.set(programs), sandbox.declared.set(tuple(libraries))
    try:
        yield
    finally:
        _programs.reset(token)
        sandbox.declared.reset(given)


def verify(
    program: str, tests: str, language: str = "python", limits: Limits | None = None
) -> Verdict:
    """Run `tests` against `program` (source text), isolated.

    Tests are Python source with asserts, which sees what the program defines at top level, or JSON:
    `{"inputs": [...], "outputs": [...]}` of standard input and output, with `fn_name` of arguments
    and values of a function; `tolerance` and `checker` optional (`programs/code_tests.py`).
    `language` is "python" or "cpp"; C++ needs JSON.

    Correct: every test passed and at least one used the program. Unknown: the tests themselves are
    broken or cannot be judged from outside the program's process. Raises SandboxUnavailable rather
    than run without isolation, and ValueError for another language.
    """
    return verify_many([(program, tests)], language, limits)[0]


def verify_many(
    jobs: Sequence[tuple[str, str]], language: str = "python", limits: Limits | None = None
) -> list[Verdict]:
    """`verify` for many (program, tests) at once, in one sandbox.

    Where programs are not to be run (`judging`) every verdict is `unknown`.
    """
    language = spelled(language)
    if not jobs:
        return []
    if programs() == UNJUDGED:
        return [NOT_JUDGED] * len(jobs)
    found: dict[int, Verdict] = {}
    runs: dict[int, PairsRun] = {}
    direct: dict[int, dict[str, Any]] = {}
    binaries = compiled.Binaries(limits or Limits()) if language == "cpp" else None
    for place, (source, text) in enumerate(jobs):
        try:
            tests = code_tests.read(text)
        except ValueError as error:
            found[place] = Verdict("unknown", f"cannot be judged: {error}")
            continue
        if binaries is not None:
            if isinstance(tests, Assertions):
                found[place] = Verdict("unknown", "cannot be judged: Python tests of a C++ program")
            else:
                runs[place] = PairsRun(*binaries.ask(source, tests))
        elif isinstance(tests, Pairs):
            runs[place] = PairsRun({"program": source, "prelude": True}, tests)
        else:
            direct[place] = _direct(source, tests)
    if binaries is not None:
        found |= binaries.build(runs)
    _run_pairs(runs, found, limits or Limits())
    results = sandbox.shared().results(list(direct.values()), limits or Limits())
    for place, result in zip(direct, results, strict=True):
        found[place] = Verdict(result["verdict"], result["evidence"])
    return [found[place] for place in range(len(jobs))]


def spelled(language: str) -> str:
    """The language by our name. Raises ValueError for one that cannot be verified."""
    name = _SPELLINGS.get(language.lower(), language.lower())
    if name not in LANGUAGES:
        raise ValueError(f"language is {language!r}; only 'python' and 'cpp' can be verified")
    return name


def _direct(source: str, tests: Assertions | Functions) -> dict[str, Any]:
    """The job of tests that run in one process of the program."""
    if isinstance(tests, Assertions):
        return {"program": source, "tests": tests.source}
    return {"program": source, "cases": vars(tests), "prelude": True}


def _run_pairs(runs: dict[int, PairsRun], found: dict[int, Verdict], limits: Limits) -> None:
    """Run what is left of every run, in waves, until each has its verdict."""
    open_ = {place: run for place, run in runs.items() if place not in found}
    while open_:
        asked = [(place, job) for place, run in open_.items() for job in run.wave()]
        results = iter(sandbox.shared().results([job for _, job in asked], limits))
        taken: dict[int, list[dict[str, Any]]] = {}
        for place, _ in asked:
            taken.setdefault(place, []).append(next(results))
        for place, run in list(open_.items()):
            verdict = run.take(taken.get(place, []))
            if verdict is not None:
                found[place] = verdict
                del open_[place]


__all__ = [
    "Limits",
    "SandboxUnavailable",
    "judging",
    "program",
    "programs",
    "running",
    "spelled",
    "verify",
    "verify_many",
]
