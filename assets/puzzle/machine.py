"""What this machine is: its hardware by name, its free memory, its threads.

So that a measured time says where it was measured. Knows torch's devices, nothing of models.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

ENGINE = "transformers"  # the engine whose layers are timed here: this package's own


def hardware(device: str | torch.device) -> str:
    """The GPU's name, or the processor's and how many of its threads this process may use."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    lines = _lines("/proc/cpuinfo")
    names = [value for key, value in lines if key == "model name"]
    name = names[0] if names else platform.processor() or platform.machine()
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return f"{name} x {count}"


def free_bytes(device: str | torch.device) -> int:
    """Memory that can still be taken on the device."""
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()  # what the allocator keeps for later counts as taken otherwise
        return int(torch.cuda.mem_get_info(device)[0])
    for key, value in _lines("/proc/meminfo"):
        if key == "MemAvailable":
            return 1024 * int(value.split()[0])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextmanager
def using_threads(count: int | None) -> Iterator[int]:
    """Compute with `count` threads for a while (None: as many as now); gives their number."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def _lines(path: str) -> list[tuple[str, str]]:
    """The `key: value` lines of a file of /proc; none on systems without it."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return []
    pairs = (line.partition(":") for line in lines)
    return [(key.strip(), value.strip()) for key, _, value in pairs]
