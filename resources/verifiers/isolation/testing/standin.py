"""`pytest` as far as tests of single functions use it, so that none has to be installed.

`raises`, `approx`, `mark.parametrize`, `param`, `fixture`, `fail` and `skip`, and marks that say
nothing of the outcome. Whatever else a test asks for cannot be judged. `runner.py` runs what stands
marked.
"""

import math
import re
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Any

from resources.verifiers.isolation.connection import arrays
from resources.verifiers.isolation.connection.remote import Unsupported

_PLAIN_MARKS = (
    "asyncio",
    "timeout",
    "slow",
    "unit",
    "filterwarnings",
    "usefixtures",
    "parametrize",
)


class Raises:
    """The context manager of `raises`; `value` and `type` are of the exception, once it came."""

    def __init__(self, kind: Any, match: str | None) -> None:
        self.kind, self.match = kind, match
        self.value: BaseException | None = None

    @property
    def type(self) -> type[BaseException] | None:
        """The class of the exception that came."""
        return type(self.value) if self.value is not None else None

    def __enter__(self) -> "Raises":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: TracebackType | None) -> bool:
        if error is None:
            raise AssertionError(f"did not raise {self.kind}")
        if not isinstance(error, self.kind):
            return False
        self.value = error
        if self.match is not None and not re.search(self.match, str(error)):
            raise AssertionError(f"{str(error)!r} does not match {self.match!r}")
        return True


def raises(kind: Any, *call: Any, match: str | None = None, **keywords: Any) -> Raises:
    """A context that passes where this exception is raised, or the call of a function in one."""
    context = Raises(kind, match)
    if call:
        with context:
            call[0](*call[1:], **keywords)
    return context


class approx:
    """Equal to numbers within a tolerance, relative 1e-6 or absolute 1e-12; also inside data."""

    def __init__(
        self, expected: Any, rel: Any = None, abs: Any = None, nan_ok: bool = False
    ) -> None:
        self.expected, self.nan_ok = arrays.plain(expected), nan_ok
        self.rel = rel if rel is not None else (0.0 if abs is not None else 1e-6)
        self.abs = abs if abs is not None else 1e-12

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self._near(arrays.plain(other), self.expected)

    def _near(self, value: Any, wanted: Any) -> bool:
        if isinstance(wanted, dict):
            return isinstance(value, dict) and value.keys() == wanted.keys() and all(
                self._near(value[key], wanted[key]) for key in wanted
            )  # fmt: skip
        if isinstance(wanted, (list, tuple)):
            return type(value) is type(wanted) and len(value) == len(wanted) and all(
                map(self._near, value, wanted)
            )  # fmt: skip
        if isinstance(wanted, bool) or not isinstance(wanted, (int, float)):
            return bool(value == wanted)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return False
        if math.isnan(value) and math.isnan(wanted):
            return self.nan_ok
        return math.isclose(value, wanted, rel_tol=self.rel, abs_tol=self.abs)


class Mark:
    """A mark: a decorator that keeps what it was given in `pytestmark` of what it decorates."""

    def __init__(self, name: str, args: tuple[Any, ...] = ()) -> None:
        self.name, self.args = name, args

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        if not keywords and len(args) == 1 and callable(args[0]) and self.name != "parametrize":
            return self._on(args[0])
        return Mark(self.name, args)._on if self.name == "parametrize" else Mark(self.name, args)

    def _on(self, target: Any) -> Any:
        if self.name not in _PLAIN_MARKS:
            raise Unsupported(f"a test is marked {self.name}")
        target.pytestmark = [self, *getattr(target, "pytestmark", [])]
        return target


class Marks:
    """`pytest.mark`."""

    def __getattr__(self, name: str) -> Mark:
        return Mark(name)


class Fixture:
    """A fixture: the function that makes it."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self.make = make


def fixture(*args: Any, **keywords: Any) -> Any:
    """The decorator of a fixture, with or without arguments."""
    if keywords.get("params"):
        raise Unsupported("a fixture has params")
    return Fixture(args[0]) if args and callable(args[0]) else Fixture


def param(*values: Any, **keywords: Any) -> tuple[Any, ...]:
    """One set of arguments of `parametrize`."""
    return values


def fail(reason: str = "", **keywords: Any) -> None:
    """Fail a test."""
    raise AssertionError(reason)


def skip(reason: str = "", **keywords: Any) -> None:
    """Skip a test: nothing can be said then."""
    raise Unsupported(f"a test is skipped: {reason}")


def _other(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise Unsupported(f"a test needs pytest.{name}")


def module() -> ModuleType:
    """The module `pytest` that tests import."""
    made = ModuleType("pytest")
    made.__dict__.update(
        raises=raises,
        approx=approx,
        mark=Marks(),
        fixture=fixture,
        param=param,
        fail=fail,
        skip=skip,
    )
    made.__getattr__ = _other  # type: ignore[method-assign]
    return made
