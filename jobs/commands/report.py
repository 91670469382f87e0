"""`heirloom report`: put the report where a browser finds it, print the path."""

from __future__ import annotations

import argparse
import shutil
import sys

from jobs.errors import CommandError
from jobs.keys import named
from resources.store import home as homes
from warehouse.files.filesystem import replacing

KEY = "evaluation/report"


def main(arguments: argparse.Namespace) -> int:
    """Write <home>/report.html from the current `evaluation/report`; 1 where there is none."""
    from warehouse.store import Store

    home = homes.find(arguments.home).prepare()
    artifact = Store(home.path).current(KEY)
    if artifact is None:
        raise CommandError(f"{KEY} has not been made in {home.path} yet: `heirloom run` makes it")
    pages = sorted(artifact.path().rglob("*.html"))
    if not pages:
        raise CommandError(f"{KEY}@{artifact.data_version[:12]} holds no HTML page")
    target = home.path / "report.html"
    with replacing(target) as aside:
        shutil.copyfile(pages[0], aside)
    print(target)
    from jobs.planning.plan import make_plan

    state = make_plan(home, named(home, arguments)).by_key[KEY]
    if state.state != "fresh":
        print(f"note: {KEY} is {state.state} ({state.why}); `heirloom run`", file=sys.stderr)
    return 0
