"""The second tier's parts: the filter, Landlock's versions, scratch folders; and the probe."""

import errno
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from resources.verifiers.isolation.kernel import landlock, scratch, seccomp, syscalls
from resources.verifiers.programs import sandbox
from resources.verifiers.programs.sandbox import Limits, Sandbox, SandboxUnavailable

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
ROOM = 3 * 4096  # bytes that a folder's own entry and one small file may take
OWN = 4711


def outcome(machine: str, number: int, *arguments: int, arch: int | None = None) -> int:
    """What the filter makes of a call: 0 for allowed, else the error. Interprets classic BPF."""
    words = {0: number, 4: seccomp.AUDIT_ARCH[machine] if arch is None else arch}
    for index, value in enumerate((*arguments, *(0,) * (6 - len(arguments)))):
        words[16 + 8 * index] = value & 0xFFFFFFFF
        words[20 + 8 * index] = value >> 32 & 0xFFFFFFFF
    program = seccomp.assemble(machine, syscalls.numbers(machine), syscalls.TESTS, OWN)
    place, accumulator = 0, 0
    while True:
        code, true, false, constant = program[place]
        place += 1
        if code == 0x20:
            accumulator = words[constant]
        elif code == 0x54:
            accumulator &= constant
        elif code == 0x15:
            place += true if accumulator == constant else false
        else:
            assert code == 0x06 and constant in {0x7FFF0000, 0x50000 | constant & 0xFFF}
            return 0 if constant == 0x7FFF0000 else constant & 0xFFF


@pytest.mark.parametrize("machine", seccomp.AUDIT_ARCH)
def test_the_filter_lets_through_what_the_table_says_and_nothing_else(machine: str) -> None:
    numbers = syscalls.numbers(machine)
    assert len(set(numbers.values())) == len(numbers)
    free = {number for name, number in numbers.items() if name not in syscalls.TESTS}
    tested = set(numbers.values()) - free
    for number in range(500):
        if number not in tested:
            assert outcome(machine, number) == (0 if number in free else errno.ENOSYS)
        assert outcome(machine, number | 0x40000000) == errno.ENOSYS  # x32
        assert outcome(machine, number, arch=0x40000003) == errno.ENOSYS  # i386


@pytest.mark.parametrize("machine", seccomp.AUDIT_ARCH)
def test_arguments_are_looked_at(machine: str) -> None:
    numbers = syscalls.numbers(machine)

    def asked(name: str, *arguments: int) -> int:
        return outcome(machine, numbers[name], *arguments)

    thread = 0x3D0F00  # what the C library starts a thread with
    assert asked("clone", thread) == 0
    assert asked("clone", 17) == asked("clone", 0x4111) == errno.EAGAIN  # fork, vfork
    assert asked("clone", thread | 0x10000000) == errno.EAGAIN  # a user namespace
    assert asked("clone", thread | 1 << 32) == errno.EPERM
    assert asked("kill", OWN, 9) == 0
    assert {asked("kill", pid, 9) for pid in (0, -1, -OWN, 1, OWN + 1)} == {errno.EPERM}
    assert asked("tgkill", OWN, 5) == 0 and asked("tgkill", 1, 1) == errno.EPERM
    assert asked("prlimit64", 0) == asked("prlimit64", OWN) == 0
    assert asked("prlimit64", 1) == errno.EPERM
    opened = {os.O_RDONLY: 0, os.O_WRONLY | os.O_CREAT | os.O_TRUNC: 0, os.O_RDWR | os.O_APPEND: 0}
    opened |= dict.fromkeys((3, os.O_TRUNC, 3 | os.O_TRUNC, 0x200000, 0x400002), errno.EPERM)
    assert {flags: asked("openat", 0, 0, flags) for flags in opened} == opened
    assert asked("ioctl", 3, 0x5401) == 0 and asked("ioctl", 3, 0x5412) == errno.EPERM
    assert asked("fcntl", 3, 1) == 0 and asked("fcntl", 3, 8) == errno.EPERM  # F_SETOWN
    assert asked("prctl", 15) == 0 and asked("prctl", 1) == errno.EPERM  # the parent's death
    assert asked("socketpair", 1, 1 | os.O_CLOEXEC | os.O_NONBLOCK) == 0
    assert asked("socketpair", 1, 2) == asked("socketpair", 2, 1) == errno.EPERM
    assert asked("sendto", 3, 1 << 40, 5, 0, 0) == 0
    assert asked("sendto", 3, 0, 5, 0, 1 << 40) == asked("sendto", 3, 0, 5, 0, 9) == errno.EPERM


@pytest.mark.parametrize("machine", seccomp.AUDIT_ARCH)
def test_numbers_are_the_kernels(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip(f"no {HEADERS[machine]} here")
    text = HEADERS[machine].read_text()
    found = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\s", text))
    aliases = {"newfstatat": "fstatat"} if machine == "aarch64" else {}
    for name, number in syscalls.numbers(machine).items():
        known = found.get(name) or found[aliases[name]]
        assert int(known) == number, name


def start(tier: str) -> Sandbox:
    try:
        return Sandbox(tiers=[tier])
    except SandboxUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5])
def test_older_landlocks_suffice(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each version is asked for no more than it knew; the filter has to close what it lacked."""
    start("landlock").close()
    if landlock.version() < version:
        pytest.skip(f"this kernel has version {landlock.version()}")
    older = f"import {landlock.__name__} as l; l.version = lambda: {version}; "
    boot = sandbox._BOOT.replace("sys.path.pop()", older + "sys.path.pop()")
    monkeypatch.setattr(sandbox, "_BOOT", boot)
    with Sandbox(tiers=["landlock"]) as old:
        found = {name for name, what in sandbox.probe(old).items() if what}
    assert found == {"names of host files"}


def test_the_probe_sees_what_an_open_process_can_do(tmp_path: Path) -> None:
    """Where nothing is confined, its attacks succeed: that they fail in a tier means something."""
    (tmp_path / "canary").write_text("canary")
    victim = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        places = {
            "pid": victim.pid,
            "port": listener.getsockname()[1],
            "folder": str(tmp_path),
            "repository": str(tmp_path),
            "processes": 8,
            "filtered": True,
        }
        script = f"{sandbox._PROBE.read_text()}\n_outside = lambda places: []\n"
        script += f"_mount = lambda name: None\nimport json\nprint(json.dumps(escapes({places!r})))"
        asked = [sys.executable, "-c", script]
        answer = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True)
    victim.kill()
    victim.communicate()
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    contained = {name for name, what in found.items() if not what}
    # Rights of root alone, and what needs something outside that this machine may not have.
    assert contained <= {
        "writable", "root", "capabilities", "namespaces", "mounts", "open files", "network",
    }  # fmt: skip
    assert {"kill", "tkill", "pidfd", "owner of a pipe"} <= {name for name, *_ in found["signals"]}
    assert {"mode", "times", "empty while reading"} <= {name for name, *_ in found["host files"]}


def test_limits_of_a_scratch_folder(tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    folder.mkdir()
    assert not scratch.overdrawn(str(folder), ROOM)
    assert not scratch.overdrawn(str(folder / "absent"), ROOM)
    (folder / "small").write_bytes(b"x" * 4096)
    (folder / "link").symlink_to("/usr")
    assert not scratch.overdrawn(str(folder), ROOM)
    (folder / "large").write_bytes(b"x" * ROOM)
    assert scratch.overdrawn(str(folder), ROOM)
    (folder / "large").unlink()
    for name in range(scratch.MOST_ENTRIES):
        (folder / str(name)).touch()
    assert scratch.overdrawn(str(folder), ROOM)


def test_a_hostile_folder_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir(mode=0o755)
    (kept / "file").write_text("kept")
    folder = tmp_path / "scratch"
    folder.mkdir()
    (folder / "link").symlink_to(kept)
    (folder / "dangling").symlink_to("nowhere")
    (folder / "-rf").mkdir()
    here = os.getcwd()
    os.chdir(folder)
    try:
        for _ in range(30):  # deeper than any path
            os.mkdir("d" * 200)
            os.symlink(kept, "link2")
            os.chdir("d" * 200)
    finally:
        os.chdir(here)
    os.chmod(folder / ("d" * 200), 0)
    scratch.remove(str(folder))
    assert not folder.exists()
    assert (kept / "file").read_text() == "kept" and kept.stat().st_mode & 0o777 == 0o755


def test_the_server_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with start("landlock") as confined:
        program = "import os\ndef f():\n    open('a', 'w').close()\n    return os.getcwd()"
        answer = confined.call(program, "f", [], Limits())
        assert Path(answer["value"]).parent.parent == tmp_path
    assert not list(tmp_path.glob("heirloom-programs-*"))


def test_the_tier_is_noted() -> None:
    with sandbox.noted() as before:
        pass
    with start("landlock") as confined, sandbox.noted() as tiers:
        assert confined.tier == "landlock"
        confined.call("def f(): return 1", "f", [], Limits())
    assert (before, tiers) == (set(), {"landlock"})
