"""The program's process: isolate it for good, run the program, then answer the tester's calls.

Forked from a process that has never held a test; all it ever gets is its own source, its limits
and the arguments of calls.
"""

import io
import os
import random
import signal
import socket
import sys
import types
from typing import Any

from resources.verifiers.isolation.peer import Closed, Peer
from resources.verifiers.isolation.tiers import Tier

MODULE = "program"


def run(connection: socket.socket, output: int, tier: Tier) -> None:
    """Serve one program on `connection`; `output` takes what it prints. Never returns."""
    status = 1
    try:
        peer = Peer(connection, serves_objects=True)
        order = peer.receive()
        try:
            tier.enter_program(connection, output, order["limits"])
        except OSError as error:
            peer.send({"refused": str(error)})
            return
        peer.send({"isolated": True})
        _serve(peer, order)
        status = 0
    except Closed:
        status = 0
    finally:
        os._exit(status)


def _serve(peer: Peer, order: dict[str, Any]) -> None:
    os.environ.clear()
    sys.argv[:] = [MODULE]
    sys.stdout = sys.stderr = io.TextIOWrapper(
        io.FileIO(1, "w", closefd=False), errors="replace", line_buffering=True
    )
    random.seed(0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    names = order["names"]
    try:
        exec(compile(order["program"], "<program>", "exec"), module.__dict__)
        found = {name: peer.encode(vars(module)[name]) for name in names if name in vars(module)}
    except BaseException as error:  # also SystemExit: a program that leaves has not passed
        peer.send({"raise": peer._coder.encode_exception(error)})
        return
    peer.send({"names": found})
    while True:
        peer.serve(peer.receive())
