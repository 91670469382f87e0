"""What may cross between the tester and the program: data as tagged JSON, and handles.

Plain JSON values stand for themselves, lists for lists; everything else is `{"t": tag, ...}`.
Instances of subclasses of data types arrive as the plain type, so that a program cannot ship its
own `__eq__`.
"""

import builtins
import types
from collections import deque, namedtuple
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from resources.verifiers.isolation.connection import arrays
from resources.verifiers.isolation.connection.remote import Remote, Unsupported, awaited

_PLAIN_TYPES: dict[str, type] = {
    kind.__name__: kind
    for kind in (int, float, str, bool, bytes, list, tuple, dict, set, frozenset, complex, object)
}
_SEQUENCES: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque}
_JSON_INT = 1 << 62


class ProgramExit(Exception):
    """The program raised SystemExit or another exception that is not an Exception."""


class Coder:
    """Encodes and decodes values for one side of a connection.

    `apply` carries out what is asked of a Remote. With `exports_objects`, any object may be
    exported by handle; without, only functions, and anything else raises Unsupported.
    """

    def __init__(self, apply: Callable[..., Any], exports_objects: bool) -> None:
        self._apply = apply
        self._exports_objects = exports_objects
        self._exports: list[Any] = []
        self._handles: dict[int, int] = {}
        self._remotes: dict[int, Remote] = {}
        self._tuples: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._exceptions: dict[tuple[str, str], type[Exception]] = {}

    def exported(self, value: Any) -> bool:
        """Whether this very object was handed to the other side."""
        return id(value) in self._handles

    def encode(self, value: Any) -> Any:
        """`value` as JSON data. Raises Unsupported for what may not be handed over."""
        kind = type(value)
        if value is None or kind is bool or kind is str or kind is float:
            return value
        if isinstance(value, int):
            number = int.__int__(value)
            return number if -_JSON_INT < number < _JSON_INT else {"t": "int", "v": hex(number)}
        if isinstance(value, list):
            return [self.encode(item) for item in list.__iter__(value)]
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, float):
            return float.__float__(value)
        if isinstance(value, dict):
            items = dict.items(value)
            return {"t": "dict", "v": [[self.encode(key), self.encode(v)] for key, v in items]}
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return self._encode_named(value)
        for name, base in _SEQUENCES.items():
            if isinstance(value, base):
                return {"t": name, "v": [self.encode(item) for item in base.__iter__(value)]}
        if kind in (bytes, bytearray):
            return {"t": kind.__name__, "v": value.hex()}
        if kind is complex:
            return {"t": "complex", "v": [value.real, value.imag]}
        if kind is range:
            return {"t": "range", "v": [value.start, value.stop, value.step]}
        if kind in (Fraction, Decimal):
            return {"t": kind.__name__, "v": str(value)}
        if value is NotImplemented or value is Ellipsis:
            return {"t": "constant", "v": repr(value)}
        if isinstance(value, type) and _PLAIN_TYPES.get(value.__name__) is value:
            return {"t": "type", "v": value.__name__}
        if arrays.is_array(value) and (record := arrays.encode(value)) is not None:
            return record
        return self._encode_object(value)

    def decode(self, value: Any) -> Any:
        """The local value; raises KeyError, TypeError, ValueError or IndexError when malformed."""
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        tag = value["t"]
        if tag in _SEQUENCES:
            return _SEQUENCES[tag]([self.decode(item) for item in value["v"]])
        if tag == "dict":
            return {self.decode(key): self.decode(item) for key, item in value["v"]}
        if tag == "int":
            return int(value["v"], 16)
        if tag == "remote":
            handle = int(value["h"])
            if handle not in self._remotes:
                self._remotes[handle] = Remote(self._apply, value, self._exports_objects)
            found = self._remotes[handle]
            tester = not self._exports_objects
            return awaited(found) if tester and found._type == "coroutine" else found
        if tag == "own":
            handle = value["h"]
            if type(handle) is not int or handle < 0:
                raise ValueError("handle")
            return self._exports[handle]
        if tag == "error":
            return self.decode_exception(value)
        if tag == "named":
            return self._named(value)(*map(self.decode, value["v"]))
        if tag == "exception":
            return self._exception_class(value["names"])
        if tag == "array":
            return arrays.decode(value)
        if tag == "constant":
            return {"NotImplemented": NotImplemented, "Ellipsis": Ellipsis}[value["v"]]
        return {
            "bytes": bytes.fromhex,
            "bytearray": bytearray.fromhex,
            "complex": lambda parts: complex(*map(float, parts)),
            "range": lambda parts: range(*map(int, parts)),
            "Fraction": lambda text: Fraction(str(text)),
            "Decimal": lambda text: Decimal(str(text)),
            "type": lambda name: _PLAIN_TYPES[name],
        }[tag](value["v"])

    def encode_exception(self, error: BaseException) -> dict[str, Any]:
        """An exception as names, text and arguments that are data."""
        try:
            args = [self.encode(item) for item in error.args]
        except (Unsupported, RecursionError, AttributeError):
            args = [str(error)]
        return {"names": _names(type(error)), "args": args}

    def decode_exception(self, record: dict[str, Any]) -> Exception:
        """A local exception of the same builtin kind, or of a stand-in class with the same name."""
        kind, args = self._exception_class(record["names"]), map(self.decode, record["args"])
        try:
            return kind(*args)
        except TypeError:  # a class with its own signature
            return Exception(*record["names"][:1])

    def _encode_named(self, value: Any) -> dict[str, Any]:
        fields = [str(name) for name in type(value)._fields]
        items = [self.encode(item) for item in tuple.__iter__(value)]
        return {"t": "named", "name": type(value).__name__, "fields": fields, "v": items}

    def _named(self, record: dict[str, Any]) -> Any:
        """The class of a named tuple: one for each name and fields."""
        key = (str(record["name"]), tuple(map(str, record["fields"])))
        if key not in self._tuples:
            self._tuples[key] = namedtuple(*key, rename=True)
        return self._tuples[key]

    def _encode_object(self, value: Any) -> dict[str, Any]:
        if isinstance(value, Remote):
            return {"t": "own", "h": value._handle}
        if isinstance(value, type) and issubclass(value, BaseException):
            return {"t": "exception", "names": _names(value)}
        if isinstance(value, BaseException) and not self._exports_objects:
            return {"t": "error", **self.encode_exception(value)}
        functions = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
        if not self._exports_objects and not isinstance(value, (*functions, type)):
            raise Unsupported(f"a test hands the program a {type(value).__name__} object")
        handle = self._handles.get(id(value))
        if handle is None:
            handle = self._handles[id(value)] = len(self._exports)
            self._exports.append(value)
        kind = type(value)
        custom = kind.__eq__ is not object.__eq__
        record = {"t": "remote", "h": handle, "type": kind.__name__, "custom": custom}
        if isinstance(value, functions):
            record |= {"name": value.__name__, "doc": value.__doc__}
        return record

    def _exception_class(self, names: Any) -> type[Exception]:
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("names of an exception")
        base: type[Exception] = ProgramExit
        for name in names:
            found = getattr(builtins, name, None)
            if isinstance(found, type) and issubclass(found, Exception):
                base = found
                break
        if names[0] == base.__name__:
            return base
        key = (names[0], base.__name__)
        if key not in self._exceptions:
            self._exceptions[key] = type(names[0], (base,), {})
        return self._exceptions[key]


def overwritable(value: Any) -> bool:
    """Whether a call may change this argument in place."""
    return type(value) in (list, dict, set, deque, bytearray) or (
        arrays.is_array(value) and getattr(value, "shape", ()) != ()
    )


def overwrite(target: Any, value: Any) -> None:
    """Give `target` the contents of `value` in place. Raises ValueError for other types."""
    if type(target) is not type(value) or not overwritable(target):
        raise ValueError("changed argument")
    if arrays.is_array(target):
        target[...] = value
        return
    target.clear()
    (target.update if isinstance(target, (dict, set)) else target.extend)(value)


def _names(kind: type[BaseException]) -> list[str]:
    return [base.__name__ for base in kind.__mro__ if base is not object]
