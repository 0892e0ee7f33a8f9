"""What is for the process ends its node, and no supervisor of actors sees it (C46)."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import NodeDown, Topology, nodes
from actors._base.events import Event
from actors.testing import eventually, running_system
from tests.conformance.case_actors import BlockingFatal, Fatal
from tests.conftest import LOOPS

PATIENCE = 20.0
NAMES = ("SystemExit", "KeyboardInterrupt")
HOW = {"asyncio": ("exit code 3", "killed by SIGINT"), "trio": (r"exit code \d", r"is down \(")}


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: what a node does with itself is not the parent's loop's business."""
    return LOOPS["uvloop"]


def _facts(told: list[Event], kind: str, fact: str, *, child: str) -> list[Any]:
    return [
        event.facts[fact]
        for event in told
        if event.kind == kind and event.facts.get("child") == child
    ]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_c46_an_error_for_the_process_ends_the_node_and_restarts_no_actor(
    backend: Any,
) -> None:
    with anyio.fail_after(PATIENCE):
        async with running_system(Topology(nodes=[nodes("box", backend=backend)])) as system:
            (node,) = [node for node in system.nodes if node.kind == "process"]
            fatal = await system.spawn(Fatal, on="box", name="fatal")
            events = system.events()
            for number, (name, end) in enumerate(zip(NAMES, HOW[backend], strict=True), 2):
                with pytest.raises(NodeDown, match=end):
                    await fatal.ask(Fatal.raise_it, name)
                await eventually(lambda: node.ready, PATIENCE)
                assert await fatal.ask(Fatal.incarnation) == number
        told = [event async for event in events]
    ends = _facts(told, "child_ended", "exit", child="fatal")
    assert [end.partition("(")[0] for end in ends[:2]] == ["NODE_DOWN"] * 2
    # The restarts are the node's, and so is their price.
    assert len(_facts(told, "restart_scheduled", "delay", child="box/0")) == 2
    assert _facts(told, "restart_scheduled", "delay", child="fatal") == [0, 0]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_what_is_for_the_process_ends_it_from_the_thread_of_a_blocking_actor_too(
    backend: Any,
) -> None:
    with anyio.fail_after(PATIENCE):
        async with running_system(Topology(nodes=[nodes("box", backend=backend)])) as system:
            (node,) = [node for node in system.nodes if node.kind == "process"]
            fatal = await system.spawn(BlockingFatal, on="box")
            with pytest.raises(NodeDown, match=HOW[backend][0]):
                await fatal.ask(BlockingFatal.leave)
            await eventually(lambda: node.ready, PATIENCE)
