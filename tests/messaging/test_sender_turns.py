"""The turns of senders that wait for room: in order, of some messages each, never past the bound."""

from __future__ import annotations

from itertools import count, groupby
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest

import actors
from actors import Actor, Ref, System
from actors._messaging import sender_turns
from actors._messaging.mailbox import Mailbox
from actors._messaging.mailbox_options import Bounded, Priority
from actors._messaging.sender_turns import longest_turn
from actors.errors import MailboxFull
from tests.messaging.test_mailbox import HandWaiter, goes_on, message, numbers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

PLACES = 1024
TURN = longest_turn(PLACES)

GATES: list[anyio.Event] = []
"""The last one is that of the reader that is full."""


class Reader(Actor):
    """Notes what it gets once its gate is open, and how many messages waited in its mailbox at most."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []
        self.most = 0

    async def hold(self) -> None:
        await GATES[-1].wait()

    async def note(self, who: str, number: int) -> None:
        ref = self.context.ref
        self.most = max(self.most, ref.host.backlog(ref) - 1)
        self.seen.append((who, number))

    async def result(self) -> tuple[list[tuple[str, int]], int]:
        return self.seen, self.most


class Stranger(Actor):
    """Sends without waiting, and says whether it could."""

    def __init__(self, reader: Ref[Reader]) -> None:
        self.reader = reader

    async def intrude(self) -> str:
        try:
            self.reader.tell_nowait(Reader.note, "stranger", 0)
        except MailboxFull:
            return "full"
        return "sent"


class Feeder(Actor):
    """Its handlers run beside each other, and send to the same actor."""

    def __init__(self, reader: Ref[Reader]) -> None:
        self.reader = reader
        self.sent = count()

    @actors.concurrent
    async def feed(self, messages: int) -> None:
        for _ in range(messages):
            await self.reader.tell(Reader.note, self.context.name, next(self.sent))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every actor is quick enough for turns, however busy the machine is."""
    monkeypatch.setattr(sender_turns, "SECONDS_PER_TURN", 1e9)


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with System() as system:
        yield system


async def _full_reader(system: System) -> Ref[Reader]:
    GATES.append(anyio.Event())
    reader = await system.spawn(Reader, mailbox=PLACES)
    await reader.tell(Reader.hold)
    await anyio.wait_all_tasks_blocked()
    for number in range(PLACES):
        reader.tell_nowait(Reader.note, "first", number)
    return reader


def _by_sender(seen: list[tuple[str, int]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for who, number in seen:
        found.setdefault(who, []).append(number)
    return found


async def test_senders_that_wait_send_some_messages_in_a_row_each_in_its_own_order(
    system: System,
) -> None:
    reader = await _full_reader(system)

    async def send(who: str) -> None:
        for number in range(60):
            await reader.tell(Reader.note, who, number)

    async with anyio.create_task_group() as tasks:
        for who in range(200):
            tasks.start_soon(send, f"sender {who}")
        await anyio.wait_all_tasks_blocked()
        GATES[-1].set()

    seen, most = await reader.ask(Reader.result)
    of_sender = _by_sender(seen)
    assert of_sender.pop("first") == list(range(PLACES))
    assert list(of_sender.values()) == [list(range(60))] * 200
    rows = [len(list(row)) for _, row in groupby(who for who, _ in seen[PLACES:])]
    # The one that waited comes ahead of its turn, and with batches of others in between.
    assert max(rows) in {TURN - 1, TURN}
    assert len(rows) < 200 * 60 / 4
    assert most <= PLACES


async def test_nobody_else_passes_those_who_wait(system: System) -> None:
    reader = await _full_reader(system)
    stranger = await system.spawn(Stranger, reader)
    await stranger.wait_ready()
    answers: list[str] = []

    async def send(who: int) -> None:
        for number in range(20):
            await reader.tell(Reader.note, f"sender {who}", number)
            if who % 10 == 0 and number == 1:
                # On asyncio its handler runs in this step, in which the turn goes on.
                answers.append(await stranger.ask(Stranger.intrude))

    async with anyio.create_task_group() as tasks:
        for who in range(400):
            tasks.start_soon(send, who)
        await anyio.wait_all_tasks_blocked()
        GATES[-1].set()

    seen, _ = await reader.ask(Reader.result)
    still_in_line = answers[: len(answers) // 2]
    assert set(still_in_line) == {"full"}
    assert len(seen) == PLACES + 400 * 20 + answers.count("sent")


async def test_the_messages_of_an_actor_keep_their_order_whichever_handler_sends_them(
    system: System,
) -> None:
    reader = await _full_reader(system)
    feeders = [await system.spawn(Feeder, reader) for _ in range(3)]

    async with anyio.create_task_group() as tasks:
        for feeder in feeders:
            for _ in range(60):
                tasks.start_soon(feeder.ask, Feeder.feed, 30)
        await anyio.wait_all_tasks_blocked()
        GATES[-1].set()

    seen, _ = await reader.ask(Reader.result)
    of_sender = _by_sender(seen)
    assert len(of_sender) == 1 + len(feeders)
    for received in of_sender.values():
        assert received == sorted(received)


async def test_senders_that_are_cancelled_in_their_turns_hold_up_nobody(system: System) -> None:
    reader = await _full_reader(system)
    sent: list[tuple[str, int]] = []

    async def send(who: str, scope: anyio.CancelScope) -> None:
        with scope:
            for number in range(100):
                await reader.tell(Reader.note, who, number)
                sent.append((who, number))
                if number == 3 and int(who) % 3 == 0:
                    scopes[int(who) + 1].cancel()

    scopes = [anyio.CancelScope() for _ in range(301)]
    async with anyio.create_task_group() as tasks:
        for place, scope in enumerate(scopes[:300]):
            tasks.start_soon(send, str(place), scope)
        await anyio.wait_all_tasks_blocked()
        GATES[-1].set()

    seen, most = await reader.ask(Reader.result)
    of_sender = _by_sender(seen)
    del of_sender["first"]
    assert most <= PLACES
    for who, received in of_sender.items():
        assert received == list(range(len(received)))
        assert len(received) == 100 or int(who) % 3 == 1
    # What was sent was received; a message whose sender was cancelled as it was let in may be one more.
    assert set(sent) <= set(seen)
    assert len(seen) - PLACES - len(sent) <= 100


# -- without a loop --------------------------------------------------------------------------


class HandLoop:
    """A loop whose calls the test makes, and whose current task it sets."""

    def __init__(self) -> None:
        self.task: object = None
        self.calls: list[Callable[[], object]] = []

    def current_task(self) -> object:
        return self.task

    def call_soon(self, fn: Callable[[], object]) -> None:
        self.calls.append(fn)

    def next_pass(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Line:
    """A full mailbox of 128 places, whose turns have four messages, and senders that the test drives."""

    def __init__(self, bounds: Bounded | None = None) -> None:
        self.loop = HandLoop()
        self.mailbox = Mailbox(bounds or Bounded(128), HandWaiter)
        for number in range(128):
            self.mailbox.put(message(number))
        self.line = self.mailbox.waiting_room(cast("Any", self.loop))
        if self.line.turns is not None:
            self.line.turns.pace(1, 0.0)
        self.senders: list[Coroutine[Any, Any, None]] = []

    def wait(self, number: int, actor: object = None) -> None:
        sender = self.line.wait_for_room(message(number), leaves=False, actor=actor)
        sender.send(None)
        self.senders.append(sender)

    def take(self, times: int) -> None:
        for _ in range(times):
            self.mailbox.take()

    def run(self, sender: int) -> bool:
        """Run the task of a sender; return whether it was let in."""
        self.loop.task = sender
        return goes_on(self.senders[sender])

    def sends_more(self) -> int:
        """Send as much as the calling task may ahead of the others; return how much that was."""
        sent = 0
        while len(self.mailbox.queue) < self.mailbox.limit and self.line.goes_on():
            self.mailbox.put(message(1000))
            sent += 1
        return sent

    def close(self) -> None:
        for sender in self.senders:
            sender.close()


def test_the_places_of_a_turn_are_kept_for_its_sender() -> None:
    line = Line()
    for number in (200, 201):
        line.wait(number)
    line.take(4)
    assert line.run(0)
    assert not goes_on(line.senders[1])
    assert line.sends_more() == 3
    assert numbers(line.mailbox)[-4:] == [200, 1000, 1000, 1000]
    line.close()


def test_what_a_turn_leaves_goes_to_the_others_in_the_next_pass_of_the_loop() -> None:
    line = Line()
    for number in (200, 201):
        line.wait(number)
    line.take(2)
    assert line.run(0)
    assert not goes_on(line.senders[1])
    line.loop.next_pass()
    assert line.run(1)
    assert numbers(line.mailbox)[-2:] == [200, 201]


def test_a_turn_is_of_one_task() -> None:
    line = Line()
    for number in (200, 201):
        line.wait(number)
    line.take(4)
    assert line.run(0)
    line.loop.task = "another"
    assert line.sends_more() == 0
    line.close()


def test_the_next_turn_ends_the_one_before() -> None:
    line = Line()
    for number in (200, 201, 202):
        line.wait(number)
    line.take(5)
    assert line.run(0)
    assert line.run(1)
    line.loop.task = 0
    assert line.sends_more() == 0
    line.loop.task = 1
    assert line.sends_more() == 3
    line.close()


def test_a_sender_that_was_cancelled_as_it_was_let_in_leaves_its_turn_to_the_others() -> None:
    line = Line()
    for number in (200, 201):
        line.wait(number)
    line.take(2)
    with pytest.raises(LookupError):
        line.senders[0].throw(LookupError("cancelled"))
    line.loop.next_pass()
    assert line.run(1)
    assert numbers(line.mailbox)[-2:] == [200, 201]


def test_an_actor_of_which_another_message_waits_has_no_turn() -> None:
    line = Line()
    for number, actor in ((200, "a"), (201, "b"), (202, "a")):
        line.wait(number, actor)
    line.take(4)
    assert line.run(0)
    assert line.sends_more() == 0
    line.loop.next_pass()
    assert line.run(1)
    assert line.sends_more() == 2
    line.close()


def test_who_looks_whether_a_sender_still_waits_is_not_told_so_because_of_turns() -> None:
    line = Line()
    waiting = [message(200), message(201)]
    for one in waiting:
        sender = line.line.wait_for_room(one, leaves=False)
        sender.send(None)
        line.senders.append(sender)
    line.take(2)
    assert not line.line.is_waiting(waiting[1])
    assert line.run(0)
    assert line.sends_more() == 0
    assert line.run(1)


def test_a_turn_is_as_many_messages_as_the_actor_handles_in_a_tenth_of_a_millisecond(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sender_turns, "SECONDS_PER_TURN", 1e-4)
    line = Line()
    turns = line.line.turns
    assert turns is not None
    for seconds, places in ((64 * 1e-3, 1), (64 * 4e-5, 2), (64 * 1e-6, 4), (0.0, 4)):
        turns.pace(64, seconds)
        turns.promise(sender := object())
        assert turns.held == places - 1
        turns.forgo(sender)


@pytest.mark.parametrize("bounds", [Bounded(63), Priority(1024)])
def test_small_mailboxes_and_those_with_priorities_have_no_turns(bounds: Bounded) -> None:
    mailbox = Mailbox(bounds, HandWaiter)
    loop: Any = HandLoop()
    assert mailbox.waiting_room(loop).turns is None
