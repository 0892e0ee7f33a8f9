"""An actor that has had nothing to do for a while has no task, and nobody can tell."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import AsyncExitStack
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from actors import Actor, Ref, System, batched
from actors._actor.parking import Parking
from actors.errors import ActorStopped
from actors.testing import running_system
from tests.actor.virtual_time import VIRTUAL_LOOPS, virtual_loop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

COLOUR: ContextVar[str] = ContextVar("colour", default="none")
LONG = 60.0


@pytest.fixture(params=VIRTUAL_LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return virtual_loop(request.param)


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with running_system() as system:
        yield system


@pytest.fixture
def parks(anyio_backend: tuple[str, dict[str, Any]]) -> bool:
    """Whether actors are parked on this loop."""
    return anyio_backend[0] == "asyncio"


class Worker(Actor):
    def __init__(self) -> None:
        self.log: list[Any] = []

    async def on_start(self) -> None:
        COLOUR.set("of the start")

    async def note(self, value: Any) -> list[Any]:
        self.log.append(value)
        return self.log

    async def paint(self, colour: str) -> str:
        before = COLOUR.get()
        COLOUR.set(colour)
        return before

    async def number(self) -> int:
        return self.context.incarnation

    async def crash(self) -> None:
        raise LookupError("no")

    async def tick_later(self, seconds: float) -> None:
        self.context.timers.once(seconds, Worker.note, "tick")

    async def watch(self, ref: Ref[Any]) -> None:
        self.context.watch(ref)

    async def on_exit(self, ref: Ref[Any], end: Any) -> None:
        self.log.append((ref.name, str(end)))

    async def on_stop(self, end: Any) -> None:
        ENDS.append((self.context.name, str(end)))


ENDS: list[tuple[str, str]] = []


def has_task(name: str) -> bool:
    gc.collect()
    # Not `isinstance`, which makes the lazy objects of other libraries find out what they stand for.
    tasks: list[Any] = [one for one in gc.get_objects() if issubclass(type(one), asyncio.Task)]
    return any(task.get_name() == f"actor {name}" and not task.done() for task in tasks)


async def parked(system: System, name: str) -> Ref[Worker]:
    """Return an actor that has had a message, a long time ago."""
    ref = await system.spawn(Worker, name=name)
    await ref.tell(Worker.note, "first")
    await anyio.sleep(LONG)
    return ref


async def test_there_is_a_task_only_while_there_is_something_to_do(
    system: System, *, parks: bool
) -> None:
    ref = await system.spawn(Worker, name="w")
    if parks:
        assert not has_task("w"), "it has started, and had no message"
    await ref.tell(Worker.note, 1)
    await anyio.sleep(5)
    if parks:
        assert has_task("w"), "it may get another one"
    await anyio.sleep(LONG)
    assert not has_task("w")
    assert await ref.ask(Worker.note, 2) == [1, 2]


async def test_context_variables_are_as_the_actor_has_set_them(system: System) -> None:
    ref = await parked(system, "w")
    assert await ref.ask(Worker.paint, "red") == "of the start"
    await anyio.sleep(LONG)
    assert await ref.ask(Worker.paint, "blue") == "red"


async def test_messages_are_handled_in_order_by_one_that_was_parked(system: System) -> None:
    ref = await parked(system, "w")
    for number in range(200):
        await ref.tell(Worker.note, number)
    assert await ref.ask(Worker.note, "last") == ["first", *range(200), "last"]


async def test_a_parked_actor_stops_with_its_last_words(system: System) -> None:
    ENDS.clear()
    ref = await parked(system, "w")
    await ref.stop()
    await ref.wait()
    assert ENDS == [("w", "SHUTDOWN")]
    with pytest.raises(ActorStopped):
        await ref.ask(Worker.note, 1)


async def test_a_parked_actor_that_is_killed_says_no_last_words_and_is_restarted(
    system: System,
) -> None:
    ENDS.clear()
    ref = await parked(system, "w")
    ref.kill()
    await anyio.sleep(LONG)
    assert await ref.ask(Worker.number) == 2
    assert ENDS == []


async def test_one_that_crashes_is_restarted_and_parked_again(system: System) -> None:
    ref = await parked(system, "w")
    await ref.tell(Worker.crash)
    await anyio.sleep(LONG)
    assert not has_task("w")
    assert await ref.ask(Worker.number) == 2


async def test_timers_and_ends_of_others_wake_it(system: System) -> None:
    ref = await parked(system, "w")
    other = await parked(system, "other")
    await ref.ask(Worker.tick_later, 2 * LONG)
    await ref.ask(Worker.watch, other)
    await anyio.sleep(LONG)
    assert not has_task("w")
    await other.stop()
    await anyio.sleep(2 * LONG)
    assert await ref.ask(Worker.note, "last") == [
        "first",
        ("other", "SHUTDOWN"),
        "tick",
        "last",
    ]


async def test_a_system_of_parked_actors_ends(anyio_backend_name: str) -> None:
    ENDS.clear()
    async with running_system() as system:
        for number in range(20):
            await system.spawn(Worker, name=f"w{number}")
        await anyio.sleep(LONG)
    assert len(ENDS) == 20, anyio_backend_name


class Holder(Worker):
    """Keeps something open from its start to its end that belongs to a task."""

    def __init__(self, opens: Callable[[], Any]) -> None:
        super().__init__()
        self.opens = opens
        self.stack = AsyncExitStack()

    async def on_start(self) -> None:
        opened = self.opens()
        if hasattr(opened, "__aenter__"):
            await self.stack.enter_async_context(opened)
        else:
            self.stack.enter_context(opened)

    async def on_stop(self, end: Any) -> None:
        await self.stack.aclose()
        await super().on_stop(end)


def a_scope() -> Any:
    return anyio.CancelScope()


def a_group() -> Any:
    return anyio.create_task_group()


def a_time_limit() -> Any:
    return anyio.fail_after(3600)


def asyncio_group() -> Any:
    return asyncio.TaskGroup()


def asyncio_limit() -> Any:
    return asyncio.timeout(3600)


class WeakNote:
    """Knows a task weakly, as a cache of what belongs to tasks does."""

    def __enter__(self) -> None:
        self.task = weakref.ref(asyncio.current_task())

    def __exit__(self, *_error: object) -> None:
        assert self.task() is asyncio.current_task()


@pytest.mark.parametrize(
    "opens", [a_scope, a_group, a_time_limit, asyncio_group, asyncio_limit, WeakNote]
)
async def test_what_belongs_to_a_task_keeps_it(
    system: System, opens: Callable[[], Any], *, parks: bool
) -> None:
    if not parks:
        pytest.skip("on trio nothing can be open from one handler to the next")
    ENDS.clear()
    ref = await system.spawn(Holder, opens, name="h")
    assert await ref.ask(Holder.note, 1) == [1]
    await anyio.sleep(LONG)
    assert await ref.ask(Holder.note, 2) == [1, 2]
    await anyio.sleep(LONG)
    await ref.stop()
    await ref.wait()
    assert ENDS == [("h", "SHUTDOWN")]


class Gathers(Actor):
    @batched(most=10, within=LONG * 2)
    async def add(self, numbers: list[int]) -> list[int]:
        return [sum(numbers)] * len(numbers)


async def test_an_actor_that_waits_for_the_rest_of_a_batch_is_not_disturbed(system: System) -> None:
    ref = await system.spawn(Gathers)
    replies: list[int] = []

    async def ask(number: int) -> None:
        replies.append(await ref.ask(Gathers.add, number))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, 1)
        await anyio.sleep(LONG)
        tasks.start_soon(ask, 2)
    assert replies == [3, 3]


class Loop:
    """Counts timers."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, seconds: float, fn: Callable[[], None]) -> Any:
        self.timers.append((seconds, fn))
        return self

    def cancel(self) -> None:
        self.timers.pop()

    def run(self) -> float:
        seconds, fn = self.timers.pop()
        fn()
        return seconds


class Run:
    def __init__(self, loses: int) -> None:
        self.looks = 0
        self.loses = loses

    def unpark(self, _successor: Any) -> None: ...

    def park_if_quiet(self) -> bool:
        self.looks += 1
        return self.looks > self.loses


def test_no_timer_runs_where_all_are_parked_and_many_are_looked_at_in_several_turns() -> None:
    loop: Any = Loop()
    parking = Parking(loop)
    runs = [Run(loses=number % 2) for number in range(1_000)]
    for run in runs:
        parking.woken(run)
    assert len(loop.timers) == 1
    pauses = []
    while loop.timers:
        pauses.append(loop.run())
        assert len(loop.timers) <= 1
    assert pauses == [10.0, 0.01, 0.01, 0.01, 0.01, 10.0, 0.01, 0.01]
    assert [run.looks for run in runs] == [1, 2] * 500


def test_one_that_has_ended_is_forgotten_at_once() -> None:
    loop: Any = Loop()
    parking = Parking(loop)
    run = Run(loses=0)
    parking.woken(run)
    parking.forget(run)
    known = weakref.ref(run)
    del run
    assert known() is None
    assert not loop.timers


def test_those_that_end_before_they_are_looked_at_are_forgotten_too() -> None:
    loop: Any = Loop()
    parking = Parking(loop)
    runs = [Run(loses=0) for _ in range(1_000)]
    for run in runs:
        parking.woken(run)
    loop.run()  # looks at some of them; the others are due
    known = weakref.ref(runs[-1])
    for run in runs:
        parking.forget(run)
    runs.clear()
    del run
    assert known() is None
    assert not loop.timers


def test_those_that_end_while_the_others_are_parked_are_forgotten_too() -> None:
    loop: Any = Loop()
    parking = Parking(loop)
    runs = [Run(loses=0) for _ in range(1_000)]
    for run in runs:
        parking.woken(run)
    loop.run()
    for run in runs[400:]:  # which are due
        parking.forget(run)
    loop.run()  # parks the others
    known = weakref.ref(runs[-1])
    runs.clear()
    del run
    assert known() is None
