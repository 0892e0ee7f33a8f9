"""Ends and restarts are the same on every kind of node: stop, drain, kill, crash, watch, wait."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import Backoff, Exit, ExitKind, Ref, Restart
from actors.errors import ActorCrashed, ActorStopped
from tests.contracts.contract_actors import Gate, Hooked, Parent, StuckParent, Worker
from tests.contracts.node_under_test import NodeUnderTest

CRASHED = ("on_stop", "CRASHED(RuntimeError: boom)")


async def _held(node: NodeUnderTest, **options: Any) -> tuple[Ref[Worker], Ref[Gate]]:
    """A worker that is busy until its gate is opened."""
    gate = await node.gate()
    worker = await node.spawn(Worker, node.probe.ref, **options)
    await worker.tell(Worker.hold, gate)
    await node.probe.expect(("held", "begins"))
    return worker, gate


async def test_stop_takes_its_place_behind_what_is_queued(node: NodeUnderTest) -> None:
    worker, gate = await _held(node)
    await worker.tell(Worker.tell, "queued")
    await worker.stop()
    await worker.tell(Worker.tell, "too late")
    with anyio.fail_after(5):
        await gate.ask(Gate.open)
        await node.probe.expect("queued")
        assert await worker.wait() == Exit.SHUTDOWN
    assert node.probe.heard == [("held", "begins"), "queued"]


async def test_stop_is_voluntary_even_for_a_permanent_actor(node: NodeUnderTest) -> None:
    worker = await node.spawn(Worker, restart=Restart.PERMANENT)
    with anyio.fail_after(5):
        await worker.stop()
        assert await worker.wait() == Exit.SHUTDOWN
        assert await node.system.lookup(worker.name) is None


async def test_a_drained_actor_finishes_its_queue_and_refuses_new_messages(
    node: NodeUnderTest,
) -> None:
    worker, gate = await _held(node)
    await worker.tell(Worker.tell, "queued")
    await worker.stop(drain=True)
    with anyio.fail_after(5):
        with pytest.raises(ActorStopped, match="it is draining: no new messages") as caught:
            await worker.ask(Worker.add, 1)
        assert caught.value.message == ("add", (1,), {})
        assert caught.value.ref == worker
        await gate.ask(Gate.open)
        await node.probe.expect("queued")
        assert await worker.wait() == Exit.SHUTDOWN


async def test_a_stop_with_grace_kills_what_does_not_end(node: NodeUnderTest) -> None:
    worker, _ = await _held(node)
    with anyio.fail_after(5):
        await worker.stop(grace=0.1)
        assert (await worker.wait()).kind is ExitKind.KILLED
    assert (await node.probe.next())[0] == "held"


async def test_a_grace_is_not_negative(node: NodeUnderTest) -> None:
    worker = await node.spawn(Worker)
    with pytest.raises(ValueError, match="grace must be 0 or more seconds, got -1"):
        await worker.stop(grace=-1)


async def test_an_actor_that_stops_itself_ends_normally(node: NodeUnderTest) -> None:
    worker = await node.spawn(Worker, restart=Restart.PERMANENT)
    with anyio.fail_after(5):
        await worker.tell(Worker.finish)
        assert await worker.wait() == Exit.NORMAL


async def test_kill_overtakes_the_queue_and_ends_a_temporary_actor(node: NodeUnderTest) -> None:
    worker, _ = await _held(node, restart=Restart.TEMPORARY)
    await worker.tell(Worker.tell, "queued")
    with anyio.fail_after(5):
        worker.kill()
        assert await worker.wait() == Exit.KILLED
    heard = [node.probe.heard[0], (await node.probe.next())[0]]
    assert heard == [("held", "begins"), "held"]
    assert "queued" not in node.probe.heard


async def test_kill_restarts_an_actor_whose_policy_says_so(node: NodeUnderTest) -> None:
    worker, _ = await _held(node)
    with anyio.fail_after(5):
        worker.kill()
        assert await worker.ask(Worker.incarnation) == 2


async def test_a_crash_keeps_the_ref_and_the_queue_and_loses_the_state(node: NodeUnderTest) -> None:
    worker, gate = await _held(node)
    await worker.tell(Worker.crash)
    await worker.tell(Worker.note, 1)
    await worker.tell(Worker.note, 2)
    with anyio.fail_after(5):
        await gate.ask(Gate.open)
        # "held" was the old incarnation's; what was queued behind the crash is the new one's.
        assert await worker.ask(Worker.logged) == [1, 2]
        assert await worker.ask(Worker.incarnation) == 2


async def test_many_crashes_lose_only_the_messages_that_crashed(node: NodeUnderTest) -> None:
    worker = await node.spawn(Worker, backoff=Backoff(first=0))
    with anyio.fail_after(10):
        for n in range(3):
            await worker.tell(Worker.crash)
            await worker.tell(Worker.note, n)
        assert (await worker.ask(Worker.logged))[-1] == 2
        assert await worker.ask(Worker.incarnation) == 4


async def test_the_asker_of_the_message_being_handled_is_told_of_the_crash(
    node: NodeUnderTest,
) -> None:
    gate = await node.gate()
    worker = await node.spawn(Worker, node.probe.ref)
    caught: list[ActorCrashed] = []

    async def ask() -> None:
        with pytest.raises(ActorCrashed) as error:
            await worker.ask(Worker.hold, gate)
        caught.append(error.value)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await node.probe.expect(("held", "begins"))
            worker.kill()
    assert "the message it was handling is lost" in str(caught[0])
    assert worker.name in str(caught[0])
    assert caught[0].cause == "KILLED"


async def test_a_failing_task_crashes_its_actor_and_the_asker_hears_why(
    node: NodeUnderTest,
) -> None:
    gate = await node.gate()
    worker = await node.spawn(Worker, node.probe.ref)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                with pytest.raises(ActorCrashed, match=r"CRASHED\(RuntimeError: task failed\)"):
                    await worker.ask(Worker.hold_beside, gate, "beside")

            tasks.start_soon(ask)
            await node.probe.expect(("beside", "begins"))
            await worker.tell(Worker.crash_in_task)
        assert await worker.ask(Worker.incarnation) == 2


async def test_wait_sees_no_restart_and_tells_the_final_end(node: NodeUnderTest) -> None:
    worker = await node.spawn(Worker)
    ends: list[Exit] = []

    async def wait() -> None:
        ends.append(await worker.wait())

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await worker.tell(Worker.crash)
            assert await worker.ask(Worker.incarnation) == 2
            assert ends == []
            await worker.stop()
    assert ends == [Exit.SHUTDOWN]
    with anyio.fail_after(5):
        assert await worker.wait() == Exit.SHUTDOWN


async def test_what_an_actor_crashed_of_comes_with_its_exit(node: NodeUnderTest) -> None:
    worker = await node.spawn(Worker, restart=Restart.TEMPORARY)
    with anyio.fail_after(5):
        await worker.tell(Worker.crash, "out of luck")
        end = await worker.wait()
    assert str(end) == "CRASHED(RuntimeError: out of luck)"
    assert isinstance(end.error, RuntimeError)


@pytest.mark.parametrize("verb", ["ask", "tell"])
async def test_c44_an_actor_that_has_ended_refuses_at_once(node: NodeUnderTest, verb: str) -> None:
    worker = await node.spawn(Worker)
    with anyio.fail_after(5):
        await worker.stop()
        await worker.wait()
        with pytest.raises(ActorStopped) as caught:
            await (worker.ask(Worker.add, 1) if verb == "ask" else worker.tell(Worker.add, 1))
    assert str(caught.value) == f"{worker}: it has ended: SHUTDOWN"
    assert caught.value.message == ("add", (1,), {})
    assert caught.value.ref == worker


async def test_c69_what_was_queued_behind_the_end_is_refused(node: NodeUnderTest) -> None:
    worker, gate = await _held(node)
    await worker.stop()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                with pytest.raises(ActorStopped, match="it has ended: SHUTDOWN"):
                    await worker.ask(Worker.add, 1)

            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await gate.ask(Gate.open)


async def test_a_watcher_hears_of_the_final_end_exactly_once(node: NodeUnderTest) -> None:
    watcher = await node.spawn(Hooked, node.probe.ref)
    worker = await node.spawn(Worker)
    await node.probe.expect(("init", 1))
    await node.probe.expect(("on_start", 1))
    with anyio.fail_after(5):
        await watcher.ask(Hooked.watch, worker)
        await watcher.ask(Hooked.watch, worker)
        await worker.tell(Worker.crash)
        assert await worker.ask(Worker.incarnation) == 2
        await worker.stop()
        await node.probe.expect(("on_exit", worker.name, "SHUTDOWN"))
        await watcher.ask(Hooked.watch, worker)
        await node.probe.expect(("on_exit", worker.name, "SHUTDOWN"))
        await watcher.ask(Hooked.work)
        await node.probe.expect("work")


async def test_c56_a_watch_taken_back_is_not_told(node: NodeUnderTest) -> None:
    watcher = await node.spawn(Hooked, node.probe.ref)
    worker = await node.spawn(Worker)
    with anyio.fail_after(5):
        await watcher.ask(Hooked.watch, worker)
        await watcher.ask(Hooked.unwatch, worker)
        await worker.stop()
        await worker.wait()
        await watcher.tell(Hooked.work)
        for expected in [("init", 1), ("on_start", 1), "work"]:
            await node.probe.expect(expected)


async def test_hooks_run_in_order_over_a_restart_and_a_stop(node: NodeUnderTest) -> None:
    hooked = await node.spawn(Hooked, node.probe.ref)
    with anyio.fail_after(5):
        await hooked.tell(Hooked.work)
        await hooked.tell(Hooked.crash)
        await hooked.tell(Hooked.work)
        await hooked.stop()
        for expected in [("init", 1), ("on_start", 1), "work", CRASHED]:
            await node.probe.expect(expected)
        for expected in [("init", 2), ("on_start", 2), "work", ("on_stop", "SHUTDOWN")]:
            await node.probe.expect(expected)
        assert await hooked.wait() == Exit.SHUTDOWN


async def test_a_killed_actor_runs_no_hook(node: NodeUnderTest) -> None:
    hooked = await node.spawn(Hooked, node.probe.ref, restart=Restart.TEMPORARY)
    with anyio.fail_after(5):
        await node.probe.expect(("init", 1))
        await node.probe.expect(("on_start", 1))
        hooked.kill()
        assert await hooked.wait() == Exit.KILLED
        # Its node says nothing after that: this comes next over the same way.
        await (await node.spawn(Worker, node.probe.ref)).tell(Worker.tell, "next")
        await node.probe.expect("next")


@pytest.mark.parametrize("how", ["crash", "stop", "kill"])
async def test_children_end_before_their_parent_does(node: NodeUnderTest, how: str) -> None:
    parent = await node.spawn(Parent, restart=Restart.TEMPORARY)
    with anyio.fail_after(5):
        child = await parent.ask(Parent.start_child, node.probe.ref, f"child of {how}")
        assert child.node == node.on
        assert await node.system.lookup(f"child of {how}") == child
        if how == "kill":
            parent.kill()
        else:
            await (parent.tell(Parent.crash) if how == "crash" else parent.stop())
        await parent.wait()
        assert await child.wait() == (Exit.KILLED if how == "kill" else Exit.SHUTDOWN)
        assert await node.system.lookup(f"child of {how}") is None


async def test_a_child_is_restarted_by_itself(node: NodeUnderTest) -> None:
    parent = await node.spawn(Parent)
    with anyio.fail_after(5):
        child = await parent.ask(Parent.start_child, node.probe.ref)
        await child.tell(Hooked.crash)
        await child.tell(Hooked.work)
        for expected in [("init", 1), ("on_start", 1), CRASHED, ("init", 2), ("on_start", 2)]:
            await node.probe.expect(expected)
        await node.probe.expect("work")


async def test_killing_a_parent_that_waits_for_a_stuck_child_ends_both(node: NodeUnderTest) -> None:
    gate = await node.gate()
    parent = await node.spawn(StuckParent)
    with anyio.fail_after(5):
        await parent.ask(StuckParent.start_stuck_child, node.probe.ref, gate)
        await node.probe.expect(("held", "begins"))
        await parent.stop(grace=0.1)
        await parent.wait()
