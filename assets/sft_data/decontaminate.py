"""Training questions that a benchmark contains: the comparison that all stages share, by its name
of this stage."""

from __future__ import annotations

from resources.benchmarks.overlap import METHODS, matches

__all__ = ["METHODS", "matches"]
