"""The GPU check, rehearsed on the CPU at its smallest shapes, and how its parts are run."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gpu_check
from benchmarks.gpu import running
from benchmarks.gpu.part import Part
from benchmarks.gpu.registry import PARTS

ROOT = Path(__file__).resolve().parents[2]


class Brief(Part):
    """A part whose time is up after a second."""

    limit = 1.0


def part(function: str, kind: type[Part] = Part) -> Part:
    return kind(function, "tests.benchmarks.gpu_parts", function, "what", "when", 1.0)


REHEARSAL = """
import sys
from benchmarks import gpu_check
from benchmarks.gpu import running
running.PRELOADED = ("tests.benchmarks.absent", *running.PRELOADED)
sys.exit(gpu_check.main(["--rehearse", "--out", sys.argv[1]]))
"""


def test_every_part_is_rehearsed_without_the_graphs_packages(tmp_path: Path) -> None:
    """A machine with a GPU may have neither Dagster nor DuckDB nor solvers: only A2, whose
    rehearsal builds nothing, needs them."""
    command = [sys.executable, "-c", REHEARSAL, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(text) for text in (tmp_path / running.RESULTS).read_text().splitlines()]
    assert [line["part"] for line in lines] == list(PARTS)
    assert all(line["device"] == "cpu" and "error" not in line for line in lines)
    criteria = {line["part"]: line["criteria"] for line in lines}
    # What is exact on every machine; speeds of a rehearsal say nothing.
    for name in ("A2", "A3", "A4", "A6", "B6"):
        assert criteria[name] and all(criteria[name].values()), (name, criteria[name])
    assert all(f"| {name} | {each.what} |" in done.stdout for name, each in PARTS.items())
    versions = json.loads((tmp_path / "machine.json").read_text())["versions"]
    assert versions["torch"] and versions["transformers"]
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]  # work folders are gone


def test_a_line_is_kept_whatever_becomes_of_the_part(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    made = [
        running.run(each, "cpu", tmp_path, context)
        for each in (part("ends"), part("fails"), part("never_ends", Brief))
    ]
    kept = (tmp_path / running.RESULTS).read_text().splitlines()
    assert [json.loads(text) for text in kept] == made
    ended, failed, killed = made
    assert ended["figures"] == {"seconds": 2.0, "of": {"one": 1}}
    assert not ended["passed"] and "error" not in ended
    assert (tmp_path / "ends.log").read_text() == "working\n"
    assert failed["error"] == "ValueError: no kernel" and not failed["passed"]
    assert killed["error"] == "ended at its limit of 1 s" and killed["figures"] == {}
    assert running.table(made).splitlines()[2:] == [
        "| ends | what | seconds 2, of (one 1) | when | failed |",
        "| fails | what | none | when | ValueError: no kernel |",
        "| never_ends | what | none | when | ended at its limit of 1 s |",
    ]


def test_an_unknown_part_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu_check.main(["C1", "--out", str(tmp_path / "out")])
    assert "no part 'C1': there are A1, A2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_ranks_are_compared() -> None:
    from benchmarks.gpu.blocks import kendall

    numbers = np.array([3.0, 1.0, 2.0, 5.0])
    assert kendall(numbers, numbers * 2) == 1
    assert kendall(numbers, -numbers) == -1
    assert kendall(numbers, np.array([3.0, 2.0, 1.0, 5.0])) == pytest.approx(4 / 6)
