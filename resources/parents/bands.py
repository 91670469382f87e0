"""Measures the bundled models by depth on fresh held-out problems, against their bands.

    python -m resources.parents.bands [--problems 40] [--models super teacher]

Prints Markdown: accuracy per depth with the number of problems, for thinking off (parents) or on
(teacher), greedy. The bands are goals, printed beside what is measured.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resources.parents.configuration import load
from resources.pretrained.source import BUNDLED
from resources.tasks import generate
from resources.tasks.problem import DEPTHS

SERIAL = ("math", "code", "science", "tools")  # where depth is serial
BANDS = {
    "off": "parents, answering directly: at least 90 % at k = 1, at most 30 % at k >= 4",
    "on": "teacher, thinking: at least 95 % at k <= 3, 40-70 % at k = 4-6, low at k = 8",
}


def accuracy(folder: Path, reasoning: str, problems: int, threads: int) -> dict[str, list[float]]:
    """Share of `problems` held-out problems solved greedily, by domain, for every depth."""
    from resources.engines.opening import open_engine
    from resources.engines.protocol import Request, Sampling
    from resources.execution import Execution
    from resources.verifiers.dispatch import verify_many

    engine = open_engine(folder, folder.name, Execution(threads=threads))
    rows: list[dict[str, Any]] = []
    for domain in generate.DOMAINS:
        for depth in DEPTHS:
            rows += generate.generate(
                domain, problems, depths={depth: 1.0}, seed=f"bands/{depth}", held_out=True
            ).to_pylist()
    requests = [Request((("user", row["question"]),), thinking=reasoning) for row in rows]
    answers = engine.generate(requests, Sampling(temperature=0.0, max_new_tokens=200))
    verdicts = verify_many(rows, [answer.text for answer in answers], [reasoning] * len(rows))
    solved: dict[tuple[str, int], list[bool]] = {}
    for row, verdict in zip(rows, verdicts, strict=True):
        cell = (row["domain"], row["difficulty"])
        solved.setdefault(cell, []).append(verdict.verdict == "correct")
    return {
        domain: [sum(cell) / len(cell) for cell in (solved[domain, depth] for depth in DEPTHS)]
        for domain in generate.DOMAINS
    }


def table(name: str, reasoning: str, cells: dict[str, list[float]]) -> str:
    """The Markdown table of one model."""
    head = "| domain | " + " | ".join(f"k = {depth}" for depth in DEPTHS) + " |"
    lines = [f"**{name}**, thinking {reasoning}", "", head, "|---" * (len(DEPTHS) + 1) + "|"]
    means = [
        sum(cells[domain][index] for domain in SERIAL) / len(SERIAL) for index in range(len(DEPTHS))
    ]
    for domain, values in [*cells.items(), ("mean of the serial domains", means)]:
        lines.append(f"| {domain} | " + " | ".join(f"{value:.0%}" for value in values) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    models = load().models
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=40, help="a domain and depth")
    parser.add_argument("--models", nargs="+", choices=sorted(models), default=list(models))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args(arguments)
    print(f"{chosen.problems} held-out problems a domain and depth (fewer exist at k = 1), greedy")
    for line in BANDS.values():
        print(f"- band of the {line}")
    for name in chosen.models:
        reasoning = "on" if models[name].thinks else "off"
        cells = accuracy(BUNDLED / name, reasoning, chosen.problems, chosen.threads)
        print(f"\n{table(name, reasoning, cells)}")


if __name__ == "__main__":
    main()
