"""Tests that stand as functions and classes, as pytest and unittest have them: found and run.

In the tester's process. Tests that their source calls itself are left to it.
"""

import ast
import asyncio
import contextlib
import inspect
import io
import unittest
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from resources.verifiers.isolation.connection.remote import Unsupported
from resources.verifiers.isolation.testing.standin import Fixture


def run(namespace: Mapping[str, Any], source: str) -> None:
    """Run every test function and class that `source` defines and does not call; the first failure
    is raised."""
    body = ast.parse(source).body
    called = {
        node.value.func.id
        for node in body
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
    }
    for node in body:
        name = getattr(node, "name", "")
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and name.startswith("test"):
            if name not in called:
                _function(namespace[name], namespace)
        elif isinstance(node, ast.ClassDef):
            _class(namespace[name], namespace)


def _class(kind: Any, namespace: Mapping[str, Any]) -> None:
    if not isinstance(kind, type):
        return
    names = [name for name in vars(kind) if name.startswith("test")]
    if issubclass(kind, unittest.TestCase):
        for name in names:
            _case(kind(name))
    elif kind.__name__.startswith("Test"):
        for name in names:
            instance = kind()
            getattr(instance, "setup_method", lambda *_: None)(None)
            _function(getattr(instance, name), namespace)


class _Raised(unittest.TestResult):
    """Keeps what the tests of a class raised."""

    def __init__(self) -> None:
        super().__init__()
        self.raised: list[BaseException | None] = []

    def addError(self, test: Any, err: Any) -> None:
        self.raised.append(err[1])

    addFailure = addError

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err:
            self.raised.append(err[1])


def _case(case: unittest.TestCase) -> None:
    """One test of unittest; its failure is raised as it was."""
    found = _Raised()
    case.run(found)
    if found.raised and found.raised[0] is not None:
        raise found.raised[0]


def _function(test: Callable[..., Any], namespace: Mapping[str, Any]) -> None:
    for given in _parameters(test):
        with contextlib.ExitStack() as stack:
            names = [name for name in inspect.signature(test).parameters if name not in given]
            fixtures = {name: _fixture(name, namespace, stack) for name in names}
            outcome = test(**given, **fixtures)
            if inspect.iscoroutine(outcome):
                asyncio.run(outcome)


def _parameters(test: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    """The arguments of each run that `parametrize` asks for: the product of all its marks."""
    made: list[dict[str, Any]] = [{}]
    for mark in getattr(test, "pytestmark", []):
        if mark.name != "parametrize":
            continue
        names, values = mark.args[:2]
        if isinstance(names, str):
            names = [name.strip() for name in names.split(",")]
        single = len(names) == 1
        sets = [
            (each,) if single and not (isinstance(each, tuple) and len(each) == 1) else tuple(each)
            for each in values
        ]
        made = [each | dict(zip(names, one, strict=True)) for each in made for one in sets]
    yield from made


def _fixture(name: str, namespace: Mapping[str, Any], stack: contextlib.ExitStack) -> Any:
    if name == "capsys":
        return _captured(stack)
    if not isinstance(namespace.get(name), Fixture):
        raise Unsupported(f"a test needs the fixture {name}")
    make = namespace[name].make
    names = inspect.signature(make).parameters
    value = make(**{each: _fixture(each, namespace, stack) for each in names})
    if inspect.isgenerator(value):
        generator, value = value, next(value)
        stack.callback(lambda: next(generator, None))
    return value


def _captured(stack: contextlib.ExitStack) -> SimpleNamespace:
    out = stack.enter_context(contextlib.redirect_stdout(io.StringIO()))

    def readouterr() -> Any:
        text = out.getvalue()
        out.seek(0)
        out.truncate()
        return SimpleNamespace(out=text, err="")

    return SimpleNamespace(readouterr=readouterr)
