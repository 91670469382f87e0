"""`heirloom run`: make what is missing or stale, one in-process Dagster run an asset or partition.

Asks the planner before and after each, so that a rebuild with equal content spares what comes after
it. Knows runs, signals and the log; what is stale is the planner's word, and Dagster is imported
only when there is something to do.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from jobs.board import Line, clock
from jobs.checks.command import refuse
from jobs.errors import CommandError
from jobs.planning import programs
from jobs.planning.leftover import lines as leftover_lines
from jobs.planning.plan import Plan, Step, make_plan
from jobs.planning.selection import select
from resources.store import home as homes
from resources.store import last_run
from warehouse.builds import LOG
from warehouse.errors import WarehouseError
from warehouse.files.locks import alone_or_refused
from warehouse.store import Store

if TYPE_CHECKING:
    from jobs.display import Display
    from jobs.running.work import Work

Planner = Callable[[], Plan]
LOCK_SECONDS = 3.0  # the sensor looks at the lock for a moment; only longer means another run


class Changed(Exception):
    """Code or recipe changed on disk under a running driver, whose modules are old now."""


def main(arguments: argparse.Namespace) -> int:
    """Run, or with --dry-run print what would run; 1 where an asset fails."""
    home = homes.find(arguments.home)
    overrides = [*arguments.overrides, *([programs.OVERRIDE] * arguments.without_programs)]
    reference = last_run.chosen(home, arguments.recipe, overrides, run=True)
    if not arguments.dry_run:
        home.prepare()
    plan = make_plan(home, reference)
    if mixed := last_run.taken_over(home, reference, plan.recipe.models):
        print(f"heirloom: {mixed}", file=sys.stderr)
    chosen = select(plan, arguments.select)
    todo = [step for step in plan.todo if step.key in chosen]
    if arguments.dry_run:
        return _show(plan, todo)
    refuse(plan.recipe)
    if todo:
        _refuse(plan, todo)
    last_run.remember(home, reference, plan.recipe.models)
    for line in leftover_lines(plan, Store(home.path).scratch):
        print(line, file=sys.stderr)
    if not todo:
        print(f"nothing to do: {len(chosen)} assets are fresh (recipe {plan.recipe.name})")
        return 0
    last_run.hand_on(reference)
    os.environ.setdefault("OMP_NUM_THREADS", str(plan.recipe.execution.threads))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        with alone(home), captured(home) as (terminal, log):
            drive(home, plan, chosen, lambda: make_plan(home, reference), terminal, log)
    except Changed as change:
        print(f"{change}: starting afresh", flush=True)
        again = [sys.executable, "-m", "jobs.cli", "run", "--home", str(home.path)]
        again += reference.options()
        again += ["--select", arguments.select] if arguments.select else []
        os.execv(sys.executable, again)
    return 0


def _show(plan: Plan, todo: Sequence[Step]) -> int:
    """Print what would run; 1 where a training stage does not fit."""
    from jobs.planning.costs import show_costs
    from jobs.planning.training_costs import known_of, show_training_costs

    settings, keys = plan.recipe.execution, {step.key for step in todo}
    # Rates of another machine say nothing about this one's hardware.
    show_costs(todo, timed=settings.hardware is None or "rates" in settings.model_fields_set)
    code = show_training_costs(plan.recipe, keys, known_of(plan))
    programs.refuse(plan.recipe, [asset.spec for asset in plan.assets], keys)
    return code


def _refuse(plan: Plan, todo: Sequence[Step]) -> None:
    """Before days of work that end where a stage does not fit, or may not run programs."""
    from jobs.planning.training_costs import known_of, refuse_what_does_not_fit

    keys = {step.key for step in todo}
    refuse_what_does_not_fit(plan.recipe, keys, known_of(plan))
    programs.refuse(plan.recipe, [asset.spec for asset in plan.assets], keys)


def drive(
    home: homes.Home,
    plan: Plan,
    chosen: Sequence[str],
    replan: Planner,
    terminal: TextIO,
    log: Path,
) -> None:
    """Make every chosen asset that is not fresh; what is made stays made when this is cut short.

    Raises CommandError with asset, reason and log where an asset fails, Changed where code or
    recipe moved under the run.
    """
    import dagster as dg

    from jobs.display import open_display
    from jobs.running.family import FAMILY, builder, family_assets, family_jobs
    from jobs.running.runs import fail_orphans
    from jobs.running.work import Work
    from resources.store.processes import TAG, claim
    from warehouse.catalog import write_catalog

    began = time.monotonic()
    for asset in plan.assets:
        if asset.spec.partitions and asset.state == "fresh":  # heads of a layout that was given up
            Store(home.path).retire(asset.key, asset.spec.partitions)
    display = open_display(_lines(plan, chosen), terminal)
    try:
        specs = [asset.spec for asset in plan.assets]
        building = builder(home, plan.recipe, display.progress)
        job = dg.Definitions(
            assets=family_assets(specs), jobs=family_jobs(specs), resources={"builder": building}
        ).resolve_job_def(FAMILY)
        with dg.DagsterInstance.get() as instance:
            fail_orphans(instance, home)
            tags = {
                TAG: claim(home.processes),
                "heirloom/driver": "run",
                "dagster/max_retries": "0",
            }
            work = Work(home, building, job, instance, tags, display)
            done, plan = _make_all(work, plan, chosen, replan, log)
    finally:
        display.close()
    write_catalog(home.path)
    ended = f"{_counted(done)} in {clock(time.monotonic() - began)} · home {home.path}"
    print(ended, file=terminal, flush=True)
    if later := [step.label for step in plan.todo if step.label in done]:
        print(f"changed meanwhile, run again: {', '.join(later)}", file=terminal, flush=True)


def _lines(plan: Plan, chosen: Sequence[str]) -> list[Line]:
    """What the display shows: every step to make, and by how many workers."""
    workers = plan.recipe.execution.workers
    return [
        Line(step.label, step.seconds, workers if step.partition else 1, step.certain)
        for step in plan.todo
        if step.key in chosen
    ]


def _counted(done: Mapping[str, str]) -> str:
    """How many steps ended in which way.

    >>> _counted({"a": "built", "b": "spared", "c": "built"})
    '2 built, 0 restored, 1 spared (their inputs came out the same)'
    """
    counts = Counter(done.values())
    text = f"{counts['built']} built, {counts['restored']} restored"
    if not counts["spared"]:
        return text
    return f"{text}, {counts['spared']} spared (their inputs came out the same)"


def _make_all(
    work: Work, plan: Plan, chosen: Sequence[str], replan: Planner, log: Path
) -> tuple[dict[str, str], Plan]:
    """Asset by asset, inputs first; how each step ended, by label, and the plan after it all."""
    started = {step.label: (step.spec, step.node.code_version) for step in plan.steps}
    done: dict[str, str] = {}

    def rest() -> list[Step]:
        return [step for step in plan.todo if step.key in chosen and step.label not in done]

    while todo := rest():
        failures: dict[str, str] = {}
        group = [step for step in todo if step.key == todo[0].key]
        with closing(work.make(group, plan.recipe.execution.workers)) as each:
            for ended in each:
                done[ended.step.label] = ended.outcome
                if ended.reason:
                    failures[ended.step.label] = ended.reason
                    continue
                plan = replan()
                if any(started.get(s.label) != (s.spec, s.node.code_version) for s in rest()):
                    raise Changed("code or recipe changed on disk")
        if failures:  # only now: one partition's failure does not keep the others back
            reasons = "; ".join(f"{name} failed: {why}" for name, why in failures.items())
            raise CommandError(f"{reasons} (log: {log})")
        _settle(plan, work.display, done, chosen)
    return done, plan


def _settle(plan: Plan, display: Display, done: dict[str, str], chosen: Sequence[str]) -> None:
    """Tick off what turned out fresh without a build, its inputs having come out the same; of the
    rest, say what it is known to take now."""
    for step in plan.steps:
        new = step.key in chosen and step.label not in done and step.label in display.board.lines
        if new and step.state == "fresh":
            done[step.label] = "spared"
            manifest = step.manifest or {}
            display.finish(step.label, "spared", manifest.get("rows"), "")
        elif new:
            display.board.expect(step.label, step.seconds, step.certain)


@contextmanager
def alone(home: homes.Home) -> Iterator[None]:
    """Be the only driver of a home; CommandError where another one works."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            with alone_or_refused(home.driver_lock, "busy"):
                yield
            return
        except WarehouseError as busy:
            if str(busy) != "busy":
                raise
            if time.monotonic() > deadline:
                raise CommandError(
                    f"another `heirloom run` works on {home.path}; wait for it or stop it"
                ) from None
            time.sleep(0.2)


@contextmanager
def captured(home: homes.Home) -> Iterator[tuple[TextIO, Path]]:
    """Send what libraries print to a log; yields the terminal and the log's path.

    File descriptors are swapped, not Python's streams, because compiled libraries print too.
    """
    log = home.logs / f"run-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.log"
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with log.open("w") as file, os.fdopen(os.dup(1), "w") as terminal:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        os.environ[LOG] = str(log)
        try:
            yield terminal, log
        finally:
            del os.environ[LOG]
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in enumerate(kept, start=1):
                os.dup2(copy, number)
                os.close(copy)
