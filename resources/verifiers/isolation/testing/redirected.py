"""Standard input and output that a test puts in place of the usual ones, carried to the program.

The program prints into a file that the tester reads; where a test has put something in the place of
`sys.stdout`, what a call printed is written there. What a test put in the place of `sys.stdin` or
of `input` is what the program reads in the next call.
"""

import builtins
import os
import sys
from typing import Any

from resources.verifiers.isolation.connection.peer import Peer


class Streams:
    """The tester's side; it hooks itself to the calls of `peer`."""

    def __init__(self, peer: Peer, output: int) -> None:
        self.peer, self.output = peer, output
        self.usual = (sys.stdin, sys.stdout, builtins.input)
        self.place = os.fstat(output).st_size
        peer.around_call, peer.after_call = self._before, self._after

    def _before(self, message: dict[str, Any]) -> None:
        if sys.stdin is not self.usual[0]:
            message["stdin"] = sys.stdin.read()
        if builtins.input is not self.usual[2]:
            replaced = builtins.input
            message["input"] = self.peer.encode(lambda *prompt: replaced(*prompt))

    def _after(self) -> None:
        size = os.fstat(self.output).st_size
        if sys.stdout is not self.usual[1] and size > self.place:
            sys.stdout.write(
                os.pread(self.output, size - self.place, self.place).decode(errors="replace")
            )
        self.place = size
