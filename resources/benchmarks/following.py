"""How much of its instructions an answer follows: IFEval's four accuracies (arXiv 2311.07911).

Strict is the answer as it stands; loose the best of eight variants of it, such as without its first
line. `accuracy` itself is the strict one by prompt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from resources.benchmarks.answers import Answer, Measure, Problem
from resources.benchmarks.intervals import ratio, wilson
from resources.verifiers import instructions

VERIFIER = "instructions"
LOOSE = "accuracy_loose"
BY_INSTRUCTION = {
    "strict": "accuracy_by_instruction",
    "loose": "accuracy_by_instruction_loose",
}


def followed(problem: Problem, answer: str) -> dict[str, list[bool]]:
    """Whether each instruction is followed, `strict` and `loose`; empty where one is not known."""
    metadata: Mapping[str, Any] = json.loads(problem["metadata"] or "{}")
    names = metadata.get("instruction_id_list") or []
    if not names or not set(names) <= set(instructions.INSTRUCTIONS):
        return {}
    given, prompt = metadata["kwargs"], problem["question"]
    return {
        how: instructions.verify(answer, names, given, prompt=prompt, loose=how == "loose")
        for how in BY_INSTRUCTION
    }


def measures(answers: Sequence[Answer], samples: int, mode: str | None) -> list[Measure]:
    """Loose by prompt, and strict and loose by instruction; a prompt is the trial in all three."""
    judged: dict[bytes, list[Mapping[str, list[bool]]]] = {}
    for each in answers:
        if each.numbers:
            judged.setdefault(each.problem["row_id"], []).append(each.numbers)
    if not judged:
        return []
    count = len(judged)
    loose = sum(sum(all(n["loose"]) for n in made) / len(made) for made in judged.values()) / count
    found = [Measure(LOOSE, loose, *wilson(loose, count), count, samples, mode)]
    for how, metric in BY_INSTRUCTION.items():
        kept = [float(sum(sum(n[how]) for n in made)) for made in judged.values()]
        asked = [float(sum(len(n[how]) for n in made)) for made in judged.values()]
        value, low, high = ratio(kept, asked)
        low, high = max(low, 0.0), min(high, 1.0)
        found.append(Measure(metric, value, low, high, count, samples, mode))
    return found
