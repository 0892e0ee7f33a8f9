"""A system lives from its start to its end in a task of its own, whoever calls for them."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import sniffio

import actors
from actors import Actor, Budget, ExitKind, System, Topology, child, current, local, nodes
from actors._system.start import SystemOptions
from actors.errors import ActorsError, BootFailed, CallCycle, NoSystem, StartFailed, SystemStopped
from actors.testing import Probe, eventually

PATIENCE = 10.0

pytestmark = pytest.mark.usefixtures("no_leaks")


class Greeter(Actor):
    def __init__(self, probe: Probe | None = None) -> None:
        self.probe = probe

    async def hello(self) -> str:
        return "hello"

    async def fall(self) -> None:
        raise RuntimeError("it fell")

    async def end_system(self) -> str:
        await current().stop()
        return "accepted"

    async def await_end(self) -> None:
        await current().aclose()

    async def on_stop(self, exit: actors.Exit) -> None:  # noqa: A002 - the hook's own name
        if self.probe is not None:
            self.probe.put(str(exit))


class NeverReady(Actor):
    async def on_start(self) -> None:
        await anyio.sleep_forever()


class Unwilling(Actor):
    async def on_start(self) -> None:
        raise ValueError("not today")


FRAGILE = Topology(children=[child(Greeter, name="greeter")], budget=Budget(0, 5.0))


async def in_task(fn: Any, *args: Any) -> Any:
    """Run *fn* in a task of its own and return its result."""
    results = []

    async def run() -> None:
        results.append(await fn(*args))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
    return results[0]


async def break_down(system: System) -> None:
    greeter = await system.lookup("greeter")
    assert greeter is not None
    await greeter.tell(Greeter.fall)


async def test_a_system_is_started_used_and_closed_in_three_tasks() -> None:
    with anyio.fail_after(PATIENCE):
        system = await in_task(actors.start)
        probe = Probe()
        greeter = await in_task(system.spawn, Greeter, local(probe))
        assert await greeter.ask(Greeter.hello) == "hello"
        await in_task(system.aclose)
        assert await in_task(system.wait) == actors.Exit.SHUTDOWN
    assert probe.heard == ["SHUTDOWN"]


async def test_every_caller_of_aclose_waits_for_the_same_end() -> None:
    ended: list[bool] = []
    system = await actors.start()

    async def close() -> None:
        await system.aclose()
        ended.append((await system.wait()).kind is ExitKind.SHUTDOWN)

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(close)
        await close()
    assert ended == [True] * 4


async def test_a_caller_of_aclose_that_is_cancelled_leaves_the_end_to_itself() -> None:
    system = await actors.start()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await system.aclose()
    with anyio.fail_after(PATIENCE):
        assert await system.wait() == actors.Exit.SHUTDOWN


async def test_after_the_end_every_verb_says_so() -> None:
    system = await actors.start()
    await system.aclose()
    verbs: list[Callable[[], Awaitable[object]]] = [
        lambda: system.spawn(Greeter),
        lambda: system.lookup("greeter"),
        lambda: system.pool("pool"),
        system.tree,
        lambda: system.offload(len, "ab"),
        lambda: system.start(child(Greeter)),
        lambda: system.scale("web", 1),
        system.reload,
    ]
    for verb in verbs:
        with pytest.raises(SystemStopped, match=r"^the system has stopped$"):
            await verb()
    plainly: list[Callable[[], object]] = [
        system.events,
        lambda: system.topic("t"),
        lambda: system.nodes,
    ]
    for plain in plainly:
        with pytest.raises(SystemStopped, match=r"^the system has stopped$"):
            plain()
    await system.stop()  # what is asked for is so already


async def test_a_started_system_that_fails_cancels_nobody_and_says_how_it_ended() -> None:
    system = await actors.start(FRAGILE)
    with anyio.fail_after(PATIENCE):
        await break_down(system)
        how = await system.wait()
    assert how.kind is ExitKind.CRASHED
    with pytest.raises(SystemStopped, match=r"the system ended by itself: .*'greeter'") as caught:
        await system.spawn(Greeter)
    assert caught.value.__cause__ is how.error
    await system.aclose()


async def test_a_block_is_cancelled_when_its_system_fails() -> None:
    steps: list[str] = []

    async def use() -> None:
        async with System(FRAGILE) as system:
            await break_down(system)
            try:
                await anyio.sleep_forever()
            finally:
                steps.append("cancelled")

    with anyio.fail_after(PATIENCE), pytest.raises(SystemStopped, match="ended by itself"):
        await use()
    assert steps == ["cancelled"]
    await anyio.lowlevel.checkpoint()  # nothing of that cancellation is left


async def test_a_block_is_cancelled_when_its_system_is_told_to_stop_and_ends_quietly() -> None:
    with anyio.fail_after(PATIENCE):
        async with System() as system:
            await system.stop()
            await anyio.sleep_forever()
        assert await system.wait() == actors.Exit.SHUTDOWN
        await anyio.lowlevel.checkpoint()


async def test_a_block_that_others_cancel_passes_their_cancellation_on() -> None:
    with anyio.CancelScope() as scope:
        async with System() as system:
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert await system.wait() == actors.Exit.SHUTDOWN


async def test_stop_of_a_started_system_returns_when_it_has_ended() -> None:
    system = await actors.start()
    with anyio.fail_after(PATIENCE):
        await system.stop()
    with pytest.raises(SystemStopped):
        await system.tree()


async def test_an_actor_ends_its_system_but_cannot_wait_for_that() -> None:
    system = await actors.start()
    with anyio.fail_after(PATIENCE):
        greeter = await system.spawn(Greeter)
        why = r"it would end before System.aclose\(\) returns: use stop\(\)"
        with pytest.raises(CallCycle, match=why):
            await greeter.ask(Greeter.await_end)
        assert await greeter.ask(Greeter.end_system) == "accepted"
        assert await system.wait() == actors.Exit.SHUTDOWN


async def test_a_start_that_fails_raises_its_own_error_and_leaves_nothing() -> None:
    for topology, error in [
        (Topology(children=[child(Greeter), child(Unwilling)]), StartFailed),
        (Topology(nodes=[nodes("web", boot_timeout=0.01)]), BootFailed),
    ]:
        with anyio.fail_after(PATIENCE), pytest.raises(error):
            await actors.start(topology)
        with pytest.raises(NoSystem):
            current()


async def test_a_start_that_is_cancelled_leaves_nothing() -> None:
    with anyio.move_on_after(0.05) as scope:
        await actors.start(Topology(children=[child(Greeter), child(NeverReady)]))
    assert scope.cancelled_caught
    with pytest.raises(NoSystem):
        current()


def test_start_takes_the_options_of_a_system() -> None:
    options = list(inspect.signature(System).parameters)[1:]
    assert [*SystemOptions.__annotations__] == options


async def test_a_system_that_was_not_started_has_no_end_to_wait_for() -> None:
    system = System()
    for verb in (system.aclose, system.wait):
        with pytest.raises(SystemStopped, match="this System is not running"):
            await verb()


async def test_a_block_may_be_left_in_another_task_than_the_one_that_entered_it() -> None:
    if sniffio.current_async_library() != "asyncio":
        pytest.skip("trio refuses it")
    system = System()
    with anyio.fail_after(PATIENCE):
        await in_task(system.__aenter__)
        greeter = await system.spawn(Greeter)
        assert await greeter.ask(Greeter.hello) == "hello"
        await in_task(system.__aexit__, None, None, None)
        assert await system.wait() == actors.Exit.SHUTDOWN


async def test_asyncios_own_cancellation_waits_for_the_end_of_a_block_and_then_goes_on() -> None:
    if sniffio.current_async_library() != "asyncio":
        pytest.skip("asyncio's own calls")
    systems: list[System] = []
    running = asyncio.Event()

    async def hold() -> None:
        async with System() as system:
            systems.append(system)
            running.set()
            await asyncio.sleep(PATIENCE)

    async with asyncio.timeout(PATIENCE):
        task = asyncio.create_task(hold())
        await running.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # as impatient as two Ctrl-C
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        with pytest.raises(SystemStopped):
            systems[0].events()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hold(), 0.05)
        with pytest.raises(SystemStopped):
            systems[1].events()


async def test_a_cancellation_by_others_beside_that_by_the_system_is_passed_on() -> None:
    if sniffio.current_async_library() != "asyncio":
        pytest.skip("asyncio's own calls")
    systems: list[System] = []
    running = asyncio.Event()

    async def hold() -> None:
        async with System() as system:
            systems.append(system)
            running.set()
            await asyncio.sleep(PATIENCE)

    async def hold_and_go_on() -> int:
        await hold()
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    async with asyncio.timeout(PATIENCE):
        quiet = asyncio.create_task(hold_and_go_on())
        await running.wait()
        await systems[0].stop()
        assert await quiet == 0
        running.clear()
        both = asyncio.create_task(hold())
        await running.wait()
        await systems[1].stop()
        both.cancel()
        with pytest.raises(asyncio.CancelledError):
            await both
        with pytest.raises(SystemStopped):
            systems[1].events()


async def test_current_is_the_only_system_of_the_loop_in_a_context_that_knows_none() -> None:
    system = await actors.start()
    assert current() is system
    assert contextvars.Context().run(current) is system
    assert await anyio.to_thread.run_sync(lambda: contextvars.Context().run(current)) is system
    other = await actors.start()
    assert current() is other
    with pytest.raises(NoSystem, match="2 systems run on this event loop, and this code was"):
        contextvars.Context().run(current)
    await other.aclose()
    assert current() is system
    assert contextvars.Context().run(current) is system
    await system.aclose()
    with pytest.raises(NoSystem, match="no system runs here"):
        current()


async def test_a_system_that_has_ended_is_not_kept_by_the_context_that_used_it() -> None:
    async with System() as system:
        ended = weakref.ref(system)
    del system

    def gone() -> bool:
        gc.collect()
        return ended() is None

    await eventually(gone)


async def test_an_actor_has_its_own_system_whoever_started_it() -> None:
    class Asking(Actor):
        async def same(self) -> bool:
            return current() is self.context.system

    first, second = await actors.start(), await actors.start()
    asking = await first.spawn(Asking)
    assert await asking.ask(Asking.same)
    for system in (second, first):
        await system.aclose()


async def test_trio_refuses_to_leave_a_block_in_another_task() -> None:
    if sniffio.current_async_library() != "trio":
        pytest.skip("trio's own rule")
    async with anyio.create_task_group() as tasks:
        system = System()
        await system.__aenter__()
        failures: list[str] = []

        async def leave() -> None:
            try:
                await system.__aexit__(None, None, None)
            except ActorsError as error:
                failures.append(str(error))

        tasks.start_soon(leave)
        assert await system.wait() == actors.Exit.SHUTDOWN
        await anyio.wait_all_tasks_blocked()
        assert failures[0].startswith("trio has a block left in the task that entered it")
        assert system._task is not None
        system._task._block.leave(None)  # type: ignore[union-attr] # in order, for trio


async def test_the_verbs_of_a_system_are_refused_in_another_event_loop(anyio_backend: Any) -> None:
    async with System() as system:
        greeter = await system.spawn(Greeter)

        async def elsewhere() -> str:
            with pytest.raises(
                ActorsError, match="this System runs on another event loop than this"
            ):
                await system.spawn(Greeter)
            return system.blocking(greeter).ask(Greeter.hello)

        name = anyio_backend[0]
        assert await anyio.to_thread.run_sync(lambda: anyio.run(elsewhere, backend=name)) == "hello"
