"""Odd conversations: empty contents, outer white space, foreign scripts, tags and half tokens."""

from __future__ import annotations

from random import Random

PIECES = (
    *("", " ", "  ", "\n", "\n\n", "\t", " \n", "a", "Hello", " world", "2+2=4", "  x", "y  "),
    *("<think>", "</think>", "<think>\nhm\n</think>\n\nyes", "[INST]", "[/INST] ", "<|", "|>", "<"),
    *("日本語", "naïve", "é", "👩‍👩‍👧", "́", "\u00a0", "\u200b", "\ufeff", "\ufdd0", "0️⃣", "\r\n"),
    *(
        "def f():\n    return 1\n",
        "1,000.50",
        "'s",
        "...",
        "{{ x }}",
        "{% if %}",
        "\\n",
        "<s",
        "s>",
    ),
)


def text(rng: Random, pieces: tuple[str, ...] = PIECES) -> str:
    """Up to six pieces in a row."""
    return "".join(rng.choice(pieces) for _ in range(rng.randrange(7)))


def conversation(
    rng: Random, pieces: tuple[str, ...] = PIECES, ends: str | None = None
) -> list[dict[str, str]]:
    """A system turn sometimes, then questions and answers in turn; `ends` with that role."""
    turns = [{"role": "system", "content": text(rng, pieces)}] if rng.random() < 0.4 else []
    count = rng.randrange(1, 6)
    if ends is not None and (count % 2 == 1) != (ends == "user"):
        count += 1
    for number in range(count):
        role = "user" if number % 2 == 0 else "assistant"
        turns.append({"role": role, "content": text(rng, pieces)})
    return turns
