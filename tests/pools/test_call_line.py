"""The line of a worker: calls in order in one thread, and what becomes of those that have not begun."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
import pytest

from actors import Ref, SharedBuffer, System, Topology
from actors._pools import FunctionWorker, LineReader, call_line
from actors._pools.call_line import CallLine, NotBegun
from actors._pools.line_journal import JOURNAL_SIZE, LineJournal
from actors.errors import ActorCrashed, ActorStopped, TaskExited
from actors.testing import eventually, running_system

pytestmark = pytest.mark.within(60)

gates: dict[str, threading.Event] = {}
called: list[Any] = []


def note(what: Any) -> tuple[Any, str]:
    called.append(what)
    return what, threading.current_thread().name


def wait(gate: str) -> str:
    """Return when the test opens a gate."""
    called.append(gate)
    assert gates.setdefault(gate, threading.Event()).wait(20)
    return gate


def leave(code: int) -> None:
    raise SystemExit(code)


def same(what: Any) -> Any:
    return what


def fail(what: str) -> None:
    raise ValueError(what)


async def _later(what: str) -> str:
    called.append(what)
    await anyio.sleep(0.01 if what == "soon" else 30)
    return what


def later(what: str) -> Any:
    return _later(what)


class Line:
    """Asks a worker for calls in line, each in a task of its own, and keeps how each ended."""

    def __init__(self, ref: Ref[FunctionWorker], journal: LineReader, tasks: Any) -> None:
        self.ref = ref
        self.journal = journal
        self.ends: dict[int, Any] = {}
        self._tasks = tasks
        self._number = 0

    async def put(self, fn: Callable[..., Any], *args: Any) -> anyio.CancelScope:
        """Ask for a call; return what cancels the ask, which has been sent."""
        self._number += 1
        scope = anyio.CancelScope()
        await self._tasks.start(self._ask, scope, fn, args, self._number)
        return scope

    async def _ask(
        self, scope: anyio.CancelScope, fn: Any, args: Any, number: int, *, task_status: Any
    ) -> None:
        task_status.started()
        with scope:
            try:
                asked = await self.ref.ask(FunctionWorker.call_in_line, fn, args, number)
                self.ends[number] = asked
            except Exception as error:  # noqa: BLE001 - the test looks at it
                self.ends[number] = error

    async def ended(self, *numbers: int) -> list[Any]:
        await eventually(lambda: all(number in self.ends for number in numbers))
        return [self.ends[number] for number in numbers]


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with running_system(Topology()) as system:
        yield system


@pytest.fixture
async def line(system: System) -> AsyncIterator[Line]:
    called.clear()
    gates.clear()
    ref = await system.spawn(FunctionWorker)
    journal = LineReader(await ref.ask(FunctionWorker.journal))
    async with anyio.create_task_group() as tasks:
        yield Line(ref, journal, tasks)
        for gate in gates.values():
            gate.set()
        tasks.cancel_scope.cancel()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is given back because the machine is slow."""
    monkeypatch.setattr(call_line, "_PATIENCE", 60)


async def runs(what: Any) -> None:
    await eventually(lambda: what in called)


@pytest.mark.usefixtures("patient")
async def test_calls_are_made_in_order_in_one_thread_and_each_has_its_own_answer(
    line: Line,
) -> None:
    for what in range(20):
        await line.put(note, what)
    await line.put(fail, "bad")
    await line.put(note, "last")
    *ends, error, last = await line.ended(*range(1, 23))
    assert called == [*range(20), "last"]
    assert [end[0] for end in ends] == list(range(20))
    assert len({end[1] for end in (*ends, last)}) == 1
    assert isinstance(error, ValueError)
    assert error.args == ("bad",)


async def test_what_waits_behind_a_call_that_takes_long_is_given_back(line: Line) -> None:
    await line.put(wait, "long")
    await runs("long")
    await line.put(note, "behind")
    await line.put(note, "last")
    ends = await line.ended(2, 3)
    assert [type(end) for end in ends] == [NotBegun, NotBegun]
    gates["long"].set()
    assert await line.ended(1) == ["long"]
    assert called == ["long"]


async def test_the_journal_says_which_call_has_begun_and_how_long_they_ran(line: Line) -> None:
    assert (line.journal.begun, line.journal.run) == (0, (0, 0))
    await line.put(note, "first")
    await line.ended(1)
    await line.put(wait, "second")
    await runs("second")
    assert line.journal.begun == 2
    calls, nanoseconds = line.journal.run
    assert calls == 1
    assert 0 < nanoseconds < 20e9


@pytest.mark.usefixtures("patient")
async def test_a_call_that_is_cancelled_before_it_begins_is_never_made(line: Line) -> None:
    await line.put(wait, "long")
    await runs("long")
    (await line.put(note, "cancelled")).cancel()
    await anyio.wait_all_tasks_blocked()
    gates["long"].set()
    await line.ended(1)
    await line.put(note, "after")
    await line.ended(3)
    assert called == ["long", "after"]


async def test_a_call_that_is_cancelled_while_it_runs_keeps_its_place(line: Line) -> None:
    scope = await line.put(wait, "long")
    await runs("long")
    scope.cancel()
    await anyio.wait_all_tasks_blocked()
    await line.put(note, "next")
    assert [type(end) for end in await line.ended(2)] == [NotBegun]
    gates["long"].set()
    await line.ref.ask(FunctionWorker.wait_over, "", 0)
    await line.put(note, "after")
    await line.ended(3)
    assert called == ["long", "after"]


@pytest.mark.usefixtures("patient")
async def test_a_call_that_exits_fails_and_what_is_behind_it_is_given_back(line: Line) -> None:
    await line.put(wait, "gate")
    await runs("gate")
    await line.put(leave, 3)
    await line.put(wait, "behind")
    gates["gate"].set()
    exited, behind = await line.ended(2, 3)
    assert isinstance(exited, TaskExited)
    assert isinstance(behind, NotBegun)


@pytest.mark.usefixtures("patient")
async def test_a_coroutine_that_a_plain_function_returns_runs_on_the_loop(line: Line) -> None:
    await line.put(later, "soon")
    assert await line.ended(1) == ["soon"]
    scope = await line.put(later, "forever")
    await runs("forever")
    scope.cancel()
    await line.put(note, "after")
    await line.ended(3)
    assert called == ["soon", "forever", "after"]


async def test_a_worker_that_is_stopped_answers_what_runs_first(line: Line) -> None:
    await line.put(wait, "long")
    await runs("long")
    ended: list[bool] = []

    async def end() -> None:
        await line.ref.wait()
        ended.append(1 in line.ends)

    async with anyio.create_task_group() as ending:
        ending.start_soon(end)
        await line.ref.stop()
        await anyio.sleep(0.05)  # in which it would end
        assert not ended
        gates["long"].set()
    assert ended == [True]
    assert await line.ended(1) == ["long"]
    with pytest.raises(ActorStopped):
        await line.ref.ask(FunctionWorker.call, note, ("after",))


@pytest.mark.usefixtures("patient")
async def test_a_worker_that_is_killed_begins_nothing_more(line: Line) -> None:
    await line.put(wait, "long")
    await runs("long")
    await line.put(note, "behind")
    await anyio.wait_all_tasks_blocked()
    line.ref.kill()
    ends = await line.ended(1, 2)
    assert isinstance(ends[0], ActorCrashed)
    assert isinstance(ends[1], ActorCrashed | ActorStopped | NotBegun)
    (thread,) = [one for one in threading.enumerate() if one.name == f"{line.ref.name} task"]
    gates["long"].set()
    await eventually(lambda: not thread.is_alive())
    assert called == ["long"]


async def test_another_call_waits_for_the_line(line: Line) -> None:
    await line.put(wait, "long")
    await runs("long")
    async with anyio.create_task_group() as asking:
        asking.start_soon(line.ref.ask, FunctionWorker.call, note, ("alone",))
        await anyio.wait_all_tasks_blocked()
        assert called == ["long"]
        gates["long"].set()
    assert called == ["long", "alone"]


def result_of(number: int) -> Any:
    called.append(number)
    return RESULTS[number]


RESULTS: list[Any] = [
    *(None, True, -7, 1.5, "text", "", 2**63 - 1),
    [1, "two", None],
    ([1, 2], None),
]


@pytest.mark.usefixtures("patient")
async def test_results_are_kept_until_their_replies_have_left(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    await line.put(wait, "gate")
    await runs("gate")
    for number in range(len(RESULTS)):
        await line.put(result_of, number)
    sent: list[int] = []
    monkeypatch.setattr(LineJournal, "sent", lambda _, number: sent.append(number))
    gates["gate"].set()
    ends = await line.ended(*range(1, 2 + len(RESULTS)))
    assert ends == ["gate", *RESULTS]
    assert line.journal.results() == dict(enumerate(ends, 1))
    assert sent[-1] == len(ends)


@pytest.mark.parametrize("cells", [(1 << 40,), (64, 2, -5), (64, 2, 1 << 50), (48, 1, 4, -1)])
def test_a_journal_that_something_has_written_over_has_no_results(cells: tuple[int, ...]) -> None:
    buffer = SharedBuffer(JOURNAL_SIZE)
    for index, cell in enumerate(cells):
        buffer.atomics.store(3 + index, cell)
    assert LineReader(buffer).results() in ({}, {0: 0})


def test_a_journal_begins_anew_when_all_has_left_and_refuses_what_has_no_room() -> None:
    buffer = SharedBuffer(JOURNAL_SIZE)
    journal, reader = LineJournal(buffer), LineReader(buffer)
    assert journal.keep(1, "x" * 40_000)
    assert not journal.keep(2, "y" * 40_000)
    assert list(reader.results()) == [1]
    journal.sent(2)
    assert journal.keep(3, "y" * 40_000)
    assert reader.results() == {3: "y" * 40_000}
    journal.sent(3)
    assert journal.keep(4, 4)
    assert journal.keep(5, 5)
    assert reader.results() == {4: 4, 5: 5}


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("what", [b"bytes", {"a": 1}, (1, 2), [[1]], 2**70, "x" * 70_000])
async def test_a_result_that_is_not_kept_has_left_before_the_next_call_begins(
    line: Line, monkeypatch: pytest.MonkeyPatch, what: Any
) -> None:
    order: list[Any] = []
    answer = CallLine._answer
    begin = LineJournal.begin

    def note_answer(line: CallLine, call: Any) -> None:
        order.append(call.number)
        answer(line, call)

    def note_begin(journal: LineJournal, number: int) -> None:
        order.append(-number)
        begin(journal, number)

    monkeypatch.setattr(CallLine, "_answer", note_answer)
    monkeypatch.setattr(LineJournal, "begin", note_begin)
    await line.put(wait, "gate")
    await runs("gate")
    await line.put(same, what)
    await line.put(note, "next")
    gates["gate"].set()
    ends = await line.ended(1, 2, 3)
    assert ends[1] == what
    assert order.index(2) < order.index(-3)
    assert 2 not in line.journal.results()
