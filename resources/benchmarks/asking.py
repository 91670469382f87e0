"""How a problem is put to a model: as a conversation, or as plain text, worked examples first.

Knows neither engines nor verdicts.
"""

from __future__ import annotations

from resources.benchmarks.answers import Asked, Problem


def text(asked: Asked, problem: Problem) -> str:
    """The plain text that is to be gone on with."""
    shot = "".join(
        f"{each['prompt']}{asked.protocol.delimiter}{each['target']}\n\n" for each in asked.examples
    )
    head = f"{asked.protocol.system}\n\n" if asked.protocol.system else ""
    return f"{head}{shot}{problem['prompt']}"


def conversation(asked: Asked, problem: Problem) -> list[dict[str, str]]:
    """The messages that are to be answered."""
    turns = []
    if asked.protocol.system:
        turns.append({"role": "system", "content": asked.protocol.system})
    for each in asked.examples:
        turns.append({"role": "user", "content": each["prompt"]})
        turns.append({"role": "assistant", "content": each["target"]})
    return [*turns, {"role": "user", "content": problem["prompt"]}]
