"""The errors of commands, and how any error becomes one line for the reader.

Knows which errors are ours; which command met one, and what exit code it gives, is the CLI's.
"""

from __future__ import annotations

ROOMS = frozenset({"assets", "jobs", "resources", "sensors", "warehouse"})


class CommandError(RuntimeError):
    """A command cannot go on; the message is one line that says what to do."""


class UsageError(CommandError):
    """What was typed cannot be meant; the message gives an example of what can."""


def ours(module: str) -> bool:
    """Whether a module, or what is named after one (`jobs.errors.CommandError`), is this repo's."""
    return module.split(".")[0] in ROOMS


def one_line(error: BaseException) -> str:
    """The error's message on one line; errors of foreign libraries are named by their type."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if ours(type(error).__module__) else f"{type(error).__name__}: {text}"
