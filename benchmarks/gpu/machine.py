"""Which card, driver and versions the figures are of, and how much of the card's memory is taken.

Asks nvidia-smi and the package index of this Python, so that nothing starts CUDA in the process
that starts the parts.
"""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("torch", "transformers", "deepspeed", "triton", "numpy", "pyarrow", "duckdb", "dagster")


def described(device: str) -> dict[str, Any]:
    """Card, driver, Python and package versions; None for what is not installed."""
    card, driver = platform.processor() or platform.machine(), None
    if device == "cuda":
        card, driver = _asked("name,driver_version")
    return {
        "card": card,
        "driver": driver,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def taken_bytes(device: str) -> int:
    """Memory of the card that any process holds; 0 on a CPU, whose memory is not the parts' own."""
    return int(_asked("memory.used")[0]) * 2**20 if device == "cuda" else 0


def _asked(query: str) -> list[str]:
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader,nounits", "--id=0"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [value.strip() for value in answer.splitlines()[0].split(",")]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
