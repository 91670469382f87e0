"""What this machine is: its hardware by name, its free memory, its threads.

So that a measured time says where it was measured. Knows torch's devices, nothing of models.
"""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import torch

ENGINE = "transformers"  # the engine whose layers are timed here: this package's own


def hardware(device: str | torch.device) -> str:
    """The GPU's name, or the processor's and how many of its threads this process may use."""
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    names = _values("/proc/cpuinfo", "model name")
    name = names[0] if names else platform.processor() or platform.machine()
    affinity = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return f"{name} x {count}"


def free_bytes(device: str | torch.device) -> int:
    """Memory that can still be taken on the device."""
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()  # what the allocator keeps for later counts as taken otherwise
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def resident_bytes() -> int:
    """Memory that this process has now."""
    return int(psutil.Process().memory_info().rss)


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


class PeakMemory:
    """The most memory in bytes since it was made: of the device, or of this process on a CPU."""

    def __init__(self, device: str | torch.device) -> None:
        self.device = torch.device(device)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            # Where the system forbids it, the mark is that of the whole process so far.
            with suppress(OSError):
                Path("/proc/self/clear_refs").write_text("5")

    def bytes(self) -> int:
        """The mark now."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        marks = _values("/proc/self/status", "VmHWM")  # no library reads the mark that was set back
        if marks:
            return 1024 * int(marks[0].split()[0])
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _values(path: str, key: str) -> list[str]:
    """The values of a key in a file of `key: value` lines of /proc; none on other systems."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return []
    pairs = (line.partition(":") for line in lines)
    return [value.strip() for name, _, value in pairs if name.strip() == key]
