"""Calls between the tester and the program under test, which live in different processes.

Only data crosses (`values.py`). What is not data stays where it is and is named by a handle; the
other side holds a `Remote`. So the tester compares plain values of its own making, and nothing that
a program does to its own interpreter changes a comparison. Both sides use this class; only the
program's side serves attributes and operators, the tester serves just calls of functions that a
test handed over.
"""

import json
import operator
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from resources.verifiers.isolation.connection import awaiting, remote, values
from resources.verifiers.isolation.connection.remote import Stop

MAX_FRAME = 16 * 2**20  # bytes; a larger message is refused, not cut
_LENGTH = struct.Struct("!I")


def _swapped(name: str) -> Callable[..., Any]:
    """An operator whose object is the right operand."""
    function: Callable[..., Any] = getattr(operator, f"__{name}__")
    return lambda target, other: function(other, target)


_APPLY: dict[str, Callable[..., Any]] = {
    **{name: getattr(operator, f"__{name}__") for name in remote.OPERATORS},
    **{function.__name__: function for function in (len, iter, next, bool, str, repr, hash)},
    **{function.__name__: function for function in (int, float, isinstance, getattr, setattr)},
    "index": operator.index,
    "getitem": operator.getitem,
    "setitem": operator.setitem,
    "delitem": operator.delitem,
    "contains": operator.contains,
    **{f"r{name}": _swapped(name) for name in remote.ARITHMETIC[:8]},
    **awaiting.OPERATIONS,
}


class Closed(Stop):
    """The other process is gone."""


class Late(Stop):
    """The other process did not answer before the deadline."""


class Malformed(Stop):
    """The other process sent what this protocol does not allow."""


class Peer:
    """One end of the connection. `deadline` is a time.monotonic() value, or None for no limit.

    Raises Closed, Late or Malformed from every exchange.
    """

    def __init__(self, connection: socket.socket, serves_objects: bool) -> None:
        self.connection = connection
        self.deadline: float | None = None
        self.last_call = ""
        self.around_call: Callable[[dict[str, Any]], object] | None = None
        self.after_call: Callable[[], object] | None = None
        self.before_reply: Callable[[], object] | None = None
        self.calls = 0
        self._serves_objects = serves_objects
        self._coder = values.Coder(self.apply, exports_objects=serves_objects)

    def send(self, message: dict[str, Any]) -> None:
        """Send one frame. Raises ValueError for a message that is too large."""
        data = json.dumps(message).encode()
        if len(data) > MAX_FRAME:
            raise ValueError(f"a value of {len(data)} bytes is too large to hand over")
        self._arm()
        try:
            self.connection.sendall(_LENGTH.pack(len(data)) + data)
        except TimeoutError as error:
            raise Late from error
        except OSError as error:
            raise Closed from error

    def receive(self) -> dict[str, Any]:
        """Wait for one frame."""
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if length > MAX_FRAME:
            raise Malformed(f"a message of {length} bytes")
        try:
            message = json.loads(self._read(length))
        except (ValueError, RecursionError) as error:
            raise Malformed("a message that is not JSON") from error
        if not isinstance(message, dict):
            raise Malformed("a message that is not an object")
        return message

    def encode(self, value: Any) -> Any:
        """See values.Coder.encode."""
        return self._coder.encode(value)

    def decode(self, value: Any) -> Any:
        """See values.Coder.decode; malformed values raise Malformed."""
        try:
            return self._coder.decode(value)
        except (KeyError, TypeError, ValueError, IndexError, RecursionError) as error:
            raise Malformed(f"a malformed value ({type(error).__name__})") from error

    def apply(self, name: str, *operands: Any, **keywords: Any) -> Any:
        """Have the other side call (`name` "call") or apply an operator to its own objects."""
        if name == "call":
            self.calls += 1
            self.last_call = remote.describe_call(*operands, **keywords)
        message = {
            "op": name,
            "args": [self.encode(operand) for operand in operands],
            "kwargs": {key: self.encode(value) for key, value in keywords.items()},
        }
        if name == "call" and self.around_call:
            self.around_call(message)
        self.send(message)
        reply = self.receive()
        while "op" in reply:
            self.serve(reply)
            reply = self.receive()
        if self.after_call:
            self.after_call()
        if "raise" in reply:
            raise self.exception(reply["raise"])
        for position, changed in self._pairs(reply.get("changed", [])):
            if not 0 <= position < len(operands):
                raise Malformed("a change to an argument that was not given")
            values.overwrite(operands[position], self.decode(changed))
        result = self.decode(reply.get("value"))
        if name == "call":
            remote.note_made(operands[0], result)
            self.last_call += f" returned {remote.show(result)}"
        return result

    def serve(self, message: dict[str, Any]) -> None:
        """Answer one request of the other side."""
        try:
            self.send(self._answer(message))
        except (Closed, Late, Malformed):
            raise
        except BaseException as error:  # the program's own: reported, whatever it is
            self.send({"raise": self.raised(error)})

    def raised(self, error: BaseException) -> dict[str, Any]:
        """The record of an exception, to send."""
        return self._coder.encode_exception(error)

    def check_time(self) -> None:
        """Raise Late where the deadline is over."""
        self._arm()

    def exception(self, record: Any) -> Exception:
        """The local exception for an encoded one."""
        try:
            return self._coder.decode_exception(record)
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise Malformed("a malformed exception") from error

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        given = [self.decode(value) for value in message["args"]]
        keywords = {key: self.decode(value) for key, value in message["kwargs"].items()}
        if message["op"] == "call":
            function, *arguments = given
            if not self._serves_objects and not self._coder.exported(function):
                raise Malformed("a call of something that was not handed over")
            result = function(*arguments, **keywords)
        elif self._serves_objects and message["op"] in _APPLY:
            result = _APPLY[message["op"]](*given)
        else:
            raise Malformed(f"a request for {message['op']!r}")
        if self.before_reply:
            self.before_reply()
        reply = {"value": self.encode(result)}
        changed = [
            [position, encoded]
            for position, value in enumerate(given)
            if values.overwritable(value)
            and (encoded := self.encode(value)) != message["args"][position]
        ]
        if changed and self._serves_objects:
            reply["changed"] = changed
        return reply

    def _pairs(self, pairs: Any) -> list[tuple[int, Any]]:
        if not isinstance(pairs, list) or not all(
            isinstance(pair, list) and len(pair) == 2 and type(pair[0]) is int for pair in pairs
        ):
            raise Malformed("malformed changes")
        return [(pair[0], pair[1]) for pair in pairs]

    def _arm(self) -> None:
        if self.deadline is not None:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise Late
            self.connection.settimeout(left)

    def _read(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            self._arm()
            try:
                part = self.connection.recv(min(count - len(data), 1 << 20))
            except TimeoutError as error:
                raise Late from error
            except OSError as error:
                raise Closed from error
            if not part:
                raise Closed
            data += part
        return bytes(data)
