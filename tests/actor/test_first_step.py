"""A handler whose first step runs in the ask itself is as one that begins in the actor's turn."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from actors import Actor, OnError, Ref, System
from actors.errors import ActorCrashed, ActorStopped, CallCycle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

COLOUR: ContextVar[str] = ContextVar("colour", default="none")


def running_task() -> int:
    return anyio.get_current_task().id


class Worker(Actor):
    def __init__(self) -> None:
        self.log: list[Any] = []
        self.gate = anyio.Event()

    async def note(self, value: Any) -> list[Any]:
        self.log.append(value)
        return self.log

    async def tasks(self) -> tuple[int, int]:
        first = running_task()
        await checkpoint()
        return first, running_task()

    async def busy(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - that is what the test is about

    async def time_out(self) -> bool:
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep_forever()
        return scope.cancelled_caught

    async def cancel_scope(self) -> bool:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep_forever()
        return scope.cancelled_caught

    async def group(self) -> list[str]:
        done: list[str] = []

        async def child(name: str) -> None:
            await checkpoint()
            done.append(name)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child, "a")
            tasks.start_soon(child, "b")
        return sorted(done)

    async def wait(self, label: str = "waits") -> str:
        self.log.append(label)
        try:
            await self.gate.wait()
        except BaseException as error:
            self.log.append(type(error).__name__.lower().removesuffix("error"))
            raise
        return label

    async def open(self) -> None:
        self.gate.set()

    async def paint(self, colour: str) -> str:
        before = COLOUR.get()
        COLOUR.set(colour)
        return before

    async def handled_exception(self) -> str:
        return str(sys.exc_info()[1])

    async def fail(self) -> None:
        raise LookupError("no")

    async def pass_on(self, others: list[Ref[Worker]]) -> int:
        if not others:
            return 0
        return 1 + await others[0].ask(Worker.pass_on, others[1:])

    async def depth(self, others: list[Ref[Worker]]) -> int:
        if others:
            return await others[0].ask(Worker.depth, others[1:])
        return len(list(traceback.walk_stack(None)))

    async def ask_itself_later(self) -> None:
        self.context.reply_to(Worker.note).ask(self.context.ref, Worker.note, "inner")
        self.log.append("done")

    async def ask_back(self, asker: Ref[Worker]) -> str:
        try:
            await asker.ask(Worker.note, "back")
        except CallCycle as error:
            return str(error.why)
        return "no cycle"

    async def ask_and_be_asked(self, other: Ref[Worker]) -> str:
        return await other.ask(Worker.ask_back, self.context.ref)

    async def tell_itself(self) -> None:
        await self.context.ref.tell(Worker.note, "told")
        self.log.append("done")

    async def finish(self) -> str:
        self.context.stop()
        return "stopping"

    async def exit(self) -> None:
        raise SystemExit(3)

    async def kill_itself(self) -> None:
        self.context.ref.kill()
        await anyio.sleep_forever()


class Fragile(Worker, on_error={LookupError: OnError.RESTART}):
    async def number(self) -> int:
        return self.context.incarnation


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with System() as system:
        yield system


@pytest.fixture
async def worker(system: System) -> Ref[Worker]:
    ref = await system.spawn(Worker)
    await ref.wait_ready()
    return ref


@pytest.fixture(autouse=True)
def _nothing_left(no_leaks: None) -> None:
    """Children, descriptors, threads and shared memory are as they were."""


pytestmark = pytest.mark.within(20)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_ask_of_an_idle_actor_takes_no_turn_of_the_loop(worker: Ref[Worker]) -> None:
    await checkpoint()
    turns: list[str] = []
    asyncio.get_running_loop().call_soon(turns.append, "turn")

    assert await worker.ask(Worker.note, 1) == [1]
    assert turns == []


async def test_asks_in_a_row_let_others_run(worker: Ref[Worker]) -> None:
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        for number in range(650):
            await worker.ask(Worker.note, number)
        assert others >= 10
        before = others
        for _ in range(20):
            await worker.ask(Worker.busy, 0.006)
        assert others >= before + 5
        tasks.cancel_scope.cancel()


async def test_a_handler_runs_in_the_task_of_its_actor_and_the_asker_in_its_own(
    worker: Ref[Worker],
) -> None:
    mine = running_task()

    first, second = await worker.ask(Worker.tasks)

    assert first == second != mine
    assert await worker.ask(Worker.tasks) == (first, first)
    assert running_task() == mine


@pytest.mark.parametrize("handler", [Worker.time_out, Worker.cancel_scope])
async def test_a_cancel_scope_cancels_the_handler_and_not_the_wait_for_messages(
    worker: Ref[Worker], handler: Any
) -> None:
    for number in range(1, 4):
        assert await worker.ask(handler)
        assert len(await worker.ask(Worker.note, number)) == number


async def test_a_task_group_of_the_handler_works(worker: Ref[Worker]) -> None:
    assert await worker.ask(Worker.group) == ["a", "b"]


async def test_an_asker_that_gives_up_cancels_the_handler_and_the_actor_lives(
    worker: Ref[Worker],
) -> None:
    with anyio.move_on_after(0.01) as scope:
        await worker.ask(Worker.wait)

    assert scope.cancelled_caught
    assert await worker.ask(Worker.note, "next") == ["waits", "cancelled", "next"]


async def test_messages_that_come_while_the_first_step_waits_are_handled_after_it(
    worker: Ref[Worker],
) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.ask, Worker.time_out)
        await checkpoint()
        await worker.tell(Worker.note, 1)
        assert await worker.ask(Worker.note, 2) == [1, 2]


async def test_what_a_handler_tells_its_own_actor_is_handled_after_it(worker: Ref[Worker]) -> None:
    await worker.ask(Worker.tell_itself)

    assert await worker.ask(Worker.note, "next") == ["done", "told", "next"]


async def test_an_actor_that_is_asked_in_its_first_step_handles_that_after_it(
    worker: Ref[Worker],
) -> None:
    await worker.ask(Worker.ask_itself_later)

    log = await worker.ask(Worker.note, "next")
    assert log[:2] == ["done", "inner"]


async def test_context_variables_are_the_actors_own(worker: Ref[Worker]) -> None:
    COLOUR.set("mine")

    assert await worker.ask(Worker.paint, "red") == "none"
    assert await worker.ask(Worker.paint, "blue") == "red"
    assert COLOUR.get() == "mine"


async def test_the_exception_that_an_asker_handles_is_not_the_handlers(worker: Ref[Worker]) -> None:
    with pytest.raises(LookupError):
        await worker.ask(Worker.fail)
    try:
        await worker.ask(Worker.fail)
    except LookupError:
        assert await worker.ask(Worker.handled_exception) == "None"


async def test_an_error_goes_to_the_asker_and_the_class_decides_on_the_actor(
    system: System, worker: Ref[Worker]
) -> None:
    fragile = await system.spawn(Fragile)
    await fragile.wait_ready()

    with pytest.raises(LookupError):
        await worker.ask(Worker.fail)
    assert await worker.ask(Worker.note, "lives") == ["lives"]
    with pytest.raises(LookupError):
        await fragile.ask(Worker.fail)
    assert await fragile.ask(Fragile.number) == 2


async def test_a_long_chain_of_asks_needs_no_deep_stack(system: System) -> None:
    others = [await system.spawn(Worker) for _ in range(150)]

    assert await others[0].ask(Worker.pass_on, others[1:]) == 149
    alone = await others[-1].ask(Worker.depth, [])
    assert await others[0].ask(Worker.depth, others[1:40]) < alone + 150


async def test_a_circle_of_asks_is_refused(system: System, worker: Ref[Worker]) -> None:
    other = await system.spawn(Worker)
    await other.wait_ready()

    assert "would wait for the asking actor" in await worker.ask(Worker.ask_and_be_asked, other)


async def test_an_actor_that_stops_in_its_first_step_answers_and_ends(worker: Ref[Worker]) -> None:
    assert await worker.ask(Worker.finish) == "stopping"

    await worker.wait()
    with pytest.raises(ActorStopped):
        await worker.ask(Worker.note, 1)


async def test_an_actor_that_kills_itself_in_its_first_step_fails_its_asker(
    worker: Ref[Worker],
) -> None:
    with pytest.raises(ActorCrashed):
        await worker.ask(Worker.kill_itself)

    assert await worker.ask(Worker.note, 1) == [1]


def test_what_is_for_the_process_does_not_go_through_the_asker() -> None:
    seen: list[type[BaseException]] = []

    async def main() -> None:
        async with System() as system:
            worker = await system.spawn(Worker)
            await worker.wait_ready()
            try:
                await worker.ask(Worker.exit)
            except BaseException as error:
                seen.append(type(error))
                raise

    with pytest.raises(SystemExit):
        asyncio.run(main())
    assert SystemExit not in seen


class Shared(Actor):
    """Waits for a future that others wait for as well. Only for asyncio."""

    def __init__(self) -> None:
        self.future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ended: list[str] = []

    async def wait_too(self) -> str:
        return await self.future

    async def wait_for_a_task(self) -> None:
        await asyncio.create_task(self._sleep())

    async def _sleep(self) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            self.ended.append("task")


def kill(ref: Ref[Any], _asking: asyncio.Task[Any]) -> None:
    ref.kill()


def cancel(_ref: Ref[Any], asking: asyncio.Task[Any]) -> None:
    asking.cancel()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_future_may_be_awaited_by_others_as_well(system: System) -> None:
    shared: list[Shared] = []

    class Known(Shared):
        def __init__(self) -> None:
            super().__init__()
            shared.append(self)

    ref = await system.spawn(Known)
    await ref.wait_ready()

    async def wait_too() -> str:
        return await shared[0].future

    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(ref.ask(Known.wait_too))
        waits = tasks.create_task(wait_too())
        await asyncio.sleep(0.01)
        shared[0].future.set_result("all")
    assert asked.result() == waits.result() == "all"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("how", [kill, cancel])
async def test_a_cancellation_before_the_actors_turn_ends_what_its_handler_awaits(
    system: System, how: Callable[..., None]
) -> None:
    shared: list[Shared] = []

    class Known(Shared):
        def __init__(self) -> None:
            super().__init__()
            shared.append(self)

    ref = await system.spawn(Known)
    await ref.wait_ready()
    asking = asyncio.create_task(ref.ask(Known.wait_for_a_task))
    await asyncio.sleep(0)  # the first step is over, and the actor had no turn yet

    how(ref, asking)

    with pytest.raises((ActorCrashed, asyncio.CancelledError)):
        await asking
    await ref.wait_ready()
    assert shared[0].ended in (["task"], [])
    left = [task for task in asyncio.all_tasks() if "_sleep" in repr(task.get_coro())]
    assert left == []
