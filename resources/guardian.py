"""Runs a command that ends with whoever started it, however that one ended.

`python -m resources.guardian COMMAND …` with a pipe as standard input, whose other end nobody
writes to: it closes when its holder dies, even by SIGKILL. The command leads no group of its own,
so that the guardian's group is all of it. Knows nothing of what it runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

PATIENCE = 10.0  # seconds between asking a command to end and killing it


def main(command: Sequence[str]) -> int:
    """Run a command to its end; its exit code."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda number, _: child.send_signal(number))
    threading.Thread(target=_orphaned, args=(child,), daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


def _orphaned(child: subprocess.Popen[bytes]) -> None:
    """Once standard input closes, end the command, and its whole group after a while."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    child.send_signal(signal.SIGINT)
    time.sleep(PATIENCE)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
