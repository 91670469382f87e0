"""A failed run's reason: the error that says what was wrong, and what it came of."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import pytest

from jobs.running.reasons import failure
from warehouse.errors import WarehouseError


def _inner() -> None:
    raise KeyError("answer")


def _foreign() -> None:
    try:
        _inner()
    except KeyError as error:
        raise RuntimeError("row 7 of q.jsonl\ncannot be read") from error


def _ours() -> None:
    try:
        _inner()
    except KeyError as error:
        raise WarehouseError("q.jsonl, row 7: no field 'answer'") from error


def _around() -> None:
    try:
        _ours()
    except WarehouseError as error:
        raise RuntimeError("group 3 of 8") from error


@pytest.mark.parametrize(
    ("fails", "reason"),
    [
        (_inner, "KeyError: 'answer'"),
        (_foreign, "RuntimeError: row 7 of q.jsonl cannot be read, because of KeyError: 'answer'"),
        (_ours, "q.jsonl, row 7: no field 'answer'"),
        (
            _around,
            "RuntimeError: group 3 of 8, because of q.jsonl, row 7: no field 'answer'",
        ),
    ],
)
def test_the_wrapper_and_the_cause_are_said(fails: Callable[[], None], reason: str) -> None:
    @dg.op
    def step() -> None:
        fails()

    @dg.job
    def work() -> None:
        step()

    assert failure(work.execute_in_process(raise_on_error=False)) == reason
