"""Imported first in a process, it makes the graph's packages look as if not installed."""

from __future__ import annotations

import sys

sys.modules.update(dict.fromkeys(("dagster", "duckdb", "pulp", "highspy", "datasets", "gguf")))
