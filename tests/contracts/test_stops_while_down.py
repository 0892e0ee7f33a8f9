"""A stop works in every state of its actor, and who has heard of an end is refused, on every kind of node."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import Actor, Backoff, Exit, ExitKind, Ref
from actors._system.system import coordinator_of
from actors.errors import ActorStopped
from tests.contracts.contract_actors import Gate, Worker
from tests.contracts.node_under_test import NodeUnderTest

OFTEN = Backoff(first=0.05, cap=0.05)
SELDOM = Backoff(first=60, cap=60)


class Feed(Actor):
    """Comes up once; the starts after that fail, hang, or come up."""

    def __init__(self, how: str) -> None:
        self.how = how

    async def on_start(self) -> None:
        if self.context.incarnation > 1 and self.how == "hangs":
            await anyio.sleep_forever()
        if self.context.incarnation > 1 and self.how == "fails":
            raise ConnectionError("away")

    async def lose(self) -> None:
        raise ConnectionError("lost")

    async def lose_slowly(self) -> None:
        await anyio.sleep(0.05)
        raise ConnectionError("lost")

    async def ping(self) -> str:
        return "pong"


class Owner(Actor):
    """Has a feed as its child."""

    async def adopt(self, how: str, backoff: Backoff) -> Ref[Feed]:
        return await self.context.spawn(Feed, how, backoff=backoff)


async def _reaches(node: NodeUnderTest, kind: str, ref: Ref[Any]) -> None:
    """Wait for an event of *kind* about the child *ref*."""
    events = node.system.events()
    await ref.tell(Feed.lose)
    async for event in events:
        again = event.facts.get("attempt", 2) > 1  # the first restart is immediate
        if event.kind == kind and event.facts.get("child") == ref.name and again:
            break
    events.close()


@pytest.mark.parametrize("options", [{}, {"grace": 5, "drain": True}])
@pytest.mark.parametrize("owned", [False, True])
async def test_a_stop_in_a_backoff_ends_the_actor_at_once(
    node: NodeUnderTest, owned: bool, options: dict[str, Any]
) -> None:
    with anyio.fail_after(10):
        if owned:
            feed = await (await node.spawn(Owner)).ask(Owner.adopt, "fails", SELDOM)
        else:
            feed = await node.spawn(Feed, "fails", backoff=SELDOM)
        await _reaches(node, "restart_scheduled", feed)
        await feed.stop(**options)
        assert await feed.wait() == Exit.SHUTDOWN


@pytest.mark.parametrize("options", [{}, {"grace": 0.1}])
async def test_a_stop_in_a_restart_loop_ends_the_actor(
    node: NodeUnderTest, options: dict[str, Any]
) -> None:
    with anyio.fail_after(10):
        feed = await node.spawn(Feed, "fails", backoff=OFTEN)
        await _reaches(node, "child_start_failed", feed)
        await feed.stop(**options)
        assert await feed.wait() == Exit.SHUTDOWN


@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_a_stop_that_is_queued_when_its_actor_crashes_ends_it_if_it_does_not_come_back(
    node: NodeUnderTest, how: str
) -> None:
    with anyio.fail_after(10):
        feed = await node.spawn(Feed, how, backoff=SELDOM)
        await feed.tell(Feed.lose_slowly)
        await feed.stop()
        assert await feed.wait() == Exit.SHUTDOWN


async def test_what_was_queued_before_a_stop_is_handled_after_a_crash(node: NodeUnderTest) -> None:
    gate = await node.gate()
    worker = await node.spawn(Worker, node.probe.ref)
    with anyio.fail_after(10):
        await worker.tell(Worker.hold, gate)
        await node.probe.expect(("held", "begins"))
        await worker.tell(Worker.crash)
        await worker.tell(Worker.tell, "queued")
        await worker.stop()
        await gate.ask(Gate.open)
        await node.probe.expect("queued")
        assert await worker.wait() == Exit.SHUTDOWN


async def test_what_waits_in_a_restart_loop_is_refused_by_a_stop(node: NodeUnderTest) -> None:
    with anyio.fail_after(10):
        feed = await node.spawn(Feed, "hangs")
        events = node.system.events()
        await feed.tell(Feed.lose)
        async for event in events:
            if event.kind == "restart_scheduled" and event.facts["child"] == feed.name:
                break
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                with pytest.raises(ActorStopped, match="it has ended: SHUTDOWN"):
                    await feed.ask(Feed.ping)

            tasks.start_soon(ask)
            await feed.tell(Feed.ping)
            await anyio.wait_all_tasks_blocked()
            await feed.stop()
        async for event in events:
            if event.kind == "dead_letter" and event.facts["message"] == "ping":
                break
        events.close()


@pytest.mark.parametrize("heard_by", ["wait", "ask"])
async def test_a_tell_to_an_actor_whose_end_was_heard_is_refused(
    node: NodeUnderTest, heard_by: str
) -> None:
    with anyio.fail_after(10):
        feed = await node.spawn(Feed, "comes up")
        await feed.ask(Feed.ping)
        await feed.stop()
        if heard_by == "wait":
            assert await feed.wait() == Exit.SHUTDOWN
        else:
            with pytest.raises(ActorStopped):
                await feed.ask(Feed.ping)
        for send in (feed.tell, feed.ask, feed.within(1).tell):
            with pytest.raises(ActorStopped, match="it has ended: SHUTDOWN") as caught:
                await send(Feed.ping)
            assert caught.value.message == ("ping", (), {})
        with pytest.raises(ActorStopped, match="it has ended: SHUTDOWN"):
            feed.tell_nowait(Feed.ping)


async def test_an_end_that_nobody_remembers_is_told_without_a_cause(node: NodeUnderTest) -> None:
    with anyio.fail_after(60):
        first = await node.spawn(Feed, "comes up")
        await first.stop()
        await first.wait()
        coordinator = coordinator_of(node.system)
        for host in [coordinator.host]:
            host.ended.pop(first.uid, None)
        assert await first.wait() in {Exit.SHUTDOWN, Exit.FORGOTTEN}
        with pytest.raises(ActorStopped, match="it has ended"):
            await first.ask(Feed.ping)
        assert (await first.wait()).kind is not ExitKind.NODE_DOWN
