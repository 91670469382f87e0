"""What each tier of isolation holds back on this machine: attacks of the probe, hostile programs.

    python -m benchmarks.isolation

Prints one Markdown table: an attack is contained, or what it could do; a hostile program must not
pass, and the honest one beside it must. A tier that this machine does not have says why.
"""

from __future__ import annotations

import os
import platform

import pytest

from resources.verifiers import code
from resources.verifiers.programs import sandbox
from resources.verifiers.programs.sandbox import Sandbox, SandboxUnavailable
from tests.resources.verifiers import hostile_cpp
from tests.resources.verifiers.hostile import CHEATS, HONEST, QUICK, TESTS


def battery(tier: str) -> dict[str, str]:
    """Outcome by attack and hostile program."""
    try:
        started = Sandbox(tiers=[tier])
    except SandboxUnavailable as error:
        return {"(start)": str(error).partition(" Needed")[0]}
    with started as isolated:
        rows = {}
        for name, found in sandbox.probe(isolated).items():
            left = " (left open, docs/sandbox.md)" if name in sandbox.LEFT_OPEN[tier] else ""
            rows[f"attack: {name}"] = f"{len(found)} succeed{left}" if found else "contained"
        jobs = [job for cheat in CHEATS.values() for job in ((cheat, TESTS), (HONEST, TESTS))]
        results = isolated.run(jobs, QUICK)
        for name, cheat, honest in zip(CHEATS, results[::2], results[1::2], strict=True):
            held = cheat["verdict"] != "correct" and honest["verdict"] == "correct"
            rows[f"program: {name}"] = "contained" if held else f"{cheat} beside {honest}"
        if isolated.runs_binaries:
            rows |= cpp(isolated)
    return rows


def cpp(isolated: Sandbox) -> dict[str, str]:
    """Outcome by hostile C++ program, and what one that tries to get out could do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox, "_shared", isolated)
        jobs = [(cheat, hostile_cpp.TESTS) for cheat in hostile_cpp.CHEATS.values()]
        found = code.verify_many(jobs, "cpp", QUICK)
        honest = code.verify(hostile_cpp.HONEST, hostile_cpp.TESTS, "cpp", QUICK)
        escapes = code.verify(hostile_cpp.ESCAPES, hostile_cpp.CONTAINED, "cpp", QUICK)
    rows = {"attacks in C++": "contained" if escapes.correct else escapes.evidence}
    for name, cheat in zip(hostile_cpp.CHEATS, found, strict=True):
        held = not cheat.correct and honest.correct
        rows[f"C++ program: {name}"] = "contained" if held else f"{cheat} beside {honest}"
    return rows


def main() -> None:
    """The command line."""
    found = {tier: battery(tier) for tier in sandbox.TIERS}
    user = "root" if os.geteuid() == 0 else "a plain user"
    print(f"Linux {platform.release()}, Python {platform.python_version()}, as {user}\n")
    print(f"| | {' | '.join(found)} |\n|---{'|---' * len(found)}|")
    for name in dict.fromkeys(name for rows in found.values() for name in rows):
        print(f"| {name} | {' | '.join(rows.get(name, '') for rows in found.values())} |")


if __name__ == "__main__":
    main()
