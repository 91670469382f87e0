"""The one error a recipe raises, and the wording helpers it shares; knows no schema."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class RecipeError(ValueError):
    """A recipe that cannot be used: one line with file, key path and what would be right."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint naming the closest known word, or listing all of them.

    >>> nearest("learning_rat", ["learning_rate", "steps"])
    "did you mean 'learning_rate'?"
    >>> nearest("zzz", ["steps", "tokens"])
    'allowed: steps, tokens'
    >>> nearest("GSM-8K", ["gsm8k", "mmlu"])
    "did you mean 'gsm8k'?"
    """
    names = list(known)
    close = difflib.get_close_matches(str(word), names, n=1, cutoff=0.6)
    if not close:
        lower = {name.lower(): name for name in names}
        close = [lower[k] for k in difflib.get_close_matches(str(word).lower(), lower, n=1)]
    return f"did you mean '{close[0]}'?" if close else f"allowed: {', '.join(names) or 'nothing'}"


def dotted(parts: Sequence[str | int]) -> str:
    """Join a key path for display, list positions in brackets.

    >>> dotted(["sft", 0, "domains", "math"])
    'sft[0].domains.math'
    """
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else str(part)
    return text
