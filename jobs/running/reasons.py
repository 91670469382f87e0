"""Why a Dagster run failed, on one line for the reader.

Knows Dagster's events. Below Dagster's own errors it takes the first: one of ours says it all, to
another what it came of is added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.errors import ours

if TYPE_CHECKING:
    import dagster as dg
    from dagster._utils.error import SerializableErrorInfo


def interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Whether the run ended because somebody stopped it, which Dagster counts as a failure."""
    from dagster._core.errors import DagsterExecutionInterruptedError
    from dagster._core.execution.plan.objects import ErrorSource

    names = (KeyboardInterrupt.__name__, DagsterExecutionInterruptedError.__name__)
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.error_source == ErrorSource.INTERRUPT:
                return True
            if data.error is not None and data.error.cls_name in names:
                return True
    return False


def failure(result: dg.ExecuteInProcessResult) -> str:
    """The reason of a failed run."""
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None and data.user_failure_data.description:
                return " ".join(data.user_failure_data.description.split())
            if data.error is not None:
                return _told(data.error)
    for event in result.all_events:
        if event.is_failure and event.message:
            return " ".join(event.message.split())
    return "Dagster gave no reason"


def _told(error: SerializableErrorInfo) -> str:
    chain = [error]
    while chain[-1].cause is not None:
        chain.append(chain[-1].cause)
    while len(chain) > 1 and (chain[0].cls_name or "").startswith("Dagster"):
        chain.pop(0)
    first, *rest = [each.message for each in chain]
    if _ours(first) or not rest:
        return _plain(first)
    cause = next((message for message in rest if _ours(message)), rest[-1])
    return f"{_plain(first)}, because of {_plain(cause)}"


def _plain(message: str) -> str:
    """An error's message; the class is left out where it is ours and its message says it all."""
    text = " ".join(message.split())
    return text.partition(": ")[2] if _ours(text) else text


def _ours(message: str) -> bool:
    name, separator, _ = message.partition(": ")
    return bool(separator) and ours(name)
