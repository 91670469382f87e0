"""Coroutines and context managers of a program, driven for a tester that has only their handles.

In the program's process one event loop runs whatever is awaited, to its end, one after the other.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _run(awaitable: Awaitable[Any]) -> Any:
    async def whole() -> Any:
        return await awaitable

    return _loop().run_until_complete(whole())


def _kind(error: BaseException | None) -> type[BaseException] | None:
    return None if error is None else type(error)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "await": _run,
    "aiter": lambda target: type(target).__aiter__(target),
    "anext": lambda target: _run(type(target).__anext__(target)),
    "aenter": lambda target: _run(type(target).__aenter__(target)),
    "aexit": lambda target, error: _run(type(target).__aexit__(target, _kind(error), error, None)),
    "enter": lambda target: type(target).__enter__(target),
    "exit": lambda target, error: type(target).__exit__(target, _kind(error), error, None),
}
