"""Tool-call problems: choose the tool, fill its schema, compute one argument in k steps."""

import json
from random import Random

from resources.tasks import arithmetic
from resources.tasks.problem import Problem

TOOLS: dict[str, tuple[str, str]] = {
    "heater": ("room", "level"),
    "player": ("room", "track"),
    "blinds": ("room", "height"),
    "timer": ("label", "minutes"),
    "camera": ("room", "zoom"),
    "mixer": ("label", "speed"),
}
WORDS = {
    "room": ("attic", "kitchen", "garage", "office", "hall"),
    "label": ("tea", "bread", "soup", "rice", "cake"),
}
KINDS = ("single",)


def schema(name: str) -> dict[str, object]:
    """The JSON schema of one tool, as a tool server would publish it."""
    text, number = TOOLS[name]
    return {
        "name": name,
        "parameters": {
            "type": "object",
            "properties": {text: {"type": "string"}, number: {"type": "integer"}},
            "required": [text, number],
        },
    }


def problem(rng: Random, kind: str, depth: int) -> Problem:
    """Two tools on offer, one asked for, its number given as a chain of `depth` steps."""
    names = rng.sample(sorted(TOOLS), 2)
    wanted = rng.choice(names)
    text, number = TOOLS[wanted]
    word = rng.choice(WORDS[text])
    made = arithmetic.chain(rng, depth)
    offered = " ".join(f"{name}({', '.join(TOOLS[name])})" for name in names)
    question = (
        f"Tools: {offered}. Call {wanted} with {text}={word} "
        f"and {number} {made.expression} left to right mod ten."
    )
    call = [{"name": wanted, "arguments": {text: word, number: made.values[-1]}}]
    return Problem(
        domain="tools",
        kind=kind,
        depth=depth,
        question=question,
        expected_answer=json.dumps(call),
        composition=f"{wanted}:{text}={word}:{made.operators}",
        thinking=made.thinking,
        answer=f"<TOOLCALL>{json.dumps(call)}</TOOLCALL>",
        subject="tools",
        subtopic=wanted,
        metadata={"tools": [schema(name) for name in names]},
    )
