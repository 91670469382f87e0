"""The machine: where each training stage runs and whether it fits, engines, isolated programs."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.checks.asked import Asked, Finding
from resources.engines.opening import ENGINES
from resources.verifiers import sandbox


def placement(asked: Asked) -> Iterator[Finding]:
    """Stage, processes x devices, bytes a rank and hours; a stage that does not fit, or more
    devices planned than the launch starts."""
    from jobs.training_costs import training_costs

    execution = asked.recipe.execution
    started, hardware = execution.ranks * max(1, len(execution.hosts)), execution.hardware
    if hardware is not None and hardware.devices != started:
        yield asked.fault(
            ("execution", "hardware", "devices"),
            f"{hardware.devices} devices are planned for, and {started} processes are started",
            "start as many: execution.ranks on each of execution.hosts",
        )
    for stage in training_costs(asked.recipe):
        if stage.refusal:
            yield asked.fault(("execution",), stage.refusal)
        hours = "" if stage.hours is None else f", {stage.hours:,.0f} device hours"
        devices = hardware.devices if hardware else started
        yield (
            f"{stage.key}: {devices} x {hardware.name if hardware else execution.device}, "
            f"{stage.memory.total / 1e9:,.1f} GB a rank{hours}"
        )


def engines(asked: Asked) -> Iterator[Finding]:
    """An engine that this build does not open; what each opens is a model of the recipe itself."""
    engine = asked.recipe.execution.engine
    if engine not in ENGINES:
        yield asked.fault(
            ("execution", "engine"),
            f"engine '{engine}' is not in this build (stages sft_data, rl_data, evaluation)",
            f"use one of {', '.join(ENGINES)}",
        )


def isolation(asked: Asked) -> Iterator[Finding]:
    """Whether programs can be run apart from this machine, where the recipe judges any."""
    from jobs.programs import OVERRIDE, REMEDY, missing

    family = asked.recipe.family
    if "code" not in family.problems:
        return
    if family.programs != "run":
        yield f"no program is run ({OVERRIDE}): verdicts on code are unknown"
        return
    why = missing()
    if why is None:
        yield f"programs are run under {sandbox.shared().tier}"
    else:
        yield asked.fault(("problems", "code"), f"programs cannot be run here: {why}", REMEDY)
