"""The check that responses think exactly where they were asked to."""

from __future__ import annotations

from warehouse.store import CheckResult

LEAST = 0.5  # a share below this says that SFT did not teach the toggle


def toggle_obeyed(share: float, of: str) -> CheckResult:
    """Whether enough of some responses, named by `of`, obey the toggle; a warning where not."""
    said = f"{share:.1%} of {of} think as asked"
    return CheckResult("toggle_obeyed", share >= LEAST, said, {"share": share}, blocking=False)
