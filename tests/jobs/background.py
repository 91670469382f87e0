"""Commands as a shell starts its background jobs: with SIGINT ignored, which children inherit."""

from collections.abc import Sequence


def in_background(command: Sequence[str]) -> list[str]:
    """The command line that does so; the process id is the command's own."""
    return ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", *command]
