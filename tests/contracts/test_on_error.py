"""What a class says about failed messages holds on every kind of node: restart, resume or stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from actors import Actor, Exit, ExitKind, OnError, Ref, Restart, concurrent
from actors._base.events import Event, EventStream
from actors.errors import ActorCrashed, InvalidSpec
from tests.contracts.contract_actors import Gate
from tests.contracts.node_under_test import NodeUnderTest


class Busy(Exception):
    """Passes."""


class Odd(Exception):
    """Is in no table of the class itself."""


class Corrupt(Exception):
    """Is for good."""


class CorruptIndex(Corrupt):
    """Can be mended by a restart."""


ERRORS: dict[str, type[Exception]] = {
    "busy": Busy,
    "odd": Odd,
    "corrupt": Corrupt,
    "index": CorruptIndex,
    "memory": MemoryError,
    "other": ValueError,
}


class Fragile(Actor):
    """Has no table."""

    def __init__(self) -> None:
        self.log: list[str] = []

    async def fail(self, name: str) -> None:
        self.log.append(name)
        raise ERRORS[name](name)

    @concurrent
    async def fail_beside(self, name: str) -> None:
        self.log.append(name)
        raise ERRORS[name](name)

    async def fail_later(self, name: str) -> None:
        self.context.timers.once(0, type(self).fail, name)

    async def fail_in_task(self, name: str) -> None:
        async def fail() -> None:
            raise ERRORS[name](name)

        self.context.tasks.start_soon(fail)

    async def fail_again_and_again(self) -> None:
        self.context.ref.tell_nowait(Fragile.fail_again_and_again)
        raise Busy("busy")

    @concurrent
    async def wait_for(self, gate: Ref[Gate]) -> None:
        await gate.ask(Gate.wait)

    async def watch(self, ref: Ref[Any]) -> None:
        self.context.watch(ref)

    async def on_exit(self, ref: Ref[Any], exit: Any) -> None:  # noqa: A002, ARG002 - the hook
        raise Busy("busy")

    async def upto(self, name: str) -> AsyncIterator[int]:
        yield 1
        raise ERRORS[name](name)

    async def state(self) -> tuple[int, list[str]]:
        return self.context.incarnation, self.log


class Keeper(Actor):
    """Has a child."""

    async def keep(self) -> Ref[Ledger]:
        return await self.context.spawn(Ledger, restart=Restart.PERMANENT)


TABLE = {Busy: OnError.RESUME, Corrupt: OnError.STOP, CorruptIndex: OnError.RESTART}


class Ledger(Fragile, on_error=TABLE):
    """Decides by a table."""


class Strict(Ledger, on_error={Busy: OnError.STOP, Odd: OnError.RESUME, MemoryError: OnError.STOP}):
    """Says more than the class it inherits from, and otherwise about one entry."""


class Broad(Fragile, on_error={Exception: OnError.RESTART}):
    """Names every error, but not the lack of memory."""


class Mixed(Ledger, Broad):
    """Inherits two tables."""


FAILS = {"tell": Fragile.fail, "tell beside": Fragile.fail_beside, "timer": Fragile.fail_later}


async def _failed(events: EventStream, ref: Ref[Any]) -> Event:
    """The next report of a message of *ref* that failed."""
    async for event in events:
        if event.kind == "message_failed" and event.facts["actor"] == ref.name:
            return event
    raise AssertionError("the events ended")


@pytest.mark.parametrize("how", FAILS)
async def test_resume_drops_the_message_and_keeps_the_state(node: NodeUnderTest, how: str) -> None:
    ledger = await node.spawn(Ledger)
    events = node.system.events()
    with anyio.fail_after(5):
        await ledger.tell(FAILS[how], "busy")
        event = await _failed(events, ledger)
        assert await ledger.ask(Ledger.state) == (1, ["busy"])
    events.close()
    facts = dict(event.facts)
    assert "raise ERRORS[name]" in facts.pop("traceback")
    message = "fail_beside" if how == "tell beside" else "fail"
    expected = {"actor": ledger.name, "message": message, "node": node.on, "error": "Busy: busy"}
    assert facts == expected


@pytest.mark.parametrize("how", FAILS)
async def test_restart_is_a_crash(node: NodeUnderTest, how: str) -> None:
    ledger = await node.spawn(Ledger, restart=Restart.TEMPORARY)
    with anyio.fail_after(5):
        await ledger.tell(FAILS[how], "index")
        assert str(await ledger.wait()) == "CRASHED(CorruptIndex: index)"


@pytest.mark.parametrize("how", FAILS)
async def test_stop_ends_the_actor_for_good_by_its_error(node: NodeUnderTest, how: str) -> None:
    ledger = await node.spawn(Ledger, restart=Restart.PERMANENT, name=f"ledger {how} {node.on}")
    events = node.system.events()
    with anyio.fail_after(5):
        await ledger.tell(FAILS[how], "corrupt")
        end = await ledger.wait()
        assert (await _failed(events, ledger)).facts["error"] == "Corrupt: corrupt"
        assert await node.system.lookup(ledger.name) is None
    events.close()
    assert (end.kind, str(end)) == (ExitKind.CRASHED, "CRASHED(Corrupt: corrupt)")


async def test_stop_is_for_the_children_of_an_actor_too(node: NodeUnderTest) -> None:
    keeper = await node.spawn(Keeper)
    with anyio.fail_after(5):
        ledger = await keeper.ask(Keeper.keep)
        await ledger.tell(Ledger.fail, "corrupt")
        assert str(await ledger.wait()) == "CRASHED(Corrupt: corrupt)"


class Unspeakable(Busy):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Mute(Ledger):
    """Fails without words."""

    async def fail_mutely(self) -> None:
        raise Unspeakable


async def test_an_error_that_cannot_be_worded_is_reported_all_the_same(node: NodeUnderTest) -> None:
    mute = await node.spawn(Mute)
    events = node.system.events()
    with anyio.fail_after(5):
        await mute.tell(Mute.fail_mutely)
        assert (await _failed(events, mute)).facts["error"].startswith("Unspeakable: <")
        assert await mute.ask(Mute.state) == (1, [])
    events.close()


async def test_an_error_in_no_table_restarts(node: NodeUnderTest) -> None:
    with anyio.fail_after(5):
        for cls in (Fragile, Ledger):
            actor = await node.spawn(cls)
            await actor.tell(Fragile.fail, "other")
            assert await actor.ask(Fragile.state) == (2, [])


async def test_what_is_queued_behind_a_failed_message_is_handled(node: NodeUnderTest) -> None:
    ledger = await node.spawn(Ledger)
    with anyio.fail_after(5):
        for _ in range(200):
            await ledger.tell(Ledger.fail, "busy")
        assert await ledger.ask(Ledger.state) == (1, 200 * ["busy"])


async def test_an_asker_gets_the_error_and_the_actor_lives(node: NodeUnderTest) -> None:
    ledger = await node.spawn(Ledger)
    with anyio.fail_after(5):
        for name in ("busy", "other", "memory"):
            with pytest.raises(ERRORS[name], match=name):
                await ledger.ask(Ledger.fail, name)
        assert await ledger.ask(Ledger.state) == (1, ["busy", "other", "memory"])


@pytest.mark.parametrize("handler", [Ledger.fail, Ledger.fail_beside], ids=["fail", "beside"])
async def test_restart_is_for_asked_messages_too_after_the_asker_was_told(
    node: NodeUnderTest, handler: Any
) -> None:
    ledger = await node.spawn(Ledger)
    with anyio.fail_after(5):
        with pytest.raises(CorruptIndex, match="index"):
            await ledger.ask(handler, "index")
        assert await ledger.ask(Ledger.state) == (2, [])


@pytest.mark.parametrize("handler", [Ledger.fail, Ledger.fail_beside], ids=["fail", "beside"])
async def test_stop_is_for_asked_messages_too_after_the_asker_was_told(
    node: NodeUnderTest, handler: Any
) -> None:
    ledger = await node.spawn(Ledger, restart=Restart.PERMANENT)
    with anyio.fail_after(5):
        with pytest.raises(Corrupt, match="corrupt"):
            await ledger.ask(handler, "corrupt")
        assert str(await ledger.wait()) == "CRASHED(Corrupt: corrupt)"


async def test_a_subclass_inherits_the_table_and_may_add_to_it(node: NodeUnderTest) -> None:
    with anyio.fail_after(5):
        strict = await node.spawn(Strict)
        await strict.tell(Strict.fail, "odd")
        assert await strict.ask(Strict.state) == (1, ["odd"])
        await strict.tell(Strict.fail, "index")
        assert await strict.ask(Strict.state) == (2, [])
        await strict.tell(Strict.fail, "busy")
        assert str(await strict.wait()) == "CRASHED(Busy: busy)"


async def test_the_entry_nearest_to_the_error_wins_over_every_broader_one(
    node: NodeUnderTest,
) -> None:
    mixed = await node.spawn(Mixed)
    with anyio.fail_after(5):
        await mixed.tell(Mixed.fail, "busy")
        assert await mixed.ask(Mixed.state) == (1, ["busy"])
        with pytest.raises(ValueError, match="other"):
            await mixed.ask(Mixed.fail, "other")
        assert await mixed.ask(Mixed.state) == (2, [])


@pytest.mark.parametrize("cls", [Fragile, Ledger, Broad])
async def test_c46_a_lack_of_memory_fails_one_message_unless_it_is_named(
    node: NodeUnderTest, cls: type[Fragile]
) -> None:
    actor, strict = await node.spawn(cls), await node.spawn(Strict)
    with anyio.fail_after(5):
        await actor.tell(cls.fail, "memory")
        assert await actor.ask(cls.state) == (1, ["memory"])
        await strict.tell(Strict.fail, "memory")
        assert str(await strict.wait()) == "CRASHED(MemoryError: memory)"


async def test_hooks_and_tasks_are_not_in_the_table(node: NodeUnderTest) -> None:
    in_task, in_hook, watched = [await node.spawn(Ledger) for _ in range(3)]
    with anyio.fail_after(5):
        await in_task.ask(Ledger.fail_in_task, "busy")
        await in_hook.ask(Ledger.watch, watched)
        await watched.stop()
        for ledger in (in_task, in_hook):
            while (await ledger.ask(Ledger.state))[0] == 1:  # noqa: ASYNC110 - it announces no restart
                await anyio.sleep(0.01)


async def test_the_error_of_a_stream_is_its_readers(node: NodeUnderTest) -> None:
    ledger = await node.spawn(Ledger)
    with anyio.fail_after(5):
        with pytest.raises(Corrupt, match="corrupt"):
            async with ledger.stream(Ledger.upto, "corrupt") as items:
                assert [item async for item in items] == [1]
        assert await ledger.ask(Ledger.state) == (1, [])


async def test_an_actor_that_only_fails_lets_the_loop_run(node: NodeUnderTest) -> None:
    ledger, gate = await node.spawn(Ledger), await node.spawn(Gate)
    with anyio.fail_after(5):
        await ledger.tell(Ledger.fail_again_and_again)
        for _ in range(3):
            await gate.ask(Gate.open)
        assert (await ledger.ask(Ledger.state))[0] == 1
        await ledger.stop()
        assert await ledger.wait() == Exit.SHUTDOWN


async def test_whoever_waits_when_another_message_stops_the_actor_is_told(
    node: NodeUnderTest,
) -> None:
    ledger, gate = await node.spawn(Ledger), await node.gate()
    heard: list[str] = []

    async def ask() -> None:
        with pytest.raises(ActorCrashed, match="Corrupt: corrupt"):
            await ledger.ask(Ledger.wait_for, gate)
        heard.append("told")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            await ledger.tell(Ledger.fail_beside, "corrupt")
    assert heard == ["told"]


@pytest.mark.parametrize(
    "table,why",
    [
        ([Busy], "Bad: on_error maps exception classes to an OnError, got [<class "),
        (
            {"Busy": OnError.STOP},
            "Bad: on_error: a key must be a subclass of Exception, got 'Busy'",
        ),
        (
            {KeyboardInterrupt: OnError.STOP},
            "Bad: on_error: a key must be a subclass of Exception, got <class 'KeyboardInterrupt'>",
        ),
        ({Busy: "resume"}, "Bad: on_error[Busy] must be an OnError, got 'resume'"),
        ({Busy: Restart.PERMANENT}, "Bad: on_error[Busy] must be an OnError, got <Restart."),
    ],
)
def test_a_table_that_can_never_work_is_refused_where_it_is_written(table: Any, why: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        type("Bad", (Actor,), {}, on_error=table)
    assert str(caught.value).startswith(why)
