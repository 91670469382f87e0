"""`heirloom resume` writes its answer beside the record of the stop, once."""

from __future__ import annotations

import os

import pytest

from jobs.cli import main
from resources.store.home import Home
from resources.training.loop import interventions
from warehouse.store import Store


def test_the_last_stop_of_an_asset_is_answered_once(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["resume", "super/sft", "--recipe", "smoke", "--reinitialize-optimizer"]
    arguments += ["--reason", "as in the paper", "--home", str(home.path)]
    assert main(arguments) == 1
    assert "super/sft: no stopped run waits for an answer" in capsys.readouterr().err
    work = Store(home.path).scratch / "work"
    record = {"key": "super/sft", "what": "the loss", "value": 9.0, "limit": 3.0}
    for age, (name, key, step) in enumerate(
        [("last", "super/sft", 32), ("former", "super/sft", 7), ("another", "ultra/sft", 40)]
    ):
        stop = {**record, "key": key, "step": step, "good_step": step - 2}
        interventions.stop(work / name, stop, 1)
        path = work / name / interventions.STOPPED
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    assert main(arguments) == 0
    assert "goes on from step 30 with fresh optimizer states" in capsys.readouterr().out
    answer = interventions.answered(work / "last", 0)
    assert answer is not None and answer["by"] == "operator"
    assert interventions.answered(work / "former", 0) is None
    assert interventions.answered(work / "another", 0) is None
