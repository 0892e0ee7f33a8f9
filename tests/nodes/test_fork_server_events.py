"""A template that cannot be used is told: nodes start all the same, but slower."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import System, nodes
from actors._system.coordinator import Coordinator

pytestmark = pytest.mark.usefixtures("cold_nodes")

THREADED = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: the launcher's thread and the template know nothing of loops."""
    return "asyncio", {"use_uvloop": True}


async def test_why_nodes_are_not_forked_is_one_event_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "threaded.py").write_text(THREADED)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(Coordinator, "imports", lambda _self, _group: ("threaded",))
    with anyio.fail_after(40):
        async with System() as system:
            events = system.events()
            await system.start(nodes("web", count=2))
            events.close()
            told = [event async for event in events]
    unusable = [event.facts["why"] for event in told if event.kind == "fork_server_unusable"]
    assert unusable == ["2 of them in a row ended instead of forking"]
    assert [event.kind for event in told].count("node_ready") == 2
