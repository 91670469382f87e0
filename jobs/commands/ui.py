"""`heirloom ui`: Dagster's web server and daemon on one home, on loopback, stopped together.

Knows processes and a port; what the two of them show is defined in `definitions.py`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from jobs.errors import CommandError
from jobs.keys import named
from resources.checkout import CHECKOUT
from resources.servers import HOST, answers, claim, stop
from resources.store import home as homes
from resources.store import last_run

READY_SECONDS, STOP_SECONDS = 120.0, 30.0


def main(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C; 0 after a clean stop, 1 when either process dies by itself."""
    home = homes.find(arguments.home).prepare()
    last_run.hand_on(named(home, arguments))
    claim(arguments.port)
    command = [sys.executable, "-m", "dagster", "dev", "-h", HOST, "-p", str(arguments.port)]
    command += ["-m", "definitions", "-d", str(CHECKOUT), "--log-level", "warning"]
    log = home.logs / "ui.log"
    with log.open("w") as output:
        # A session of its own: Ctrl-C reaches us alone, and the whole group is stopped in order.
        server = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        url = f"http://{HOST}:{arguments.port}/server_info"
        if not answers(server, url, READY_SECONDS) and server.poll() is None:
            raise CommandError(
                f"the Dagster UI did not answer on port {arguments.port} within {READY_SECONDS:g} s"
            )
        print(f"Dagster UI on http://{HOST}:{arguments.port}  (log: {log}; Ctrl-C stops it)")
        sys.stdout.flush()
        server.wait()
    except KeyboardInterrupt:
        print("stopping", flush=True)
        stop(server, STOP_SECONDS)
        return 0
    except BaseException:
        stop(server, STOP_SECONDS)
        raise
    raise CommandError(
        f"the Dagster UI stopped by itself (exit code {server.returncode}): see {log}"
    )
