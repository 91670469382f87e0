"""Where the code of this project lies: what child processes run in and code is hashed below."""

from __future__ import annotations

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
