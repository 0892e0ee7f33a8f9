"""When an actor is idle, on virtual time: how long it is kept, and what keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import anyio
import pytest

from actors import Actor, Keyed, System, concurrent, keyed
from actors.testing import VirtualTimeLoop


class Ledger(Actor):
    """Writes down what it is told, in a list that outlives it."""

    entries: list[tuple[int, Any]] = []  # noqa: RUF012 - of this process
    stops: list[float] = []  # noqa: RUF012 - as above

    def __init__(self, key: str) -> None:
        self.key = key

    async def on_stop(self, _exit: object) -> None:
        self.stops.append(anyio.current_time())

    async def add(self, what: Any) -> None:
        self.entries.append((self.context.ref.uid, what))

    async def tick(self) -> None:
        self.entries.append((self.context.ref.uid, "tick"))

    async def tick_every(self, seconds: float) -> None:
        self.context.timers.every(seconds, Ledger.tick)

    async def work(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    @concurrent
    async def work_beside(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    async def items(self) -> Any:
        yield 1
        yield 2

    async def work_in_task(self, seconds: float) -> None:
        self.context.tasks.start_soon(anyio.sleep, seconds)


def on_virtual_time(test: Coroutine[Any, Any, None]) -> None:
    Ledger.entries, Ledger.stops = [], []
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(test)


async def _opened(system: System, **options: Any) -> Keyed[Any, Ledger]:
    return await system.start(keyed(Ledger, **{"idle": 300, **options}))


def test_an_actor_is_stopped_when_its_idle_time_has_passed() -> None:
    async def main() -> None:
        async with System() as system:
            ledger = await _opened(system)
            await ledger["a"].tell(Ledger.add, 1)
            used = anyio.current_time()
            await anyio.sleep(299)
            assert await ledger.has("a")
            await anyio.sleep(2)
            assert not await ledger.has("a")
            assert Ledger.stops[0] - used == pytest.approx(300)

    on_virtual_time(main())


def test_each_use_begins_the_idle_time_anew() -> None:
    async def main() -> None:
        async with System() as system:
            ledger = await _opened(system)
            for number in range(10):
                await ledger["a"].tell(Ledger.add, number)
                await anyio.sleep(200)
            assert len({uid for uid, _ in Ledger.entries}) == 1
            await anyio.sleep(400)
            assert await ledger.keys() == []

    on_virtual_time(main())


@pytest.mark.parametrize("method", ["work", "work_beside", "work_in_task"])
def test_an_actor_that_works_is_not_idle(method: str) -> None:
    async def main() -> None:
        async with System() as system:
            ledger = await _opened(system, idle=10)
            await ledger["a"].tell(getattr(Ledger, method), 100)
            await anyio.sleep(99)
            assert await ledger.has("a")
            await anyio.sleep(20)
            assert not await ledger.has("a")

    on_virtual_time(main())


def test_an_actor_with_an_open_stream_is_not_idle() -> None:
    async def main() -> None:
        async with System() as system:
            ledger = await _opened(system, idle=10)
            async with ledger["a"].stream(Ledger.items) as items:
                assert await anext(items) == 1
                await anyio.sleep(100)
                assert await anext(items) == 2
            await anyio.sleep(20)
            assert not await ledger.has("a")

    on_virtual_time(main())


def test_the_ticks_of_its_timers_do_not_keep_an_actor() -> None:
    async def main() -> None:
        async with System() as system:
            ledger = await _opened(system, idle=10)
            await ledger["a"].tell(Ledger.tick_every, 1)
            await anyio.sleep(20)
            assert not await ledger.has("a")
            assert len(Ledger.entries) > 5

    on_virtual_time(main())


def test_without_an_idle_time_actors_stay() -> None:
    async def main() -> None:
        async with System() as system:
            ledger = await _opened(system, idle=None)
            await ledger["a"].tell(Ledger.add, 1)
            await anyio.sleep(80_000)
            assert await ledger.keys() == ["a"]

    on_virtual_time(main())


def test_no_message_is_lost_whenever_it_meets_the_stop() -> None:
    """Messages at every distance from the stop, to a hundredth of the idle time, on virtual time."""

    async def main() -> None:
        async with System() as system:
            ledger = await _opened(system, idle=1)
            sent = 0
            for pause in range(90, 140):
                for verb in ("tell", "ask", "tell_nowait"):
                    await anyio.sleep(pause / 100)
                    sending = getattr(ledger["a"], verb)(Ledger.add, sent)
                    if sending is not None:
                        await sending
                    sent += 1
            await ledger["a"].ask(Ledger.work, 0)
            assert [what for _, what in Ledger.entries] == [*range(sent)]
            assert len({uid for uid, _ in Ledger.entries}) > 50  # it was stopped again and again

    on_virtual_time(main())
