"""`heirloom resume` writes its answer beside the record of the stop, once."""

from __future__ import annotations

import pytest

from jobs.cli import main
from jobs.plan import make_plan
from resources.store.home import Home
from resources.training import interventions
from warehouse.store import Store


def test_a_stop_is_answered_once(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["resume", "super/parent", "--recipe", "smoke", "--reinitialize-optimizer"]
    arguments += ["--reason", "as in the paper", "--home", str(home.path)]
    assert main(arguments) == 1
    assert "no stopped run waits for an answer" in capsys.readouterr().err
    plan = make_plan(home, "smoke")
    [step] = [step for step in plan.steps if step.key == "super/parent"]
    assert step.found.memo_key is not None
    work = Store(home.path).scratch / "work" / step.found.memo_key
    record = {"step": 32, "good_step": 30, "what": "the loss", "value": 9.0, "limit": 3.0}
    interventions.stop(work, record, 1)
    assert main(arguments) == 0
    assert "goes on from step 30 with fresh optimizer states" in capsys.readouterr().out
    answer = interventions.answered(work, 0)
    assert answer is not None and answer["by"] == "operator"
    assert main(arguments) == 1
