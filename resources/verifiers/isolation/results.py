"""What a tester says of a job: a verdict, the evidence in one line, and what else is asked for."""

from typing import Any

MOST_CHARACTERS = 500


def result(verdict: str, evidence: str, **more: Any) -> dict[str, Any]:
    """A result as it is sent to the asking process."""
    return {"verdict": verdict, "evidence": " ".join(evidence.split())[:MOST_CHARACTERS], **more}


def failed(error: BaseException, evidence: str, **more: Any) -> dict[str, Any]:
    """The result of tests that an exception ended: incorrect, unless the environment is at fault.

    A library that is not there says nothing of the program.
    """
    if isinstance(error, ModuleNotFoundError):
        return result("unknown", f"the test environment lacks a library: {error}", **more)
    return result("incorrect", evidence, **more)


def described(error: BaseException) -> str:
    """The name of an exception, and its text where it has one."""
    text = str(error)
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__
