"""Runs a part in a child process that is ended at its limit, and keeps its line at once.

Children are born from a server process that has torch imported but never started CUDA, so that a
part costs no start of its own and gives all memory back. Knows parts, not what they measure.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import multiprocessing
import os
import shutil
import signal
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from benchmarks.gpu import machine
from benchmarks.gpu.part import Outcome, Part, Setup

RESULTS = "results.jsonl"
PRELOADED = ("torch", "resources.models.modeling", "assets.puzzle.costs.timing")


def processes(device: str) -> ForkServerContext:
    """Where children come from. DeepSpeed looks for a GPU when imported, so it is imported before
    on a CPU alone."""
    os.environ["DS_ACCELERATOR"] = device
    if device == "cpu":
        os.environ["OMP_NUM_THREADS"] = "1"  # the shapes are so small that threads cost time
    # What deterministic kernels need (A3); cuBLAS reads it when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, *(["deepspeed"] if device == "cpu" else [])])
    return context


def run(part: Part, device: str, out: Path, context: ForkServerContext) -> dict[str, Any]:
    """Run a part and append its line to the results; gives the line.

    The line holds `error` where the part ended otherwise than by its outcome; what it printed is in
    `<part>.log`.
    """
    work = out / part.name
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    answer, log = work / "answer.json", out / f"{part.name}.log"
    began = time.monotonic()
    child = context.Process(
        target=_child, args=(part.module, part.function, Setup(device, work), answer, log)
    )
    child.start()
    child.join(part.limit)
    error = None
    if child.is_alive():
        error = f"ended at its limit of {part.limit:.0f} s"
    if child.pid is not None:
        with suppress(ProcessLookupError):  # what it left behind goes too
            os.killpg(child.pid, signal.SIGKILL)
    child.join()
    seconds = time.monotonic() - began
    found = json.loads(answer.read_text()) if answer.exists() and error is None else {}
    if not found:
        error = error or f"ended with code {child.exitcode}"
    criteria = found.get("criteria", {})
    line = {
        "part": part.name,
        "what": part.what,
        "passes": part.passes,
        "passed": not (error or found.get("error")) and all(criteria.values()),
        "criteria": criteria,
        "figures": found.get("figures", {}),
        "seconds": round(seconds, 2),
        "left_bytes": machine.taken_bytes(device),
        "device": device,
    }
    if error or found.get("error"):
        line["error"] = error or found["error"]
    shutil.rmtree(work, ignore_errors=True)
    keep(out / RESULTS, line)
    return line


def keep(path: Path, line: dict[str, Any]) -> None:
    """Append a line, on the disk before this returns."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def table(lines: Sequence[dict[str, Any]]) -> str:
    """The lines as a Markdown table."""
    rows = ["| part | what | figures | passes when | |", "|---|---|---|---|---|"]
    for line in lines:
        figures = ", ".join(f"{name} {_short(value)}" for name, value in line["figures"].items())
        verdict = "passed" if line["passed"] else line.get("error", "failed")
        cells = (line["part"], line["what"], figures or "none", line["passes"], verdict)
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {_short(each)}" for name, each in value.items()) + ")"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _child(module: str, function: str, setup: Setup, answer: Path, log: Path) -> None:
    """In the child: a session of its own, its words into the log, its outcome into the answer."""
    os.setsid()
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    found: dict[str, Any]
    try:
        outcome: Outcome = getattr(importlib.import_module(module), function)(setup)
        found = dataclasses.asdict(outcome)
    except Exception as error:
        traceback.print_exc()
        lines = str(error).splitlines() or [""]
        found = {"error": f"{type(error).__name__}: {lines[0]}"}
    answer.with_suffix(".partial").write_text(json.dumps(found))
    answer.with_suffix(".partial").rename(answer)
