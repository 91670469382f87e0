"""Objects of the program as a test holds them: named by a handle, asked over the connection.

Knows what a test may do with one, and what it may not: a plain value is compared with what the
program's own object says of itself only where the tests use its class as a class (`shapes.py`).
"""

from collections.abc import Callable
from typing import Any, ClassVar

COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "neg", "abs")
OPERATORS = COMPARISONS + ARITHMETIC


class Stop(BaseException):
    """Ends the judging. Remembered when raised, since a test's own `except` may swallow it."""

    raised: ClassVar[list["Stop"]] = []

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        Stop.raised.append(self)

    def forget(self) -> None:
        """Say that this one was expected."""
        Stop.raised.remove(self)


class Unsupported(Stop):
    """A test needs something of the program that cannot be judged from outside its process."""


class Remote:
    """An object of the other process. Values never come from comparing it with local data."""

    classes: ClassVar[frozenset[str]] = frozenset()  # names that the tests use as classes

    def __init__(self, apply: Callable[..., Any], record: dict[str, Any], closed: bool) -> None:
        self.__dict__.update(
            _apply=apply,
            _handle=int(record["h"]),
            _type=str(record["type"]),
            _label=str(record["type"]),
            _custom=bool(record["custom"]),
            _closed=closed,  # its side serves calls alone: what else it has is kept here
            _trusted=False,
            __doc__=record.get("doc"),
            __module__=None,
        )
        if isinstance(record.get("name"), str):
            self.__dict__.update(__name__=record["name"], __qualname__=record["name"])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._apply("call", self, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if (name.startswith("__") and name != "__name__") or self._closed:
            raise AttributeError(name)
        return self._apply("getattr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._closed:
            self.__dict__[name] = value
        else:
            self._apply("setattr", self, name, value)

    def __iter__(self) -> Any:
        found = self._apply("iter", self)
        return found if isinstance(found, Remote) else iter(found)

    def __contains__(self, item: Any) -> bool:
        if self._trusted:
            return bool(self._apply("contains", self, item))
        try:
            return any(item == candidate for candidate in self)
        except TypeError:
            raise Unsupported(f"`in` asks the program's {self._type} object") from None

    def __bool__(self) -> bool:
        return bool(self._apply("bool", self))

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, Remote) and bool(self._apply("isinstance", instance, self))

    def __hash__(self) -> int:
        return hash(self._handle)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Remote):
            return other._handle == self._handle or bool(self._apply("eq", self, other))
        if self._trusted:
            return bool(self._apply("eq", self, other))
        if self._custom:
            raise Unsupported(f"the program's {self._type} object is compared with a plain value")
        return False

    def __repr__(self) -> str:
        if _showing:
            return f"<{self._type} of the program>"
        return str(self._apply("repr", self))

    def __enter__(self) -> Any:
        return self._apply("enter", self)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> Any:
        return self._apply("exit", self, error)

    def __aiter__(self) -> Any:
        return self._apply("aiter", self)

    async def __anext__(self) -> Any:
        return self._apply("anext", self)

    async def __aenter__(self) -> Any:
        return self._apply("aenter", self)

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> Any:
        return self._apply("aexit", self, error)


_showing: list[bool] = []  # not empty while a value is put into words for evidence


async def awaited(remote: Remote) -> Any:
    """A coroutine of the program as one of the tester's own."""
    return remote._apply("await", remote)


def note_made(called: Any, made: Any) -> None:
    """Trust what a class of the program made to compare itself with plain values, where the tests
    use the class as one: its operators are what they test, as its methods are."""
    if isinstance(called, Remote) and isinstance(made, Remote) and called._type == "type":
        made.__dict__["_trusted"] = called._label in Remote.classes


def _forwarder(name: str) -> Callable[..., Any]:
    def method(self: Remote, *others: Any) -> Any:
        plain = not all(isinstance(other, Remote) for other in others)
        if name in OPERATORS and plain and not self._trusted:
            raise Unsupported(
                f"the program's {self._type} object is in an expression with a plain value"
            )
        return self._apply(name, self, *others)

    method.__name__ = f"__{name}__"
    return method


def _reflected(name: str) -> Callable[..., Any]:
    def method(self: Remote, other: Any) -> Any:
        if not self._trusted:
            raise Unsupported(
                f"a plain value is in an expression with the program's {self._type} object"
            )
        return self._apply(f"r{name}", self, other)

    method.__name__ = f"__r{name}__"
    return method


for _name in (*ARITHMETIC, "lt", "le", "gt", "ge"):
    setattr(Remote, f"__{_name}__", _forwarder(_name))
for _name in ARITHMETIC[:8]:
    setattr(Remote, f"__r{_name}__", _reflected(_name))
for _name in ("len", "next", "int", "float", "index", "str", "getitem", "setitem", "delitem"):
    setattr(Remote, f"__{_name}__", _forwarder(_name))


def show(value: Any, limit: int = 120) -> str:
    """A short text of a value, for evidence."""
    _showing.append(True)
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    finally:
        _showing.pop()
    return text if len(text) <= limit else text[: limit - 3] + "..."


def describe_call(target: Any, *args: Any, **kwargs: Any) -> str:
    """`name(arguments)` of a call, for evidence."""
    given = [show(item, 60) for item in args] + [f"{k}={show(v, 60)}" for k, v in kwargs.items()]
    return f"{getattr(target, '_label', 'the program')}({', '.join(given)})"
