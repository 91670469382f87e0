"""Checks on one GPU what the tests show on a CPU: speed, memory, precision, kill and resume.

    python -m benchmarks.gpu_check [--out FOLDER] [--rehearse] [PART ...]

Parts are A1 to A6 and B1 to B6 (default: all; `benchmarks/gpu/registry.py` lists them). Each runs
in a process of its own that is ended at its limit, prints a line of JSON and appends it to
FOLDER/results.jsonl, so that a run that is cut off loses nothing. `--rehearse` runs the smallest
shapes on the CPU, where only errors count. At the end stands a Markdown table of what FOLDER holds;
`docs/gpu.md` says what is measured and how.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu import machine, running
from benchmarks.gpu.registry import PARTS


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every part passed; in a rehearsal, when every part ended with an outcome."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, default=Path("build/gpu_check"), metavar="FOLDER")
    parser.add_argument("--rehearse", action="store_true", help="smallest shapes on the CPU")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.parts if name not in PARTS]
    if unknown:
        parser.error(f"no part {unknown[0]!r}: there are {', '.join(PARTS)}")
    device = "cpu" if options.rehearse else "cuda"
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    described = machine.described(device)
    (out / "machine.json").write_text(json.dumps(described, indent=1) + "\n")
    print(json.dumps(described), flush=True)
    context = running.processes(device)
    failed = False
    for name in options.parts or PARTS:
        line = running.run(PARTS[name], device, out, context)
        print(json.dumps(line), flush=True)
        failed |= "error" in line or (not options.rehearse and not line["passed"])
    lines = [json.loads(text) for text in (out / running.RESULTS).read_text().splitlines()]
    latest = {line["part"]: line for line in lines if line["device"] == device}
    print(running.table([latest[name] for name in PARTS if name in latest]))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
