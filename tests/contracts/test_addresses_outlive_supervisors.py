"""The address of a static child, and of a pool, outlives the restart of the supervisors above it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

import actors
from actors import Actor, Budget, Exit, Ref, Restart, Strategy, child, dynamic, supervisor
from actors.errors import ActorStopped
from tests.contracts.node_under_test import NodeUnderTest

NONE = Budget(0, 60)


class Member(Actor):
    """Says which of its runs answers, and crashes when told to."""

    async def run(self) -> tuple[str, int]:
        return self.context.name, self.context.incarnation

    async def crash(self) -> None:
        raise RuntimeError


async def _restarted(events: Any, name: str) -> None:
    async for event in events:
        if event.kind == "child_started" and event.facts["child"] == name:
            return


async def _found(node: NodeUnderTest, name: str) -> Ref[Any]:
    ref = await node.system.lookup(name)
    assert ref is not None
    return ref


@pytest.fixture
async def start(node: NodeUnderTest) -> AsyncIterator[Any]:
    """Starts trees below a supervisor that restarts them as often as they need it."""
    top = node.system.supervisor("")

    async def start(*items: Any) -> Any:
        await node.system.start(supervisor("roof", items, budget=Budget(100, 60)))

    yield start
    await top.stop_child("roof")
    await top.delete_child("roof")


async def test_the_address_of_a_pool_outlives_its_restart(node: NodeUnderTest, start: Any) -> None:
    with anyio.fail_after(10):
        await start(actors.pool(Member, size=2, on=node.on, budget=NONE))
        pool = await node.system.pool("member")
        assert pool is not None
        events = node.system.events()
        await (await pool.members())[0].tell(Member.crash)
        await _restarted(events, "member")
        answers = [await pool.ask(Member.run) for _ in range(4)]
        assert sorted(set(answers)) == [("member/0", 2), ("member/1", 2)]
        events.close()


async def test_a_message_that_crashes_its_handler_costs_one_member_of_a_pool(
    node: NodeUnderTest, start: Any
) -> None:
    with anyio.fail_after(20):
        soon = actors.Backoff(first=0.01, cap=0.01)
        await start(actors.pool(Member, size=3, on=node.on, backoff=soon))
        pool = await node.system.pool("member")
        assert pool is not None
        for _ in range(20):
            await (await pool.members())[1].tell(Member.crash)
        assert await (await pool.members())[1].ask(Member.run) == ("member/1", 21)
        assert await (await pool.members())[0].ask(Member.run) == ("member/0", 1)
        assert await (await pool.members())[2].ask(Member.run) == ("member/2", 1)


async def test_addresses_outlive_the_restart_of_a_whole_branch(
    node: NodeUnderTest, start: Any
) -> None:
    inner = supervisor("inner", [child(Member, name="deep", on=node.on)], budget=NONE)
    outer = supervisor(
        "outer",
        [child(Member, name="first", on=node.on), inner],
        budget=Budget(0, 60),
        strategy=Strategy.ONE_FOR_ALL,
    )
    with anyio.fail_after(10):
        await start(outer)
        deep, first = await _found(node, "deep"), await _found(node, "first")
        events = node.system.events()
        await deep.tell(Member.crash)
        await _restarted(events, "outer")
        assert await deep.ask(Member.run) == ("deep", 2)
        assert await first.ask(Member.run) == ("first", 2)
        assert await _found(node, "deep") == deep
        events.close()
        await node.system.supervisor("roof").stop_child("outer")
        assert await deep.wait() == Exit.SHUTDOWN


async def test_a_supervisor_that_does_not_come_back_ends_its_addresses(
    node: NodeUnderTest, start: Any
) -> None:
    members = [child(Member, name=name, on=node.on) for name in ("left", "right")]
    with anyio.fail_after(10):
        await start(supervisor("brief", members, budget=NONE, restart=Restart.TEMPORARY))
        left, right = await _found(node, "left"), await _found(node, "right")
        await left.tell(Member.crash)
        assert str(await left.wait()) == "CRASHED(RuntimeError)"
        assert await right.wait() == Exit.SHUTDOWN
        assert await node.system.lookup("left") is None


async def test_a_child_that_was_added_later_ends_with_its_supervisor(
    node: NodeUnderTest, start: Any
) -> None:
    with anyio.fail_after(10):
        branch = supervisor("branch", [child(Member, name="kept", on=node.on)], budget=NONE)
        await start(branch, dynamic("crowd", budget=NONE))
        for path, kept in (("branch", "kept"), ("crowd", None)):
            handle = node.system.supervisor(f"roof/{path}")
            added = await handle.start_child(child(Member, name="added", on=node.on))
            assert added is not None
            events = node.system.events()
            await added.tell(Member.crash)
            assert str(await added.wait()) == "CRASHED(RuntimeError)"
            await _restarted(events, path)
            with pytest.raises(ActorStopped):
                await added.ask(Member.run)
            if kept is not None:
                assert await (await _found(node, kept)).ask(Member.run) == (kept, 2)
            events.close()


async def test_a_stop_while_the_supervisor_restarts_ends_the_address(
    node: NodeUnderTest, start: Any
) -> None:
    members = [child(Member, name="stopped", on=node.on), child(Member, name="last", on=node.on)]
    with anyio.fail_after(10):
        await start(supervisor("branch", members, budget=NONE))
        stopped, last = await _found(node, "stopped"), await _found(node, "last")
        events = node.system.events()
        await last.tell(Member.crash)
        async for event in events:
            if event.kind == "supervisor_ended":
                break
        await stopped.stop()
        await stopped.wait()
        await _restarted(events, "last")
        assert await last.ask(Member.run) == ("last", 2)
        events.close()
