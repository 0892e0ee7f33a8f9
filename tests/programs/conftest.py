"""Every test in this folder leaves nothing behind."""

from __future__ import annotations

import pytest

from actors.programs import limits
from actors.programs.control_group import open_system_group


@pytest.fixture(params=["control group", "descent"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How what programs have started is found: by control groups where they are allowed, or without them."""
    if request.param == "descent":
        monkeypatch.setattr(limits, "open_system_group", lambda _ours: "this test has none")
    else:
        found = open_system_group(frozenset())
        if isinstance(found, str):
            pytest.skip(found)
        found.close()
    return str(request.param)


@pytest.fixture(autouse=True)
def _nothing_left(no_leaks: None) -> None:
    """Children, descriptors, threads and shared memory are as they were."""
