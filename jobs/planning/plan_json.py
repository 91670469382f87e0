"""The plan of a home and a recipe as JSON, for processes that live longer than the code they read.

`python -m jobs.planning.plan_json` makes the plan afresh and prints it; the sensor asks it so.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.errors import one_line
from jobs.planning import programs
from jobs.planning.plan import Plan, make_plan
from jobs.planning.training_costs import known_of, refused
from resources.recipe.reference import Reference
from resources.store.home import Home


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain values, for the sensors."""
    return {
        "id": plan.id,
        "seconds": plan.seconds,
        "approval_seconds": plan.recipe.execution.approval_seconds,
        "assets": [
            {"key": asset.key, "state": asset.state, "why": asset.why}
            for asset in plan.assets
            if asset.state != "fresh"
        ],
        # Why training stages cannot run as placed, or programs not at all.
        "refused": _refused(plan),
        # Where each step works: what a stopped one left lies there.
        "work": {step.found.memo_key: step.key for step in plan.todo if step.found.memo_key},
    }


def _refused(plan: Plan) -> list[str]:
    keys = {step.key for step in plan.todo}
    why = programs.refused(plan.recipe, [asset.spec for asset in plan.assets], keys)
    return [*refused(plan.recipe, keys, known_of(plan)), *([why] if why else [])]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the plan of a home and a recipe as JSON; an error is one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.planning.plan_json", description=main.__doc__
    )
    parser.add_argument("--home", required=True)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    arguments = parser.parse_args(argv)
    os.environ["HEIRLOOM_HOME"] = arguments.home
    try:
        plan = make_plan(
            Home(Path(arguments.home)), Reference(arguments.recipe, tuple(arguments.overrides))
        )
    except Exception as error:
        print(one_line(error), file=sys.stderr)
        return 1
    print(json.dumps(as_json(plan)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
