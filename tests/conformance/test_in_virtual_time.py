"""Lives of actors in which hours pass: limits, waits and give-ups of the cases, in virtual time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import anyio
import pytest
import trio.testing

from actors import (
    Actor,
    Backoff,
    Budget,
    Exit,
    ExitKind,
    Ref,
    Restart,
    System,
    Topology,
    child,
    concurrent,
    supervisor,
)
from actors._base.events import Event
from actors.errors import ActorCrashed, ActorsError, MailboxFull, StartFailed
from actors.testing import VirtualTimeLoop, running_system
from actors.transport import local
from tests.conformance.case_actors import deafly

HOUR = 3600.0


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    if request.param == "asyncio":
        return "asyncio", {"loop_factory": VirtualTimeLoop}
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


class Diary:
    """What happened, and when."""

    def __init__(self) -> None:
        self.lines: list[tuple[float, str]] = []

    def note(self, line: str) -> None:
        self.lines.append((anyio.current_time(), line))

    def told(self) -> list[str]:
        return [line for _, line in self.lines]


class Kept(Actor):
    """Writes its life into a diary."""

    def __init__(self, diary: Diary) -> None:
        self.diary = diary
        self.value = 0

    async def on_start(self) -> None:
        self.diary.note("start")

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002 - the hook's name
        self.diary.note(f"stop {exit.kind.value}")

    async def crash(self, text: str = "boom") -> None:
        raise RuntimeError(text)

    async def add(self, by: int) -> int:
        self.value += by
        return self.value

    async def sleep(self) -> None:
        await anyio.sleep(1)

    @concurrent
    async def wait_beside(self) -> None:
        await anyio.sleep_forever()


class Slow(Kept):
    """Takes four seconds to stop."""

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002 - the hook's name
        await anyio.sleep(4)
        await super().on_stop(exit)


class Looping(Kept):
    """Fails in every start but the first."""

    async def on_start(self) -> None:
        await super().on_start()
        if self.context.incarnation > 1:
            raise ConnectionError("no database")


class Rash(Actor):
    """Starts a task and fails before that has begun."""

    async def on_start(self) -> None:
        self.context.tasks.start_soon(anyio.sleep_forever)
        raise LookupError("on_start")


class Beating(Actor):
    """Has a task that goes on until its end."""

    def __init__(self, diary: Diary) -> None:
        self.diary = diary

    async def on_start(self) -> None:
        self.context.tasks.start_soon(self._beat)

    async def _beat(self) -> None:
        self.diary.note("beats")
        try:
            await anyio.sleep_forever()
        finally:
            self.diary.note("rests")


class Asking(Kept):
    """Asks its parent while it stops."""

    def __init__(self, diary: Diary, parent: Ref[Any]) -> None:
        super().__init__(diary)
        self.parent = parent

    async def on_stop(self, _exit: Exit) -> None:
        try:
            await self.parent.ask(Kept.add, 1)
        except ActorsError as error:
            self.diary.note(type(error).__name__)


class Asked(Kept):
    """Has children that ask it while they stop."""

    async def start_asking(self, times: int) -> None:
        for _ in range(times):
            await self.context.spawn(Asking, local(self.diary), self.context.ref)


class Shielded(Kept):
    """Does not hear that it is killed."""

    async def dig_in(self) -> None:
        await deafly(HOUR)


def _under(budget: Budget, diary: Diary, cls: type[Kept] = Kept) -> Topology:
    tree = supervisor(
        "sup", [child(cls, local(diary), name="kept")], budget=budget, restart=Restart.TEMPORARY
    )
    return Topology(children=[tree])


async def _kept(system: System) -> Ref[Kept]:
    ref = await system.lookup("kept")
    assert ref is not None
    return ref


async def _read(events: Any) -> list[Event]:
    events.close()
    return list(events._records)


async def test_c47_two_restarts_a_minute_and_the_third_failure_is_the_end() -> None:
    diary = Diary()
    with anyio.fail_after(HOUR):
        async with running_system(_under(Budget(2, 60), diary)) as system:
            ref = await _kept(system)
            for _ in range(3):
                for _ in range(2):
                    await ref.tell(Kept.crash)
                    await ref.wait_ready()
                # The window is over: two more are allowed.
                await anyio.sleep(60.1)
            assert diary.told() == ["start", *["stop CRASHED", "start"] * 6]
            for _ in range(3):
                await ref.tell(Kept.crash)
            assert (await ref.wait()).kind is ExitKind.CRASHED
            assert diary.told()[13:] == [*["stop CRASHED", "start"] * 2, "stop CRASHED"]


async def test_c47_with_a_limit_of_0_the_first_failure_is_the_end() -> None:
    diary = Diary()
    with anyio.fail_after(HOUR):
        async with running_system(_under(Budget(0, 60), diary)) as system:
            ref = await _kept(system)
            await ref.tell(Kept.crash)
            assert (await ref.wait()).kind is ExitKind.CRASHED
            assert diary.told() == ["start", "stop CRASHED"]


async def test_c49_messages_wait_for_a_restart_up_to_the_bound_of_the_mailbox() -> None:
    answers: list[int] = []

    async def ping(ref: Ref[Kept]) -> None:
        answers.append(await ref.ask(Kept.add, 1))

    backoff = Backoff(first=1, cap=10, jitter=0.1)
    with anyio.fail_after(HOUR):
        async with running_system() as system:
            events = system.events()
            ref = await system.spawn(Kept, local(Diary()), mailbox=2, backoff=backoff)
            await ref.ask(Kept.add, 5)
            for delay in (0, 1, 2):
                await ref.tell(Kept.crash)
                await anyio.sleep(0.01)
                began = anyio.current_time()
                async with anyio.create_task_group() as tasks:
                    for _ in range(2):
                        tasks.start_soon(ping, ref)
                        await anyio.sleep(0.001)
                    if delay:
                        for _ in range(2):
                            with pytest.raises(MailboxFull):
                                ref.tell_nowait(Kept.add, 1)
                assert delay - 0.02 <= anyio.current_time() - began <= delay * 1.1 + 0.003
                # The state is a new one each time, and nothing came twice.
                assert sorted(answers) == [1, 2]
                answers.clear()
            delays = [
                event.facts["delay"]
                for event in await _read(events)
                if event.kind == "restart_scheduled"
            ]
            assert [int(delay) for delay in delays] == [0, 1, 2]


async def _cancelled_after(turns: int, fn: Any, *args: Any) -> None:
    """Call *fn* and cancel that after so many turns of the loop."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fn, *args)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


async def test_c67_a_spawn_cancelled_at_any_moment_leaves_all_or_nothing() -> None:
    spawned: list[Ref[Any]] = []

    async def spawn(system: System, diary: Diary) -> None:
        spawned.append(await system.spawn(Beating, local(diary), name="cancelled"))

    with anyio.fail_after(HOUR):
        async with running_system() as system:
            for turns in range(30):
                diary = Diary()
                await _cancelled_after(turns, spawn, system, diary)
                await anyio.sleep(1)
                for ref in spawned:
                    await ref.stop()
                    await ref.wait()
                spawned.clear()
                assert await system.lookup("cancelled") is None
                assert diary.told().count("beats") == diary.told().count("rests")
                assert len(diary.told()) in {0, 2}


async def test_c67_waiting_for_a_start_may_be_given_up_at_any_moment() -> None:
    with anyio.fail_after(HOUR):
        async with running_system() as system:
            ref = await system.spawn(Kept, local(Diary()))
            await ref.ask(Kept.add, 1)
            for turns in range(10):
                await _cancelled_after(turns, ref.wait_ready)
            assert await ref.ask(Kept.add, 1) == 2


async def test_c65_a_start_that_fails_with_a_task_just_begun_fails_at_once() -> None:
    with anyio.fail_after(HOUR):
        async with running_system() as system:
            began = anyio.current_time()
            with pytest.raises(StartFailed, match="LookupError: on_start"):
                await system.spawn(Rash)
            assert anyio.current_time() - began < 0.1


async def test_c69_an_ask_whose_concurrent_handler_has_just_begun_hears_of_a_crash_at_once() -> (
    None
):
    took: list[float] = []

    async def ask(ref: Ref[Any]) -> None:
        began = anyio.current_time()
        with pytest.raises(ActorCrashed):
            await ref.ask(Kept.wait_beside)
        took.append(anyio.current_time() - began)

    with anyio.fail_after(HOUR):
        async with running_system() as system:
            ref = await system.spawn(Kept, local(Diary()))
            await ref.tell(Kept.sleep)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, ref)
                await anyio.sleep(0.1)
                await ref.tell(Kept.crash)
    assert took == pytest.approx([1.0])


async def test_c69_a_child_that_asks_its_stopping_parent_holds_it_no_longer_than_its_shutdown() -> (
    None
):
    with anyio.fail_after(HOUR):
        for how in ("crash", "stop"):
            for children in (1, 2):
                async with running_system() as system:
                    diary = Diary()
                    ref = await system.spawn(Asked, local(diary))
                    await ref.ask(Asked.start_asking, children)
                    began = anyio.current_time()
                    await (ref.tell(Kept.crash) if how == "crash" else ref.stop())
                    if how == "crash":
                        assert await ref.ask(Kept.add, 1) <= children + 1
                    else:
                        assert (await ref.wait()).kind.value in {"SHUTDOWN", "KILLED"}
                    assert anyio.current_time() - began <= 5.0


async def test_c43_an_actor_that_ignores_its_kill_gives_its_name_back_in_the_end() -> None:
    with anyio.fail_after(2 * HOUR):
        async with running_system() as system:
            ref = await system.spawn(
                Shielded, local(Diary()), name="key", restart=Restart.TEMPORARY
            )
            await ref.tell(Shielded.dig_in)
            await anyio.sleep(1)
            began = anyio.current_time()
            ref.kill()
            assert await ref.wait() == Exit.ABANDONED
            assert anyio.current_time() - began == pytest.approx(5)
            assert await system.lookup("key") is None
            again = await system.spawn(Kept, local(Diary()), name="key")
            assert await again.ask(Kept.add, 1) == 1


async def test_l16_a_crash_loop_is_five_restarts_ever_further_apart_and_then_given_up() -> None:
    diary = Diary()
    backoff = Backoff(first=0.1, cap=2, jitter=0.1, give_up_after=5)
    with anyio.fail_after(HOUR):
        async with running_system() as system:
            events = system.events()
            ref = await system.spawn(Looping, local(diary), backoff=backoff, name="looping")
            await ref.tell(Kept.crash, "at first")
            end = await ref.wait()
            await anyio.sleep(100)
            told = await _read(events)
    times = [at for at, line in diary.lines if line == "start"]
    assert len(times) == 6
    gaps = [later - sooner for sooner, later in pairwise(times[1:])]
    for gap, least in zip(gaps, (0.1, 0.2, 0.4, 0.8), strict=True):
        assert least <= gap <= least * 1.1 + 0.001
    assert gaps != pytest.approx([0.1, 0.2, 0.4, 0.8], rel=1e-9)  # there is jitter
    assert end.error is not None
    given_up = next(event for event in told if event.kind == "restarts_given_up")
    assert "given up after 5 restarts in a row" in given_up.facts["exit"]
    failures = [event for event in told if event.kind == "child_start_failed"]
    assert len(failures) == 5
    assert all("no database" in str(event.facts) for event in failures)


async def test_l16_a_crash_loop_exhausts_a_budget_with_the_first_error_told() -> None:
    diary = Diary()
    budget = Budget(restarts=5, within=10)
    with anyio.fail_after(HOUR):
        async with running_system(_under(budget, diary, Looping)) as system:
            events = system.events()
            ref = await _kept(system)
            await ref.tell(Kept.crash, "at first")
            await ref.wait()
            await anyio.sleep(100)
            told = await _read(events)
    assert [line for line in diary.told() if line == "start"] == ["start"] * 6
    (exceeded,) = [event for event in told if event.kind == "budget_exceeded"]
    assert "RuntimeError: at first" in exceeded.facts["traceback"]
    assert "in crash" in exceeded.facts["traceback"]


async def test_s36_an_actor_that_ends_slowly_does_not_spin_over_what_is_queued() -> None:
    with anyio.fail_after(HOUR):
        async with running_system() as system:
            ref = await system.spawn(Slow, local(Diary()))
            began = anyio.current_time()
            await ref.tell(Kept.crash)
            for _ in range(9):
                await ref.tell(Kept.add, 1)
            # Virtual time stands still while anything runs: a spin would be here for ever.
            assert await ref.ask(Kept.add, 1) == 10
            assert anyio.current_time() - began == pytest.approx(4)
