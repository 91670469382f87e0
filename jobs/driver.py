"""`heirloom run`: make what is missing or stale, one in-process Dagster run an asset.

Asks the planner before and after every asset, so that a rebuild with equal content spares what
comes after it. Knows runs, signals and the log; what is stale is the planner's word, and Dagster
is imported only when there is something to do.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from jobs.cli import CommandError
from jobs.display import Display, Line, clock, open_display
from jobs.plan import Asset, Plan, make_plan
from jobs.selection import select
from resources.store import home as homes
from warehouse.errors import WarehouseError
from warehouse.locks import alone_or_refused
from warehouse.store import Artifact

if TYPE_CHECKING:
    import dagster as dg

Planner = Callable[[], Plan]
LOCK_SECONDS = 3.0  # the sensor looks at the lock for a moment; only longer means another run


class Changed(Exception):
    """Code or recipe changed on disk under a running driver, whose modules are old now."""


def main(arguments: argparse.Namespace) -> int:
    """Run, or with --dry-run print what would run; 1 where an asset fails."""
    home = homes.find(arguments.home)
    name = arguments.recipe or os.environ.get("HEIRLOOM_RECIPE") or "tiny"
    if Path(name).is_dir():
        name = str(Path(name).resolve())
    if not arguments.dry_run:
        home.prepare()
    plan = make_plan(home, name)
    chosen = select(plan, arguments.select)
    todo = [asset for asset in plan.todo if asset.key in chosen]
    if arguments.dry_run:
        show_costs(todo)
        return 0
    homes.remember_recipe(home, name)
    if not todo:
        print(f"nothing to do: {len(chosen)} assets are fresh (recipe {plan.recipe.name})")
        return 0
    os.environ["HEIRLOOM_RECIPE"] = name
    os.environ.setdefault("OMP_NUM_THREADS", str(plan.recipe.execution.threads))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with alone(home), captured(home) as (terminal, log):
            drive(home, plan, chosen, lambda: make_plan(home, name), terminal, log)
    except Changed as change:
        print(f"{change}: starting afresh", flush=True)
        again = [sys.executable, "-m", "jobs.cli", "run", "--home", str(home.path)]
        again += ["--recipe", name]
        again += ["--select", arguments.select] if arguments.select else []
        os.execv(sys.executable, again)
    return 0


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

    from jobs.family import FAMILY, builder, family_assets, family_jobs
    from jobs.runs import fail_orphans
    from resources.store.processes import TAG, claim
    from warehouse.catalog import write_catalog
    from warehouse.store import Store

    began = time.monotonic()
    started = {asset.key: (asset.spec, asset.node.code_version) for asset in plan.assets}
    todo = [asset for asset in plan.todo if asset.key in chosen]
    display = open_display([Line(asset.key, asset.seconds) for asset in todo], terminal)
    done: dict[str, str] = {}
    try:
        specs = [asset.spec for asset in plan.assets]
        job = dg.Definitions(
            assets=family_assets(specs),
            jobs=family_jobs(specs),
            resources={"builder": builder(home, plan.recipe, display.progress)},
        ).resolve_job_def(FAMILY)
        with dg.DagsterInstance.get() as instance:
            fail_orphans(instance, home)
            tags = {
                TAG: claim(home.processes),
                "heirloom/driver": "run",
                "dagster/max_retries": "0",
            }
            while todo:
                asset = todo[0]
                display.start(asset.key)
                result = job.execute_in_process(
                    instance=instance,
                    asset_selection=[dg.AssetKey(asset.key.split("/"))],
                    tags=tags,
                    raise_on_error=False,
                )
                if not result.success:
                    display.finish(asset.key, "failed", None, "")
                    reason = failure(result)
                    raise CommandError(f"{asset.key} failed: {reason} (log: {log})")
                artifact = Store(home.path).current(asset.key)
                done[asset.key] = _outcome(artifact, result.run_id)
                display.finish(asset.key, done[asset.key], *_figures(artifact))
                plan = replan()
                todo = [a for a in plan.todo if a.key in chosen and a.key not in done]
                _settle(plan, display, done, {line for line in chosen if line in started})
                if any(started.get(a.key) != (a.spec, a.node.code_version) for a in todo):
                    raise Changed("code or recipe changed on disk")
    finally:
        display.close()
    write_catalog(home.path)
    counts = Counter(done.values())
    print(
        f"{counts['built']} built, {counts['restored']} restored"
        + (
            f", {counts['spared']} spared (their inputs came out the same)"
            if counts["spared"]
            else ""
        )
        + f" in {clock(time.monotonic() - began)} · home {home.path}",
        file=terminal,
        flush=True,
    )
    if later := [asset.key for asset in plan.todo if asset.key in done]:
        print(f"changed meanwhile, run again: {', '.join(later)}", file=terminal, flush=True)


def _settle(plan: Plan, display: Display, done: dict[str, str], chosen: set[str]) -> None:
    """Tick off what turned out fresh without a build: its inputs came out the same."""
    lines = display.board.lines
    for key in chosen - set(done):
        if key in lines and plan.by_key[key].state == "fresh":
            done[key] = "spared"
            manifest = plan.by_key[key].manifest or {}
            display.finish(key, "spared", manifest.get("rows"), "")


def _outcome(artifact: Artifact | None, run_id: str) -> str:
    made = artifact is not None and artifact.observations.get("run_id") == run_id
    return "built" if made else "restored"


def _figures(artifact: Artifact | None) -> tuple[int | None, str]:
    """Rows (None for an artifact of files alone) and the key metric, as the table shows them."""
    if artifact is None:
        return None, ""
    metric = next((f"{name} {value:.4g}" for name, value in artifact.metrics.items()), "")
    return (artifact.rows if artifact.manifest["tables"] else None), metric


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The reason of a failed run on one line: the first error of ours, else the innermost one."""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return " ".join(data.user_failure_data.description.split())
            error = data.error
            while error is not None and error.cause is not None and not _ours(error.message):
                error = error.cause
            if error is not None:
                return _plain(error.message)
    for event in result.all_events:
        if event.is_failure and event.message:
            return " ".join(event.message.split())
    return "Dagster gave no reason"


def _plain(message: str) -> str:
    """An error's message; the class is left out where it is ours and its message says it all."""
    text = " ".join(message.split())
    return text.partition(": ")[2] if _ours(text) else text


def _ours(message: str) -> bool:
    name, separator, _ = message.partition(": ")
    return bool(separator) and name.split(".")[0] in {"assets", "jobs", "resources", "warehouse"}


def show_costs(todo: Sequence[Asset]) -> None:
    """What would run, why, and what that is predicted to cost."""
    from jobs.console import open_console, plain_table

    if not todo:
        print("nothing to do")
        return
    table = plain_table("asset", "state")
    for name in ("seconds", "tokens", "bytes"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("why")
    totals = [0.0, 0.0, 0.0]
    for asset in todo:
        restored = asset.found.restorable
        costs = [asset.seconds, *(asset.spec.predicted.get(n, 0.0) for n in ("tokens", "bytes"))]
        costs = [0.0, 0.0, 0.0] if restored else costs
        totals = [total + cost for total, cost in zip(totals, costs, strict=True)]
        table.add_row(asset.key, asset.state, *(f"{cost:,.0f}" for cost in costs), asset.why)
    table.add_section()
    table.add_row(f"{len(todo)} assets", "", *(f"{total:,.0f}" for total in totals), "")
    open_console().print(table)


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
        try:
            yield terminal, log
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, copy in enumerate(kept, start=1):
                os.dup2(copy, number)
                os.close(copy)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
