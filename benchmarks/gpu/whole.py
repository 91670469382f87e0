"""A2: a whole recipe on the device, by the command that a person types."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks.gpu.part import Outcome, Setup


def smoke(setup: Setup) -> Outcome:
    """`heirloom run --recipe smoke` on the device, into a fresh home.

    Where programs cannot be isolated they are left unjudged, which the figures say. A rehearsal
    reads the recipe with the overrides and builds nothing: the tests build the recipe on the CPU.
    Needs everything that the graph needs, Dagster, DuckDB and the solvers included.
    """
    from jobs import options
    from jobs.planning import programs
    from resources.recipe.loading import load

    overrides = [f"execution.device={setup.device}"]
    unjudged = not setup.rehearsal and programs.missing() is not None
    arguments = ["run", "--recipe", "smoke", "--home", str(setup.folder / "home")]
    arguments += [f"--set={override}" for override in overrides]
    arguments += [programs.FLAG] if unjudged else []
    options.parser().parse_args(arguments)
    load("smoke", overrides)
    began = time.monotonic()
    code = 0
    if not setup.rehearsal:
        code = subprocess.run([sys.executable, "-m", "jobs.cli", *arguments]).returncode
    figures = {
        "command": " ".join(["heirloom", *arguments]).replace(str(setup.folder), "."),
        "run_seconds": time.monotonic() - began,
        "programs_judged": not unjudged,
    }
    return Outcome(figures, {"ends, all checks pass": code == 0})
