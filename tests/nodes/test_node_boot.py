"""Process nodes that never get ready, and what a node is given at its start."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import anyio
import pytest

from actors import Actor, System, Topology, nodes
from actors.errors import ActorsError, BootFailed, NodeDown
from actors.testing import eventually, running_system
from tests.nodes.node_actors import Victim

BROKEN = """
def broken():
    raise RuntimeError("a broken installation")
broken()
"""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """One loop: what a child does before it is ready is not the parent's loop's business."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def first_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that children look into before any other."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


async def _fails_to_boot(topology: Topology) -> BootFailed:
    with anyio.fail_after(20), pytest.raises(BootFailed) as caught:
        async with System(topology):
            raise AssertionError("it is running")
    return caught.value


async def test_a_node_that_dies_while_booting_tells_its_traceback(first_on_path: Path) -> None:
    (first_on_path / "msgpack.py").write_text(BROKEN)
    error = await _fails_to_boot(Topology(nodes=[nodes("web")]))
    text = str(error)
    assert text.startswith("node web/0 failed to boot: exit code 1; its last lines:")
    assert "in broken" in text
    assert text.endswith("RuntimeError: a broken installation")


async def test_a_node_that_ends_silently_while_booting_is_named(first_on_path: Path) -> None:
    (first_on_path / "sitecustomize.py").write_text("import os; os._exit(3)")
    error = await _fails_to_boot(Topology(nodes=[nodes("web", count=2)]))
    # They boot side by side: either may be the first to fail.
    assert re.fullmatch(r"node web/[01] failed to boot: exit code 3", str(error))


async def test_a_node_that_does_not_get_ready_in_time_is_killed(first_on_path: Path) -> None:
    (first_on_path / "sitecustomize.py").write_text("import time; time.sleep(600)")
    error = await _fails_to_boot(Topology(nodes=[nodes("web", boot_timeout=1.0)]))
    assert str(error) == "node web/0 was not ready after 1 s"


async def test_one_node_that_cannot_boot_takes_those_before_it_along(first_on_path: Path) -> None:
    only_bad = "import os, sys; os.environ.get('BAD_NODE') and os._exit(7)"
    (first_on_path / "sitecustomize.py").write_text(only_bad)
    topology = Topology(nodes=[nodes("good"), nodes("bad", env={"BAD_NODE": "1"})])
    assert "node bad/0 failed to boot: exit code 7" in str(await _fails_to_boot(topology))


async def test_a_node_that_cannot_come_back_keeps_trying_and_says_so(first_on_path: Path) -> None:
    async with running_system(Topology(nodes=[nodes("web")])) as system:
        victim = await system.spawn(Victim, on="web")
        (first_on_path / "sitecustomize.py").write_text("import os; os._exit(3)")
        events = system.events()
        with anyio.fail_after(20):
            with pytest.raises(NodeDown, match="exit code 9"):
                await victim.ask(Victim.exit, 9)
            async for event in events:
                if event.kind == "child_start_failed":
                    break
            assert "node web/0 failed to boot: exit code 3" in str(event.facts)
            with pytest.raises(NodeDown, match="it is being restarted"):
                await victim.ask(Victim.pid)
            (first_on_path / "sitecustomize.py").unlink()
            node = next(node for node in system.nodes if node.name == "web/0")
            await eventually(lambda: node.ready, 15)
            assert await victim.ask(Victim.pid) == node.pid
        events.close()


async def test_a_node_has_its_environment_and_the_path_of_its_parent(
    first_on_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    topology = Topology(nodes=[nodes("web", env={"COLOUR": "green"}, nice=3, uvloop=False)])
    async with running_system(topology) as system:
        victim = await system.spawn(Victim, on="web")
        with anyio.fail_after(10):
            colour, path, niceness = await victim.ask(Victim.environment, "COLOUR")
    assert colour == "green"
    assert path == "/somewhere/else"
    assert niceness == os.nice(0) + 3
    assert str(first_on_path) in sys.path


async def test_a_system_without_room_for_nodes_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    error = await _fails_to_boot(Topology(nodes=[nodes("web")]))
    assert str(error).startswith("node web/0 could not be started: ")
    assert "/no/such/python" in str(error)


class Debugged(Actor):
    async def stop_here(self) -> None:
        breakpoint()  # noqa: T100 - the test is about it


async def test_breakpoint_on_a_process_node_says_that_there_is_no_terminal() -> None:
    with anyio.fail_after(20):
        async with System(Topology(nodes=[nodes("box")])) as system:
            actor = await system.spawn(Debugged, on="box")
            with pytest.raises(ActorsError, match=r"breakpoint\(\) needs a terminal"):
                await actor.ask(Debugged.stop_here)
