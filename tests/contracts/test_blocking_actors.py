"""Blocking actors are the same on every kind of node: a thread of their own, and all that other actors have."""

from __future__ import annotations

import decimal
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import Actor, Exit, ExitKind, OnError, Ref, batched, current
from actors.errors import ActorCrashed, CallCycle, DeadlineExceeded, InvalidSpec, NotAMessage
from actors.testing import Recorder
from tests.contracts.contract_actors import Gate, Worker
from tests.contracts.node_under_test import NodeUnderTest


class Database(sqlite3.Connection):
    """One that nobody closes where its actor is killed, of which Python 3.13 and later would warn."""

    def __del__(self) -> None:
        pass


class Ledger(Actor, blocking=True, on_error={LookupError: OnError.RESUME}):
    """Keeps rows in a database that only its own thread may use."""

    def __init__(self, probe: Ref[Recorder] | None = None) -> None:
        self.probe = probe
        self.db = sqlite3.connect(":memory:", isolation_level=None, factory=Database)
        self.thread = threading.get_ident()
        decimal.setcontext(decimal.Context(prec=3))

    def on_start(self) -> None:
        self.db.execute("CREATE TABLE rows (value)")

    def on_stop(self, exit: Exit) -> None:  # noqa: A002 - the hook's name
        rows = self.db.execute("SELECT count(*) FROM rows").fetchone()[0]
        self.db.close()
        self.say(("stopped", str(exit), rows))

    def on_exit(self, ref: Ref[Any], exit: Exit) -> None:  # noqa: A002, ARG002 - as above
        assert threading.get_ident() == self.thread
        self.say(("exit", str(exit)))

    def say(self, value: Any) -> None:
        if self.probe is not None:
            self.context.blocking(self.probe).tell(Recorder.record, value)

    def add(self, value: Any) -> int:
        self.db.execute("INSERT INTO rows VALUES (?)", (value,))
        return self.count()

    def count(self) -> int:
        found: int = self.db.execute("SELECT count(*) FROM rows").fetchone()[0]
        return found

    def rows(self) -> Iterator[Any]:
        try:
            for (value,) in self.db.execute("SELECT value FROM rows"):
                yield value
        finally:
            self.say("closed")

    @batched(most=3, within=5)
    def add_many(self, values: list[Any]) -> list[int | Exception]:
        self.db.executemany("INSERT INTO rows VALUES (?)", [(value,) for value in values])
        return [len(values)] * len(values)

    def where(self) -> tuple[str, bool, bool, str, str]:
        here = threading.current_thread()
        mine = threading.get_ident() == self.thread
        third = str(decimal.Decimal(1) / 3)
        return here.name, mine, here is threading.main_thread(), current().node.name, third

    def sleep(self, seconds: float, label: Any = None) -> Any:
        self.say(("sleeps", label))
        time.sleep(seconds)
        self.say(("slept", label))
        return label

    def sleep_until(self, path: Path) -> None:
        self.say("sleeps")
        while not path.exists():
            time.sleep(0.01)

    def fail(self, error: BaseException) -> None:
        raise error

    def ask(self, other: Ref[Any], method: str) -> Any:
        return self.context.blocking(other).ask(getattr(Worker, method))

    def ask_self(self) -> Any:
        return self.context.blocking(self.context.ref).ask(Ledger.count)

    def tell_self(self, times: int) -> None:
        for _ in range(times):
            self.context.ref.tell_nowait(Ledger.add, "self")

    def spawn(self) -> Ref[Worker]:
        return self.context.run(lambda: self.context.spawn(Worker))

    def watch(self, ref: Ref[Any]) -> None:
        self.context.watch(ref)

    def later(self) -> None:
        self.context.timers.once(0.01, Ledger.say, "later")

    def stop(self) -> None:
        self.context.stop()

    def wait_at(self, gate: Ref[Gate]) -> None:
        self.say("waits")
        self.context.blocking(gate).ask(Gate.wait)

    def incarnation(self) -> int:
        return self.context.incarnation


async def test_its_constructor_hooks_and_methods_run_in_one_thread_of_its_own(
    node: NodeUnderTest,
) -> None:
    ledger = await node.spawn(Ledger, node.probe.ref)
    with anyio.fail_after(10):
        assert [await ledger.ask(Ledger.add, n) for n in range(3)] == [1, 2, 3]
        name, mine, is_main, where, third = await ledger.ask(Ledger.where)
        assert (name, mine, is_main, where) == (ledger.name, True, False, ledger.node)
        assert third == "0.333"  # what the constructor set in its context is still there
        await ledger.stop()
        await node.probe.expect(("stopped", "SHUTDOWN", 3))


async def test_a_call_that_blocks_stalls_nobody_else(node: NodeUnderTest) -> None:
    ledger = await node.spawn(Ledger, node.probe.ref)
    worker = await node.spawn(Worker)
    with anyio.fail_after(10):
        await ledger.tell(Ledger.sleep, 0.3)
        await node.probe.expect(("sleeps", None))
        assert await worker.ask(Worker.add, 1, 2) == 3
        assert len(node.probe.heard) == 1
        await node.probe.expect(("slept", None))


async def test_its_errors_go_by_the_laws_of_every_actor(node: NodeUnderTest) -> None:
    ledger = await node.spawn(Ledger)
    with anyio.fail_after(10):
        await ledger.ask(Ledger.add, 1)
        with pytest.raises(KeyError):
            await ledger.ask(Ledger.fail, KeyError("asked"))
        await ledger.tell(Ledger.fail, KeyError("by the table of the class"))
        assert await ledger.ask(Ledger.count) == 1
        with pytest.raises(RuntimeError):
            await ledger.ask(Ledger.fail, StopIteration())
        await ledger.tell(Ledger.fail, ValueError("told"))
        # A new incarnation has a new thread and a new connection.
        assert await ledger.ask(Ledger.count) == 0
        assert await ledger.ask(Ledger.incarnation) == 2
        assert (await ledger.ask(Ledger.where))[:2] == (ledger.name, True)


async def test_its_methods_reach_others_by_blocking_verbs(node: NodeUnderTest) -> None:
    ledger, worker = await node.spawn(Ledger, node.probe.ref), await node.spawn(Worker)
    with anyio.fail_after(10):
        assert await ledger.ask(Ledger.ask, worker, "incarnation") == 1
        with pytest.raises(CallCycle):
            await ledger.ask(Ledger.ask_self)
        child = await ledger.ask(Ledger.spawn)
        assert await child.ask(Worker.add, 1, 2) == 3
        await ledger.ask(Ledger.watch, child)
        await child.stop()
        await node.probe.expect(("exit", "SHUTDOWN"))
        await ledger.ask(Ledger.later)
        await node.probe.expect("later")


async def test_it_tells_itself_past_the_bound_and_stops_itself(node: NodeUnderTest) -> None:
    ledger = await node.spawn(Ledger, node.probe.ref, mailbox=2)
    with anyio.fail_after(10):
        await ledger.ask(Ledger.tell_self, 5)
        assert await ledger.ask(Ledger.count) == 5
        await ledger.tell(Ledger.stop)
        await node.probe.expect(("stopped", "NORMAL", 5))
        assert (await ledger.wait()).kind is ExitKind.NORMAL


async def test_a_generator_is_a_stream_that_runs_in_the_thread(node: NodeUnderTest) -> None:
    ledger = await node.spawn(Ledger, node.probe.ref)
    with anyio.fail_after(10):
        for n in range(30):
            await ledger.tell(Ledger.add, n)
        async with ledger.stream(Ledger.rows) as items:
            assert [item async for item in items] == list(range(30))
        await node.probe.expect("closed")
        async with ledger.stream(Ledger.rows) as items:
            assert await anext(items) == 0
            assert await ledger.ask(Ledger.count) == 30
        await node.probe.expect("closed")
        with pytest.raises(NotAMessage, match=r"Ledger.rows is a generator: open it with stream"):
            await ledger.ask(Ledger.rows)
        with pytest.raises(NotAMessage, match=r"Ledger.count is not a generator: use ask or tell"):
            async with ledger.stream(Ledger.count):  # type: ignore[arg-type] # on purpose
                pass


async def test_it_takes_batches(node: NodeUnderTest) -> None:
    ledger = await node.spawn(Ledger)
    replies: list[int] = []

    async def add(value: int) -> None:
        replies.append(await ledger.ask(Ledger.add_many, value))

    with anyio.fail_after(4):
        async with anyio.create_task_group() as tasks:
            for value in range(3):
                tasks.start_soon(add, value)
    assert replies == [3, 3, 3]


async def test_the_call_of_a_cancelled_asker_goes_on_and_queued_ones_never_run(
    node: NodeUnderTest,
) -> None:
    ledger = await node.spawn(Ledger, node.probe.ref)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ledger.ask, Ledger.sleep, 0.2, "runs")
            await node.probe.expect(("sleeps", "runs"))
            tasks.start_soon(ledger.ask, Ledger.sleep, 0, "queued")
            tasks.cancel_scope.cancel()
        with pytest.raises(DeadlineExceeded):
            await ledger.within(0.01).ask(Ledger.sleep, 0, "expired")
        assert await ledger.ask(Ledger.sleep, 0, "next") == "next"
        while await node.probe.next() != ("slept", "next"):
            pass
    heard = [value for value in node.probe.heard if value[0] == "slept"]
    assert heard == [("slept", "runs"), ("slept", "next")]


async def test_a_kill_ends_a_call_that_waits_for_another_actor(node: NodeUnderTest) -> None:
    ledger, gate = await node.spawn(Ledger, node.probe.ref), await node.gate()
    with anyio.fail_after(4):
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                with pytest.raises(ActorCrashed):
                    await ledger.ask(Ledger.wait_at, gate)

            tasks.start_soon(ask)
            await node.probe.expect("waits")
            ledger.kill()
        # The next incarnation begins when the thread of this one has ended.
        assert await ledger.ask(Ledger.incarnation) == 2


async def test_a_kill_fails_the_asker_at_once_and_waits_for_the_call(
    node: NodeUnderTest, tmp_path: Path
) -> None:
    ledger = await node.spawn(Ledger, node.probe.ref)
    with anyio.fail_after(4):
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                with pytest.raises(ActorCrashed):
                    await ledger.ask(Ledger.sleep_until, tmp_path / "over")
                (tmp_path / "over").touch()

            tasks.start_soon(ask)
            await node.probe.expect("sleeps")
            await ledger.stop(grace=0)
        assert (await ledger.wait()).kind is ExitKind.KILLED


def test_what_would_have_to_be_awaited_is_refused_where_the_class_is_defined() -> None:
    with pytest.raises(InvalidSpec, match=r"Torn.add is async, and Torn is blocking"):

        class Torn(Actor, blocking=True):
            async def add(self) -> None: ...

    with pytest.raises(InvalidSpec, match=r"Hooked.on_start is async"):

        class Hooked(Actor, blocking=True):
            async def on_start(self) -> None: ...

    with pytest.raises(InvalidSpec, match=r"Mixed.tell is async"):

        class Mixed(Worker, blocking=True): ...

    with pytest.raises(InvalidSpec, match=r"Softer: its base class is blocking"):

        class Softer(Ledger, blocking=False): ...

    with pytest.raises(InvalidSpec, match=r"Plain.add is batched and no async def"):

        class Plain(Actor):
            @batched()
            def add(self, values: list[int]) -> list[int]:
                return values


async def test_only_a_blocking_actor_has_blocking_verbs(node: NodeUnderTest) -> None:
    worker = await node.spawn(Asks)
    with pytest.raises(Exception, match="is not blocking: await the verbs of a ref"):
        await worker.ask(Asks.itself)


class Asks(Actor):
    async def itself(self) -> None:
        self.context.blocking(self.context.ref)
