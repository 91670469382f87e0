"""Run untrusted programs: one isolated server process, a process pair a program, or a refusal.

`../isolation` is the inside. This file starts the server in the best tier of isolation in which a
program that tries to get out finds no way, hands it jobs and collects verdicts. Where there is none
it raises SandboxUnavailable: nothing ever runs un-isolated. What remains stands in docs/sandbox.md.
"""

import atexit
import json
import os
import secrets
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resources.checkout import CHECKOUT
from resources.recipe.programs import LIBRARIES
from resources.verifiers.isolation import escape, server
from resources.verifiers.isolation.connection.peer import Peer
from resources.verifiers.isolation.connection.remote import Stop
from resources.verifiers.isolation.tiers import TIERS
from resources.verifiers.programs.libraries import shown

_PROBE = Path(escape.__file__)
_START_SECONDS = 30.0
_BOOT = (
    "import sys; sys.path.append({root!r}); from {module} import main; sys.path.pop(); "
    "main({fd}, {tier!r}, {libraries!r})"
)
LEFT_OPEN: dict[str, tuple[str, ...]] = {"namespaces": (), "landlock": ("names of host files",)}
NEEDED = (
    "Needed: Linux 5.12 or later with user namespaces open to this user (sysctl "
    "user.max_user_namespaces > 0; on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0; in "
    "Docker --security-opt seccomp=unconfined --security-opt systempaths=unconfined), or Linux "
    "5.13 or later with Landlock, on x86-64 or aarch64"
)


class SandboxUnavailable(RuntimeError):
    """This machine gives no isolation (or not all of it), so untrusted code is not run."""


@dataclass(frozen=True)
class Limits:
    """What one program may use. A program over a limit is not correct."""

    cpu_seconds: int = 4
    wall_seconds: float = 10.0
    memory_bytes: int = 256 * 2**20  # address space of each of its processes
    processes: int = 8
    file_bytes: int = 8 * 2**20  # of each file, and of its scratch folder
    open_files: int = 32


class Sandbox:
    """A started server. Use as a context manager, or `shared()`. Safe to use from threads.

    `tier` is the name of the isolation that it uses: the first of `tiers` in which the probe finds
    no way out. Raises SandboxUnavailable from the constructor when there is none.
    """

    def __init__(
        self,
        workers: int | None = None,
        tiers: Sequence[str] = tuple(TIERS),
        libraries: Sequence[str] = LIBRARIES,
    ) -> None:
        self.libraries = tuple(libraries)
        self.workers = workers or max(2, 2 * (os.cpu_count() or 1))
        self.owner = os.getpid()
        self._lock = threading.Lock()
        reasons = []
        for self.tier in tiers:
            self._start()
            try:
                self._await_start()
                _refuse_escapes(probe(self), self.tier)
                return
            except SandboxUnavailable as error:
                self.close()
                reasons.append(f"{self.tier}: {error}")
            except BaseException:
                self.close()
                raise
        raise SandboxUnavailable(
            f"cannot isolate untrusted programs here ({'; '.join(reasons)}). {NEEDED}"
        )

    def _start(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors = os.memfd_create("sandbox errors")
        boot = _BOOT.format(
            root=str(CHECKOUT),
            module=server.__name__,
            fd=theirs.fileno(),
            tier=self.tier,
            libraries=shown(self.libraries),
        )
        python = getattr(sys, "_base_executable", sys.executable)
        folder = {name: os.environ[name] for name in ("TMPDIR",) if name in os.environ}
        self._process = subprocess.Popen(
            [python, "-S", "-s", "-B", "-P", "-c", boot],
            pass_fds=[theirs.fileno()],
            env={"PYTHONHASHSEED": "0", "LANG": "C.UTF-8", **folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            cwd="/",
            start_new_session=True,
        )
        theirs.close()

    def run(self, jobs: Sequence[tuple[str, str]], limits: Limits) -> list[dict[str, Any]]:
        """The result ({"verdict", "evidence"}) of each (program, tests), in order."""
        asked = [{"program": program, "tests": tests} for program, tests in jobs]
        return self.results(asked, limits)

    def call(self, program: str, name: str, args: Sequence[Any], limits: Limits) -> dict[str, Any]:
        """Call one function of a program with plain values: {"verdict", "evidence", "value"}."""
        return self.results([{"program": program, "call": [name, list(args)]}], limits)[0]

    @property
    def runs_binaries(self) -> bool:
        """Whether compilers and what they make can be run: not where programs have no processes."""
        return self.tier == "namespaces"

    @property
    def usable(self) -> bool:
        """Whether the server runs and is this process's own, not one inherited by a fork."""
        return self.owner == os.getpid() and self._process.poll() is None

    def close(self) -> None:
        """End the server and everything in it. Closing again does nothing."""
        if self._control.fileno() < 0:
            return
        self._control.close()
        if self.owner == os.getpid():
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        os.close(self._errors)

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _await_start(self) -> None:
        self._control.settimeout(_START_SECONDS)
        try:
            answer = json.loads(self._control.recv(4096) or b"{}")
        except (OSError, ValueError) as error:
            raise SandboxUnavailable(f"the sandbox server did not start: {error}") from error
        if "ready" not in answer:
            raise SandboxUnavailable(
                answer.get("error") or self._error_text() or "it ended at once"
            )

    def _error_text(self) -> str:
        return os.pread(self._errors, 1 << 16, 0).decode(errors="replace").strip()[-300:]

    def results(self, jobs: Sequence[dict[str, Any]], limits: Limits) -> list[dict[str, Any]]:
        """The results of jobs of any kind (`isolation.tester` says which), in order."""
        for noted in _noting:
            noted.add(self.tier)
        with self._lock:
            results: list[dict[str, Any] | None] = [None] * len(jobs)
            waiting = list(reversed(range(len(jobs))))
            with selectors.DefaultSelector() as selector:
                while waiting or selector.get_map():
                    while waiting and len(selector.get_map()) < self.workers:
                        index = waiting.pop()
                        nonce = secrets.token_hex(16)
                        peer = self._submit(jobs[index], nonce, limits)
                        selector.register(
                            peer.connection, selectors.EVENT_READ, (index, nonce, peer)
                        )
                    for key, _ in selector.select():
                        index, nonce, peer = key.data
                        selector.unregister(peer.connection)
                        results[index] = _collect(peer, nonce, limits)
                        peer.connection.close()
        return [result for result in results if result is not None]

    def _submit(self, job: dict[str, Any], nonce: str, limits: Limits) -> Peer:
        mine, theirs = socket.socketpair()
        peer = Peer(mine, serves_objects=False)
        peer.deadline = time.monotonic() + limits.wall_seconds + 2 * server.GRACE_SECONDS
        header = json.dumps(
            {"wall_seconds": limits.wall_seconds, "file_bytes": limits.file_bytes}
        ).encode()
        try:
            socket.send_fds(self._control, [header], [theirs.fileno()])
        except OSError as error:
            raise SandboxUnavailable(f"the sandbox server ended: {self._error_text()}") from error
        finally:
            theirs.close()
        try:
            peer.send(job | {"nonce": nonce, "limits": asdict(limits)})
        except Stop:  # its tester is gone: collecting says so
            Stop.raised.clear()
        return peer


def _collect(peer: Peer, nonce: str, limits: Limits) -> dict[str, Any]:
    try:
        result = peer.receive()
    except Stop:
        Stop.raised.clear()
        text = f"the tests did not end within {limits.wall_seconds:g} s, or broke their process"
        return {"verdict": "unknown", "evidence": text}
    if result.pop("nonce", None) != nonce:
        raise SandboxUnavailable("a verdict arrived that this process did not ask for")
    if "refused" in result:
        raise SandboxUnavailable(f"a program could not be isolated: {result['refused']}")
    return result


_noting: list[set[str]] = []


@contextmanager
def noted() -> Iterator[set[str]]:
    """Collects the tiers in which this process runs programs meanwhile."""
    tiers: set[str] = set()
    _noting.append(tiers)
    try:
        yield tiers
    finally:
        _noting.pop()


declared: ContextVar[tuple[str, ...]] = ContextVar("declared", default=LIBRARIES)
_shared: Sandbox | None = None
_shared_lock = threading.Lock()


def shared() -> Sandbox:
    """The sandbox of this process, started at first use and ended with the process.

    Its programs have the libraries that are `declared`; others asked for start another sandbox.
    """
    global _shared
    names = declared.get()
    with _shared_lock:
        if _shared is None or not _shared.usable or _shared.libraries != names:
            if _shared is not None:
                _shared.close()
            _shared = Sandbox(libraries=names)
            atexit.register(_shared.close)
        return _shared


def probe(sandbox: Sandbox) -> dict[str, list[Any]]:
    """What a program that tries to get out could do, by attack; an empty list where contained."""
    limits = Limits(wall_seconds=20.0)
    with tempfile.TemporaryDirectory() as name, socket.socket() as listener, ExitStack() as open_:
        folder = Path(name)
        (folder / "canary").write_text("canary")
        (folder / "canary").chmod(0o666)
        folder.chmod(0o777)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        for address in (f"{folder}/socket", f"\0{folder}"):
            local = open_.enter_context(socket.socket(socket.AF_UNIX))
            local.bind(address)
            local.listen()
        places = {
            "pid": os.getpid(),
            "port": listener.getsockname()[1],
            "folder": name,
            # Of the checkout the way to libraries may be seen: `.venv` often lies in it.
            "repository": str(CHECKOUT / "resources"),
            "processes": limits.processes,
            "filtered": sandbox.tier == "landlock",
        }
        result = sandbox.call(_PROBE.read_text(), "escapes", [places], limits)
        if "value" not in result:
            raise SandboxUnavailable(f"the isolation probe did not run: {result['evidence']}")
        found: dict[str, list[Any]] = result["value"]
        if places["filtered"]:  # no value: the machine killed it for trying
            doors = sandbox.call(_PROBE.read_text(), "doors", [], limits)
            found["calls past the filter"] += doors.get("value", [])
        names = sorted(path.name for path in folder.iterdir())
        mode = (folder / "canary").stat().st_mode & 0o777
        state = [names, (folder / "canary").read_text(), oct(mode)]
        if state != [["canary", "socket"], "canary", oct(0o666)]:
            found["host files"].append(f"changed to {state}")
    return found


def _refuse_escapes(found: dict[str, list[Any]], tier: str) -> None:
    """SandboxUnavailable says what the probe could do that this tier does not leave open."""
    escapes = {name: what for name, what in found.items() if what and name not in LEFT_OPEN[tier]}
    if escapes:
        raise SandboxUnavailable(f"untrusted programs could reach outside: {escapes}")
