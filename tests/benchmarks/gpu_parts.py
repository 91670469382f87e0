"""Parts for tests of how parts are run: one that ends, one that fails, one that never ends."""

from __future__ import annotations

import time

from benchmarks.gpu.part import Outcome, Setup


def ends(setup: Setup) -> Outcome:
    print("working")
    return Outcome({"seconds": 2.0, "of": {"one": 1}}, {"speed": False, "memory": True})


def fails(setup: Setup) -> Outcome:
    raise ValueError("no kernel\nfor this card")


def never_ends(setup: Setup) -> Outcome:
    time.sleep(600)
    return ends(setup)
