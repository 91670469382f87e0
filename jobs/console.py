"""The console that tables are printed on: as wide as the terminal, and unwrapped elsewhere."""

from __future__ import annotations

import re
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

UNWRAPPED = 400  # columns, where nobody looks at a screen


class Pipe(Console):
    """A console whose reader may leave: the command line knows what that means, rich would exit."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print; in pipes and files without the blanks that fill a table's last column."""
        if self.is_terminal:
            super().print(*objects, **options)
            return
        with self.capture() as captured:
            super().print(*objects, **options)
        self.file.write(re.sub(r" +$", "", captured.get(), flags=re.MULTILINE))
        self.file.flush()

    def on_broken_pipe(self) -> None:
        """Hand the error on. Raises BrokenPipeError."""
        raise BrokenPipeError


def open_console() -> Console:
    """A console on standard output; lines are not folded in pipes and files."""
    return Pipe(width=None if sys.stdout.isatty() else UNWRAPPED, highlight=False)


def plain_table(*left: str) -> Table:
    """A table without lines, with the given left-aligned columns."""
    table = Table(box=None, pad_edge=False)
    for name in left:
        table.add_column(name, no_wrap=True)
    return table
