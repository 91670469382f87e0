"""`heirloom watch on|off`: the one switch of the rebuilding sensor, as in the UI."""

from __future__ import annotations

import argparse
import subprocess
import sys

from jobs.errors import CommandError
from jobs.keys import named
from resources.checkout import CHECKOUT
from resources.store import home as homes
from resources.store import last_run

SENSOR = "rebuild"


def main(arguments: argparse.Namespace) -> int:
    """Set the sensor's state in the home's Dagster instance; `heirloom ui` obeys it."""
    home = homes.find(arguments.home).prepare()
    last_run.hand_on(named(home, arguments))
    verb = "start" if arguments.switch == "on" else "stop"
    command = [sys.executable, "-m", "dagster", "sensor", verb, SENSOR]
    command += ["-m", "definitions", "-d", str(CHECKOUT)]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        lines = (answer.stderr or answer.stdout).strip().splitlines() or ["no reason given"]
        raise CommandError(f"the sensor could not be switched {arguments.switch}: {lines[-1]}")
    state = "on; it works while `heirloom ui` runs" if verb == "start" else "off"
    print(f"watching is {state}")
    return 0
