"""The program's process: isolate it for good, run the program, then answer the tester's calls.

Forked from a process that has never held a test; all it ever gets is its own source, its limits
and the arguments of calls.
"""

import builtins
import io
import os
import random
import signal
import socket
import sys
import types
from contextlib import suppress
from typing import Any

from resources.verifiers.isolation import prelude, whole
from resources.verifiers.isolation.connection.peer import Closed, Peer
from resources.verifiers.isolation.kernel.rights import one_thread
from resources.verifiers.isolation.tiers import Tier

MODULE = "program"


def run(connection: socket.socket, output: int, tier: Tier) -> None:
    """Serve one program on `connection`; `output` takes what it prints. Never returns."""
    status = 1
    try:
        peer = Peer(connection, serves_objects=True)
        order = peer.receive()
        if whole.is_whole(order):
            whole.prepare(order)
        try:
            tier.enter_program(connection, output, order["limits"])
        except OSError as error:
            peer.send({"refused": str(error)})
            return
        peer.send({"isolated": True})
        status = _serve(peer, order)
    except Closed:
        status = 0
    finally:
        os._exit(status)


def _serve(peer: Peer, order: dict[str, Any]) -> int:
    """Run the program; returns the status to end with, once nobody asks for more."""
    os.environ.clear()
    one_thread()
    sys.argv[:] = [MODULE]
    random.seed(0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    module = types.ModuleType("__main__" if whole.is_whole(order) else MODULE)
    sys.modules[module.__name__] = module
    if order.get("prelude"):
        vars(module).update(prelude.NAMES)
    if whole.is_whole(order):
        return whole.serve(peer, order, vars(module))
    sys.stdout = sys.stderr = io.TextIOWrapper(
        io.FileIO(1, "w", closefd=False), errors="replace", line_buffering=True
    )
    names = order["names"]
    try:
        exec(compile(order["program"], "<program>", "exec"), module.__dict__)
        found = {name: peer.encode(vars(module)[name]) for name in names if name in vars(module)}
    except BaseException as error:  # also SystemExit: a program that leaves has not passed
        peer.send({"raise": peer.raised(error)})
        return 0
    peer.before_reply = _flush
    _flush()
    peer.send({"names": found})
    while True:
        message = peer.receive()
        if message.get("stdin"):
            sys.stdin = io.StringIO(message["stdin"])
        if "input" in message:
            builtins.input = peer.decode(message["input"])
        peer.serve(message)


def _flush() -> None:
    """Have what was printed stand in the file that the tester reads."""
    with suppress(Exception):
        sys.stdout.flush()
