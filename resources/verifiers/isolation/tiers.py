"""The two ways to isolate, best first, behind one surface. The probe decides which may be used."""

import socket
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from resources.verifiers.isolation.kernel.confined import Confined
from resources.verifiers.isolation.kernel.namespaces import Namespaces


class Tier(Protocol):
    """One way to isolate, in the hands of the server. Every method raises OSError on failure.

    Made with the folders and files of the libraries that programs may import. `overdrawn` is asked
    every `poll_seconds`; `killed_for` are the limits behind a SIGKILL.
    """

    def __init__(self, libraries: Sequence[str] = ()) -> None: ...

    name: str
    poll_seconds: float
    killed_for: str

    def open(self) -> None:
        """Isolate the server, as far as it has to be; called once, first."""

    def descriptors(self) -> list[int]:
        """Open files that a tester's process keeps until `enter_tester`."""

    def before_program(self) -> None:
        """Prepare the calling process, a tester, to fork a program's."""

    def enter_program(
        self, connection: socket.socket, output: int, limits: Mapping[str, Any]
    ) -> None:
        """Shut the calling process in for good, as one program."""

    def enter_tester(self, memory_bytes: int) -> None:
        """Shut the calling process in, as a tester."""

    def overdrawn(self, program: int, file_bytes: int) -> bool:
        """Whether the program with this process id has written more than it may."""

    def ended(self, program: int) -> None:
        """Clear up after the program with this process id, which is gone."""

    def close(self) -> None:
        """Clear up after all."""


TIERS: dict[str, type[Tier]] = {tier.name: tier for tier in (Namespaces, Confined)}
