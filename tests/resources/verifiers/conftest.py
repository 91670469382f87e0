"""The isolations that programs are run under in tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from resources.verifiers.programs import sandbox
from resources.verifiers.programs.sandbox import Sandbox, SandboxUnavailable


@pytest.fixture(scope="module", params=sandbox.TIERS)
def tier(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a tier that the shared sandbox uses meanwhile: a test holds in both.

    One that this machine does not have is skipped, and why; one in which the probe finds a way out
    is no such machine but a fault.
    """
    try:
        started = Sandbox(tiers=[request.param])
    except SandboxUnavailable as error:
        if "could reach outside" in str(error):
            raise
        pytest.skip(str(error))
    with started, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox, "_shared", started)
        yield request.param
