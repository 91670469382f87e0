"""Stages that train answers warn of the same share in the same words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from assets.rl import checks as rl
from assets.rl_data import checks as rl_data
from resources.verifiers.obedience import LEAST


@pytest.mark.parametrize(
    ("check", "metric", "of"),
    [
        (rl.toggle_obeyed, "follows_toggle_last", "the last rollouts"),
        (rl_data.toggle_obeyed, "follows_toggle", "the responses"),
    ],
)
def test_half_of_the_responses_is_enough(check: Any, metric: str, of: str) -> None:
    enough, few = (check(SimpleNamespace(metrics={metric: n}), {}) for n in (LEAST, LEAST - 0.01))
    assert (enough.name, enough.passed, few.passed) == ("toggle_obeyed", True, False)
    assert enough.description == f"50.0% of {of} think as asked"
    assert not enough.blocking and few.metadata == {"share": LEAST - 0.01}
