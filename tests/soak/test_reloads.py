"""Reload after reload under load, however work comes to the nodes: nothing may be lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.system.reload_rig import Code
from tests.system.test_reload_by_listener import renew_under_load

RELOADS = int(os.environ.get("RELOADS", "10"))

pytestmark = [pytest.mark.soak, pytest.mark.timeout(120 + 30 * RELOADS)]


@pytest.fixture
def anyio_backend() -> str:
    """The clients are asyncio's; what is tested runs in other processes."""
    return "asyncio"


async def test_reload_after_reload_loses_nothing(
    no_leaks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    code = Code(tmp_path)
    code.write("first")
    await renew_under_load(code, tmp_path, rate=80, reloads=RELOADS)
