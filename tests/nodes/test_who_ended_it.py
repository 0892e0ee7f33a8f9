"""A node that ends itself has its time for that, and every end says who did it."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from actors import System, Topology, nodes
from actors._base.run_loop import open_loop
from actors.errors import NodeDown
from actors.nodes.boot.output import LinesReader, PrintedOutput
from actors.testing import eventually, running_system
from tests.nodes.node_actors import Leaver

PATIENCE = 20


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """One loop: how a process ends is not its parent's loop's business."""
    return "asyncio", {"use_uvloop": True}


async def _why(system: System) -> str:
    async for event in system.events():
        if event.kind == "node_died":
            return str(event.facts["why"])
    raise AssertionError("the system has ended")


async def test_a_node_that_exits_by_itself_has_its_shutdown_seconds_for_that(
    tmp_path: Path,
) -> None:
    leaving, may_go = tmp_path / "leaving", tmp_path / "may_go"
    async with running_system(Topology(nodes=[nodes("web", shutdown=PATIENCE)])) as system:
        leaver = await system.spawn(Leaver, on="web")
        events = system.events()
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:

                async def ask() -> None:
                    with pytest.raises(NodeDown, match=r"\(exit code 3\)"):
                        await leaver.ask(Leaver.exit_slowly, str(leaving), str(may_go), 3)

                tasks.start_soon(ask)
                await eventually(leaving.exists, PATIENCE)
                async for event in events:
                    if event.kind == "node_draining":
                        break
                assert event.facts == {"node": "web/0", "why": "its link has ended"}
                may_go.touch()
        events.close()
        assert not leaving.exists()


async def test_one_that_does_not_end_in_that_time_is_killed_and_told_so(tmp_path: Path) -> None:
    leaving, never = tmp_path / "leaving", tmp_path / "never"
    async with running_system(Topology(nodes=[nodes("web", shutdown=0.05)])) as system:
        leaver = await system.spawn(Leaver, on="web")
        why = "killed by its parent: it did not end within 0.05 s of the end of its link"
        with anyio.fail_after(PATIENCE), pytest.raises(NodeDown) as caught:
            await leaver.ask(Leaver.exit_slowly, str(leaving), str(never), 3)
        assert f"({why})" in str(caught.value)


async def test_one_that_breaks_the_protocol_is_killed_and_told_so() -> None:
    async with running_system(Topology(nodes=[nodes("web")])) as system:
        leaver = await system.spawn(Leaver, on="web")
        async with anyio.create_task_group() as tasks:
            with anyio.fail_after(PATIENCE):
                tasks.start_soon(leaver.tell, Leaver.send_rubbish)
                why = await _why(system)
        assert why.startswith("killed by its parent: it broke the protocol: ")


async def test_a_program_that_outlives_its_node_and_writes_for_ever_holds_nothing_up() -> None:
    ours, theirs = os.pipe()

    class Endless(PrintedOutput):
        def take(self, lines: list[str]) -> None:
            written.extend(lines)
            assert len(written) < 100_000, "it is read for ever"
            os.write(theirs, b"more\n")

    written: list[str] = []
    async with open_loop() as loop:
        reader = LinesReader(loop, ours, Endless("web/0"))
        os.write(theirs, b"the node's own\n")
        reader.close()
    os.close(theirs)
    assert written[:2] == ["the node's own", "more"]
