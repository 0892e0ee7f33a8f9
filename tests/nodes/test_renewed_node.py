"""Messages for an actor whose node is being renewed wait for the next run of the node."""

from __future__ import annotations

import os
import signal
from typing import Any

import anyio
import pytest

from actors import Actor, Ref, System, Topology, nodes
from actors.errors import DeadlineExceeded, NodeDown, ReloadFailed
from actors.supervisors import Exit
from actors.testing import eventually, running_system
from tests.conftest import LOOPS


class Slow(Actor):
    """Takes its time to end, so that its node takes its time to be renewed."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    async def on_stop(self, _exit: Exit) -> None:
        await anyio.sleep(0.7)

    async def note(self, value: Any) -> None:
        self.got.append(value)

    async def noted(self) -> list[Any]:
        return self.got

    async def ask_of(self, other: Ref[Slow]) -> list[Any]:
        return await other.ask(Slow.noted)


@pytest.fixture(params=["uvloop", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


async def renew(system: System, how: str) -> None:
    node: Any = next(node for node in system.nodes if node.name == "a/0")
    if how == "reload":
        await system.reload("a")
    else:
        assert node.replace("the test wants it")
        await eventually(lambda: node.restarts == 1 and node.ready, 20)


@pytest.mark.parametrize("how", ["reload", "replace"])
async def test_messages_to_a_node_that_is_renewed_wait_for_it_in_order(how: str) -> None:
    async with running_system(Topology(nodes=[nodes("a"), nodes("b")])) as system:
        actor, other = await system.spawn(Slow, on="a"), await system.spawn(Slow, on="b")
        node: Any = next(node for node in system.nodes if node.name == "a/0")
        with anyio.fail_after(40):
            assert await other.ask(Slow.ask_of, actor) == []
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(renew, system, how)
                await eventually(lambda: _away(actor), 20)
                with pytest.raises(NodeDown) as caught:
                    actor.tell_nowait(Slow.note, "too early")
                assert caught.value.restarting
                with pytest.raises(DeadlineExceeded):
                    await actor.within(0.05).ask(Slow.noted)
                asked: list[Any] = []

                async def ask() -> None:
                    asked.append(await other.ask(Slow.ask_of, actor))

                tasks.start_soon(ask)
                for number in range(5):
                    await actor.tell(Slow.note, number)
            assert await actor.ask(Slow.noted) == list(range(5))
            assert len(asked) == 1
            assert node.restarts == 1


@pytest.mark.parametrize("anyio_backend", [LOOPS["uvloop"]])
async def test_messages_wait_on_when_the_process_that_takes_over_dies() -> None:
    async with running_system(Topology(nodes=[nodes("a")])) as system:
        actor = await system.spawn(Slow, on="a")
        node: Any = next(node for node in system.nodes if node.name == "a/0")
        with anyio.fail_after(40):
            async with anyio.create_task_group() as tasks:
                events = system.events()
                tasks.start_soon(_reload_in_vain, system)
                await eventually(lambda: _away(actor), 20)
                asked: list[Any] = []

                async def ask() -> None:
                    asked.append(await actor.ask(Slow.noted))

                tasks.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                os.kill(node.replacement.main.pid, signal.SIGKILL)
            assert asked == [[]]
            about = (event.kind async for event in events if event.kind.startswith("reload_"))
            assert [await anext(about), await anext(about)] == ["reload_started", "reload_failed"]
            events.close()


async def _reload_in_vain(system: System) -> None:
    """Reload a node whose new process dies while the old one finishes its work."""
    with pytest.raises(
        ReloadFailed, match=r"node a/0 is being restarted, none .*the new process .*SIGKILL"
    ):
        await system.reload("a")


async def test_messages_to_a_node_that_ends_for_good_are_refused_at_once() -> None:
    async with running_system(Topology(nodes=[nodes("a", count=2)])) as system:
        actor = await system.spawn(Slow, on="a/1")
        with anyio.fail_after(40):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(system.scale, "a", 1)
                await eventually(lambda: _away(actor), 20)
                with pytest.raises(NodeDown, match="it is not coming back"):
                    await actor.ask(Slow.noted)


def _away(ref: Ref[Any]) -> bool:
    return ref.host.reach(ref) is None
