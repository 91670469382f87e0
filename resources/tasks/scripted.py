"""Fixed rules in the place of models that work in open language: what each role of them replies.

They show that the plumbing of a step holds; what their answers are worth is never measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from resources.tasks.prompting import marked

NAME, VERSION = "scripted", "rules-1"  # another version where a rule changes


def _feedback(_: str) -> str:
    return "The answer should end with its result on a line of its own."


def _edit(message: str) -> str:
    """The draft, with its last line once more at its end.

    >>> _edit("The draft:\\n[0123abcd]\\nSo:\\n4\\n[0123abcd]\\nRepeat.")
    'So:\\n4\\n\\n4'
    """
    draft = marked(message)[0]
    lines = [line for line in draft.splitlines() if line.strip()]
    return "\n\n".join([draft, *lines[-1:]])


def _select(message: str) -> str:
    """The longest answer, of equally long ones the first in the alphabet: the same in any order."""
    answers = marked(message)
    best = min(answers, key=lambda one: (-len(one), one))
    return f"It is the longest.\nChoice: {answers.index(best) + 1}"


RULES: Mapping[str, Callable[[str], str]] = {
    "feedback": _feedback,
    "edit": _edit,
    "select": _select,
}
