"""A stop is remembered while the node of its actor is away: the actor does not come back with the node."""

from __future__ import annotations

import os
import signal
from typing import Any

import anyio
import pytest

from actors import Actor, Exit, ExitKind, Ref, Restart, Topology, child, nodes
from actors.testing import running_system

TWO = Topology(nodes=[nodes("a"), nodes("b")])


class Plain(Actor):
    """Does nothing, or stops another."""

    async def ping(self) -> int:
        return self.context.incarnation

    async def stop_other(self, ref: Ref[Any]) -> None:
        await ref.stop()


async def _until(events: Any, kind: str) -> None:
    async for event in events:
        if event.kind == kind:
            return


@pytest.mark.parametrize("by", ["parent", "sibling"])
async def test_a_stop_while_the_node_is_away_ends_the_actor(by: str) -> None:
    with anyio.fail_after(30):
        async with running_system(TWO) as system:
            plain = await system.spawn(Plain, on="a", restart=Restart.PERMANENT)
            other = await system.spawn(Plain, on="b")
            await other.ask(Plain.ping)
            events = system.events()
            system.nodes[1].kill()
            await _until(events, "node_died")
            await (plain.stop() if by == "parent" else other.ask(Plain.stop_other, plain))
            assert await plain.wait() == Exit.SHUTDOWN
            await _until(events, "node_ready")
            tree = await system.tree()
            spawned = next(item for item in tree["children"] if item["name"] == "spawned")
            assert [item["name"] for item in spawned["children"]] == [other.name]


async def test_a_stop_that_is_lost_with_its_node_ends_the_actor() -> None:
    topology = Topology(nodes=[nodes("a")], children=[child(Plain, name="plain", on="a")])
    with anyio.fail_after(30):
        async with running_system(topology) as system:
            plain = await system.lookup("plain")
            assert plain is not None
            pid = system.nodes[1].pid
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            await plain.stop()
            os.kill(pid, signal.SIGKILL)
            assert (await plain.wait()).kind in {ExitKind.SHUTDOWN, ExitKind.NODE_DOWN}
            assert await system.lookup("plain") is None
