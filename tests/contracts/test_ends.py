"""Ends and restarts are the same on every kind of node: stop, drain, kill, crash, watch, wait."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import Backoff, Exit, ExitKind, Ref, Restart
from actors.errors import ActorCrashed, ActorStopped
from tests.contracts.kit import Gate, Hooked, Parent, StuckParent, Worker
from tests.contracts.place import Place

CRASHED = ("on_stop", "CRASHED(RuntimeError: boom)")


async def _held(place: Place, **options: Any) -> tuple[Ref[Worker], Ref[Gate]]:
    """A worker that is busy until its gate is opened."""
    gate = await place.gate()
    worker = await place.spawn(Worker, place.probe.ref, **options)
    await worker.tell(Worker.hold, gate)
    await place.probe.expect(("held", "begins"))
    return worker, gate


async def test_stop_takes_its_place_behind_what_is_queued(place: Place) -> None:
    worker, gate = await _held(place)
    await worker.tell(Worker.tell, "queued")
    await worker.stop()
    await worker.tell(Worker.tell, "too late")
    with anyio.fail_after(5):
        await gate.ask(Gate.open)
        await place.probe.expect("queued")
        assert await worker.wait() == Exit.SHUTDOWN
    assert place.probe.heard == [("held", "begins"), "queued"]


async def test_stop_is_voluntary_even_for_a_permanent_actor(place: Place) -> None:
    worker = await place.spawn(Worker, restart=Restart.PERMANENT)
    with anyio.fail_after(5):
        await worker.stop()
        assert await worker.wait() == Exit.SHUTDOWN
        assert await place.system.lookup(worker.name) is None


async def test_a_drained_actor_finishes_its_queue_and_refuses_new_messages(place: Place) -> None:
    worker, gate = await _held(place)
    await worker.tell(Worker.tell, "queued")
    await worker.stop(drain=True)
    with anyio.fail_after(5):
        with pytest.raises(ActorStopped, match="it is draining: no new messages") as caught:
            await worker.ask(Worker.add, 1)
        assert caught.value.message == ("add", (1,), {})
        assert caught.value.ref == worker
        await gate.ask(Gate.open)
        await place.probe.expect("queued")
        assert await worker.wait() == Exit.SHUTDOWN


async def test_a_stop_with_grace_kills_what_does_not_end(place: Place) -> None:
    worker, _ = await _held(place)
    with anyio.fail_after(5):
        await worker.stop(grace=0.1)
        assert (await worker.wait()).kind is ExitKind.KILLED
    assert (await place.probe.next())[0] == "held"


async def test_a_grace_is_not_negative(place: Place) -> None:
    worker = await place.spawn(Worker)
    with pytest.raises(ValueError, match="grace must be 0 or more seconds, got -1"):
        await worker.stop(grace=-1)


async def test_an_actor_that_stops_itself_ends_normally(place: Place) -> None:
    worker = await place.spawn(Worker, restart=Restart.PERMANENT)
    with anyio.fail_after(5):
        await worker.tell(Worker.finish)
        assert await worker.wait() == Exit.NORMAL


async def test_kill_overtakes_the_queue_and_ends_a_temporary_actor(place: Place) -> None:
    worker, _ = await _held(place, restart=Restart.TEMPORARY)
    await worker.tell(Worker.tell, "queued")
    with anyio.fail_after(5):
        worker.kill()
        assert await worker.wait() == Exit.KILLED
    heard = [place.probe.heard[0], (await place.probe.next())[0]]
    assert heard == [("held", "begins"), "held"]
    assert "queued" not in place.probe.heard


async def test_kill_restarts_an_actor_whose_policy_says_so(place: Place) -> None:
    worker, _ = await _held(place)
    with anyio.fail_after(5):
        worker.kill()
        assert await worker.ask(Worker.incarnation) == 2


async def test_a_crash_keeps_the_ref_and_the_queue_and_loses_the_state(place: Place) -> None:
    worker, gate = await _held(place)
    await worker.tell(Worker.crash)
    await worker.tell(Worker.note, 1)
    await worker.tell(Worker.note, 2)
    with anyio.fail_after(5):
        await gate.ask(Gate.open)
        # "held" was the old incarnation's; what was queued behind the crash is the new one's.
        assert await worker.ask(Worker.logged) == [1, 2]
        assert await worker.ask(Worker.incarnation) == 2


async def test_many_crashes_lose_only_the_messages_that_crashed(place: Place) -> None:
    worker = await place.spawn(Worker, backoff=Backoff(first=0))
    with anyio.fail_after(10):
        for n in range(3):
            await worker.tell(Worker.crash)
            await worker.tell(Worker.note, n)
        assert (await worker.ask(Worker.logged))[-1] == 2
        assert await worker.ask(Worker.incarnation) == 4


async def test_the_asker_of_the_message_being_handled_is_told_of_the_crash(place: Place) -> None:
    gate = await place.gate()
    worker = await place.spawn(Worker, place.probe.ref)
    caught: list[ActorCrashed] = []

    async def ask() -> None:
        with pytest.raises(ActorCrashed) as error:
            await worker.ask(Worker.hold, gate)
        caught.append(error.value)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await place.probe.expect(("held", "begins"))
            worker.kill()
    assert "the message it was handling is lost" in str(caught[0])
    assert worker.name in str(caught[0])
    assert caught[0].cause == "KILLED"


async def test_a_failing_task_crashes_its_actor_and_the_asker_hears_why(place: Place) -> None:
    gate = await place.gate()
    worker = await place.spawn(Worker, place.probe.ref)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                with pytest.raises(ActorCrashed, match=r"CRASHED\(RuntimeError: task failed\)"):
                    await worker.ask(Worker.hold_beside, gate, "beside")

            tasks.start_soon(ask)
            await place.probe.expect(("beside", "begins"))
            await worker.tell(Worker.crash_in_task)
        assert await worker.ask(Worker.incarnation) == 2


async def test_wait_sees_no_restart_and_tells_the_final_end(place: Place) -> None:
    worker = await place.spawn(Worker)
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


async def test_what_an_actor_crashed_of_comes_with_its_exit(place: Place) -> None:
    worker = await place.spawn(Worker, restart=Restart.TEMPORARY)
    with anyio.fail_after(5):
        await worker.tell(Worker.crash, "out of luck")
        end = await worker.wait()
    assert str(end) == "CRASHED(RuntimeError: out of luck)"
    assert isinstance(end.error, RuntimeError)


@pytest.mark.parametrize("verb", ["ask", "tell"])
async def test_c44_an_actor_that_has_ended_refuses_at_once(place: Place, verb: str) -> None:
    worker = await place.spawn(Worker)
    with anyio.fail_after(5):
        await worker.stop()
        await worker.wait()
        if verb == "tell" and place.remote:
            await worker.tell(Worker.note, 1)  # nobody waits for an answer: a dead letter
            return
        with pytest.raises(ActorStopped) as caught:
            await (worker.ask(Worker.add, 1) if verb == "ask" else worker.tell(Worker.add, 1))
    assert str(caught.value) == f"{worker}: it has ended: SHUTDOWN"
    assert caught.value.message == ("add", (1,), {})
    assert caught.value.ref == worker


async def test_c69_what_was_queued_behind_the_end_is_refused(place: Place) -> None:
    worker, gate = await _held(place)
    await worker.stop()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                with pytest.raises(ActorStopped, match="it has ended: SHUTDOWN"):
                    await worker.ask(Worker.add, 1)

            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await gate.ask(Gate.open)


async def test_a_watcher_hears_of_the_final_end_exactly_once(place: Place) -> None:
    watcher = await place.spawn(Hooked, place.probe.ref)
    worker = await place.spawn(Worker)
    await place.probe.expect(("init", 1))
    await place.probe.expect(("on_start", 1))
    with anyio.fail_after(5):
        await watcher.ask(Hooked.watch, worker)
        await watcher.ask(Hooked.watch, worker)
        await worker.tell(Worker.crash)
        assert await worker.ask(Worker.incarnation) == 2
        await worker.stop()
        await place.probe.expect(("on_exit", worker.name, "SHUTDOWN"))
        await watcher.ask(Hooked.watch, worker)
        await place.probe.expect(("on_exit", worker.name, "SHUTDOWN"))
        await watcher.ask(Hooked.work)
        await place.probe.expect("work")


async def test_c56_a_watch_taken_back_is_not_told(place: Place) -> None:
    watcher = await place.spawn(Hooked, place.probe.ref)
    worker = await place.spawn(Worker)
    with anyio.fail_after(5):
        await watcher.ask(Hooked.watch, worker)
        await watcher.ask(Hooked.unwatch, worker)
        await worker.stop()
        await worker.wait()
        await watcher.tell(Hooked.work)
        for expected in [("init", 1), ("on_start", 1), "work"]:
            await place.probe.expect(expected)


async def test_hooks_run_in_order_over_a_restart_and_a_stop(place: Place) -> None:
    hooked = await place.spawn(Hooked, place.probe.ref)
    with anyio.fail_after(5):
        await hooked.tell(Hooked.work)
        await hooked.tell(Hooked.crash)
        await hooked.tell(Hooked.work)
        await hooked.stop()
        for expected in [("init", 1), ("on_start", 1), "work", CRASHED]:
            await place.probe.expect(expected)
        for expected in [("init", 2), ("on_start", 2), "work", ("on_stop", "SHUTDOWN")]:
            await place.probe.expect(expected)
        assert await hooked.wait() == Exit.SHUTDOWN


async def test_a_killed_actor_runs_no_hook(place: Place) -> None:
    hooked = await place.spawn(Hooked, place.probe.ref, restart=Restart.TEMPORARY)
    with anyio.fail_after(5):
        await place.probe.expect(("init", 1))
        await place.probe.expect(("on_start", 1))
        hooked.kill()
        assert await hooked.wait() == Exit.KILLED
        # Its node says nothing after that: this comes next over the same way.
        await (await place.spawn(Worker, place.probe.ref)).tell(Worker.tell, "next")
        await place.probe.expect("next")


@pytest.mark.parametrize("how", ["crash", "stop", "kill"])
async def test_children_end_before_their_parent_does(place: Place, how: str) -> None:
    parent = await place.spawn(Parent, restart=Restart.TEMPORARY)
    with anyio.fail_after(5):
        child = await parent.ask(Parent.start_child, place.probe.ref, f"child of {how}")
        assert child.node == place.on
        assert await place.system.lookup(f"child of {how}") == child
        if how == "kill":
            parent.kill()
        else:
            await (parent.tell(Parent.crash) if how == "crash" else parent.stop())
        await parent.wait()
        assert await child.wait() == (Exit.KILLED if how == "kill" else Exit.SHUTDOWN)
        assert await place.system.lookup(f"child of {how}") is None


async def test_a_child_is_restarted_by_itself(place: Place) -> None:
    parent = await place.spawn(Parent)
    with anyio.fail_after(5):
        child = await parent.ask(Parent.start_child, place.probe.ref)
        await child.tell(Hooked.crash)
        await child.tell(Hooked.work)
        for expected in [("init", 1), ("on_start", 1), CRASHED, ("init", 2), ("on_start", 2)]:
            await place.probe.expect(expected)
        await place.probe.expect("work")


async def test_killing_a_parent_that_waits_for_a_stuck_child_ends_both(place: Place) -> None:
    gate = await place.gate()
    parent = await place.spawn(StuckParent)
    with anyio.fail_after(5):
        await parent.ask(StuckParent.start_stuck_child, place.probe.ref, gate)
        await place.probe.expect(("held", "begins"))
        await parent.stop(grace=0.1)
        await parent.wait()
