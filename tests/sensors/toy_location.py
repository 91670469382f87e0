"""A code location for a real daemon: the toy family on the folder that TOY_FOLDER names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from definitions import build_defs
from resources.checkout import CHECKOUT
from resources.recipe.reference import Reference
from resources.store.home import Home
from tests.jobs import toy

PLAN = """
import json, sys
from pathlib import Path
from jobs.planning.plan_json import as_json
from resources.store.home import Home
from tests.jobs import toy
print(json.dumps(as_json(toy.plan(Home(Path(sys.argv[1])), Path(sys.argv[2])))))
"""


def plan(home: Home, recipe: Reference) -> Mapping[str, Any]:
    """The toy family's plan from a fresh process, as the real sensor gets its own."""
    command = [sys.executable, "-c", PLAN, str(home.path), os.environ["TOY_FOLDER"]]
    answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    found: Mapping[str, Any] = json.loads(answer.stdout)
    return found


@dg.definitions
def defs() -> dg.Definitions:
    """The toy family with the real sensor."""
    specs = toy.specs(Path(os.environ["TOY_FOLDER"]))
    return build_defs(recipe=toy.recipe(), specs=specs, planner=plan)
