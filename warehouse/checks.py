"""What checks say: the result of each, and the error where a blocking one failed.

Knows results; which checks an asset has, and when they run, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from warehouse.errors import WarehouseError


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check; a failed blocking check prevents publication."""

    name: str
    passed: bool
    description: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    blocking: bool = True


class CheckFailed(WarehouseError):
    """A blocking check failed before publication; `results` holds every check's result."""

    def __init__(self, message: str, results: Sequence[CheckResult]) -> None:
        super().__init__(message)
        self.results = list(results)
