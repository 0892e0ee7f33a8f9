"""`context.defer()` is the same on every kind of node: in order, with its asker, within the bound."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from actors import Actor, Exit, OnError, Ref, batched, concurrent
from actors.errors import ActorsError, ActorStopped, DeadlineExceeded, MailboxFull
from actors.testing import Recorder, eventually
from tests.contracts.contract_actors import Gate
from tests.contracts.node_under_test import NodeUnderTest

pytestmark = pytest.mark.within(20)


class Door(Actor, on_error={LookupError: OnError.RESUME}):
    """Lets nobody through before it is opened."""

    def __init__(self, probe: Ref[Recorder]) -> None:
        self.probe = probe
        self.opened = False
        self.tries = 0

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002, ARG002 - the hook's name
        try:
            self.context.defer()
        except ActorsError as error:
            with contextlib.suppress(ActorsError):  # it has ended, in most tests
                await self.probe.tell(Recorder.record, str(error))

    def _check(self) -> None:
        self.tries += 1
        if not self.opened:
            self.context.defer()

    async def enter(self, who: str) -> str:
        try:
            self._check()
        except Exception:  # noqa: BLE001 - a deferral is none
            return "caught"
        await self.probe.tell(Recorder.record, who)
        return f"{who} is in"

    @concurrent
    async def enter_beside(self, who: str) -> str:
        replies: list[str] = []
        async with anyio.create_task_group():  # which raises a group
            replies.append(await self.enter(who))
        return replies[0]

    @concurrent
    async def enter_slowly(self, gate: Ref[Gate]) -> str:
        try:
            self._check()
        finally:
            await gate.ask(Gate.wait)
        return "in at last"

    @concurrent
    async def enter_later(self, gate: Ref[Gate]) -> str:
        await gate.ask(Gate.wait)
        try:
            self._check()
        finally:
            await self.probe.tell(Recorder.record, "tried")
        return "in"

    @batched(most=4, within=0)
    async def enter_together(self, who: list[str]) -> list[str]:
        self._check()
        await self.probe.tell(Recorder.record, who)
        return [f"{one} is in" for one in who]

    async def queue(self, count: int) -> AsyncIterator[int]:
        self._check()
        for number in range(count):
            yield number

    async def late(self) -> AsyncIterator[int]:
        yield 1
        self.context.defer()

    async def in_a_task(self) -> str:
        caught: list[str] = []

        async def task() -> None:
            try:
                self.context.defer()
            except ActorsError as error:
                caught.append(str(error))
            done.set()

        done = anyio.Event()
        self.context.tasks.start_soon(task)
        await done.wait()
        return caught[0]

    async def enter_soon(self, who: str) -> None:
        self.context.timers.once(0, Door.enter, who)

    async def knock(self) -> int:
        return self.tries

    async def open(self) -> None:
        self.opened = True

    async def open_and_say(self) -> None:
        self.opened = True
        await self.probe.tell(Recorder.record, "opened")

    async def open_and_fail(self) -> None:
        await self.open_and_say()
        raise LookupError("the actor goes on")

    async def open_later(self, gate: Ref[Gate]) -> None:
        await gate.ask(Gate.wait)
        self.opened = True

    async def crash(self) -> None:
        raise RuntimeError("boom")


class Safe(Actor, blocking=True):
    """As `Door`, in a thread of its own."""

    def __init__(self) -> None:
        self.opened = False

    def take(self) -> str:
        if not self.opened:
            self.context.defer()
        return "taken"

    def open(self) -> None:
        self.opened = True


async def _door(node: NodeUnderTest, **options: Any) -> Ref[Door]:
    return await node.spawn(Door, node.probe.ref, **options)


async def test_what_is_deferred_comes_again_in_its_order_before_younger_messages(
    node: NodeUnderTest,
) -> None:
    door = await _door(node)
    for who in "abc":
        await door.tell(Door.enter, who)
    await door.tell(Door.open)
    await door.tell(Door.enter, "d")
    for who in "abcd":
        await node.probe.expect(who)


async def test_an_asker_waits_on_until_its_message_is_handled(node: NodeUnderTest) -> None:
    door, answers = await _door(node), {}

    async def ask(who: str) -> None:
        answers[who] = await door.ask(Door.enter, who)

    async with anyio.create_task_group() as tasks:
        for who in "ab":
            tasks.start_soon(ask, who)
        await eventually(lambda: door.ask(Door.knock))
        assert not answers
        await door.tell(Door.open)
    assert answers == {"a": "a is in", "b": "b is in"}


async def test_nothing_is_tried_again_while_nothing_else_is_handled(node: NodeUnderTest) -> None:
    door = await _door(node)
    for who in "abc":
        await door.tell(Door.enter, who)
    await door.tell(Door.knock)
    await anyio.sleep(0.1)  # time for a circle, if there was one
    tries = await door.ask(Door.knock)
    assert tries <= 9  # each of the three once more after each of two messages
    await anyio.sleep(0.1)
    assert await door.ask(Door.knock) == tries + 3


async def test_a_deadline_goes_on_and_a_cancelled_wait_withdraws_it(node: NodeUnderTest) -> None:
    door = await _door(node)
    with pytest.raises(DeadlineExceeded, match=r"no reply to enter in 0\.05 s"):
        await door.within(0.05).ask(Door.enter, "late")
    with anyio.move_on_after(0.05):
        await door.ask(Door.enter, "cancelled")
    await door.tell(Door.open)
    assert await door.ask(Door.enter, "in time") == "in time is in"
    await node.probe.expect("in time")


async def test_concurrent_handlers_defer_and_are_tried_when_another_has_ended(
    node: NodeUnderTest,
) -> None:
    door, answers = await _door(node), []

    async def ask(who: str) -> None:
        answers.append(await door.ask(Door.enter_beside, who))

    async with anyio.create_task_group() as tasks:
        for who in "ab":
            tasks.start_soon(ask, who)
        await eventually(lambda: door.ask(Door.knock))
        await anyio.sleep(0.05)
        tries = await door.ask(Door.knock)
        await anyio.sleep(0.05)
        assert await door.ask(Door.knock) <= tries + 2
        await door.tell(Door.open)
    assert sorted(answers) == ["a is in", "b is in"]


async def test_what_is_handled_while_a_handler_still_ends_counts_as_the_next_message(
    node: NodeUnderTest,
) -> None:
    door, gate, answers = await _door(node), await node.gate(), []

    async def ask() -> None:
        answers.append(await door.ask(Door.enter_slowly, gate))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await eventually(lambda: door.ask(Door.knock))
        await door.ask(Door.open)
        await gate.ask(Gate.open)
    assert answers == ["in at last"]


@pytest.mark.parametrize("opened_by", [Door.open_and_say, Door.open_and_fail])
async def test_the_first_message_behind_a_handler_that_still_ends_lets_it_come_again(
    node: NodeUnderTest, opened_by: Any
) -> None:
    door, gate, answers = await _door(node), await node.gate(), []

    async def ask() -> None:
        answers.append(await door.ask(Door.enter_slowly, gate))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await eventually(lambda: gate.ask(Gate.waiters))
        await door.tell(opened_by)
        await node.probe.expect("opened")
        await gate.ask(Gate.open)
    assert answers == ["in at last"]


async def test_a_handler_that_had_to_wait_counts_as_the_next_message(node: NodeUnderTest) -> None:
    door, first, second = await _door(node), await node.gate(), await node.gate()
    answers: list[str] = []

    async def enter() -> None:
        answers.append(await door.ask(Door.enter_later, first))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(enter)
        await eventually(lambda: first.ask(Gate.waiters))
        tasks.start_soon(door.ask, Door.open_later, second)
        await eventually(lambda: second.ask(Gate.waiters))
        await first.ask(Gate.open)
        await node.probe.expect("tried")
        await second.ask(Gate.open)
    assert answers == ["in"]


async def test_a_batch_is_deferred_call_by_call(node: NodeUnderTest) -> None:
    door = await _door(node)
    for who in "abc":
        await door.tell(Door.enter_together, who)
    await door.tell(Door.open)
    entered: list[str] = []
    while len(entered) < 3:
        entered += await node.probe.next()
    assert entered == ["a", "b", "c"]


async def test_a_stream_is_deferred_before_its_first_item_and_not_after_it(
    node: NodeUnderTest,
) -> None:
    door, items = await _door(node), []

    async def read() -> None:
        async with door.stream(Door.queue, 3) as numbers:
            items.extend([number async for number in numbers])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await eventually(lambda: door.ask(Door.knock))
        await door.tell(Door.open)
    assert items == [0, 1, 2]
    async with door.stream(Door.late) as numbers:
        assert await anext(numbers) == 1
        with pytest.raises(ActorsError, match="the stream late has begun: it can be deferred no"):
            await anext(numbers)


async def test_a_reader_that_leaves_withdraws_a_deferred_stream(node: NodeUnderTest) -> None:
    door = await _door(node)
    with anyio.move_on_after(0.05):
        async with door.stream(Door.queue, 3) as numbers:
            await anext(numbers)
    tries = await door.ask(Door.knock)
    await door.tell(Door.open)
    assert await door.ask(Door.knock) == tries


async def test_a_full_mailbox_keeps_one_place_for_what_the_others_wait_for(
    node: NodeUnderTest,
) -> None:
    door, refused = await _door(node, mailbox=3), []

    async def ask(who: str) -> None:
        try:
            refused.append(await door.ask(Door.enter, who))
        except MailboxFull as error:
            refused.append(error.why)

    async with anyio.create_task_group() as tasks:
        for who in "abc":
            tasks.start_soon(ask, who)
        await eventually(lambda: refused)
        assert refused == ["its mailbox is full of deferred messages"]
        await door.tell(Door.open)
    assert len(refused) == 3


async def test_what_is_deferred_is_answered_at_the_end_as_what_was_not_begun(
    node: NodeUnderTest,
) -> None:
    door, events = await _door(node, name="closing"), node.system.events()
    await door.tell(Door.enter, "told")

    async def stop() -> None:
        await eventually(lambda: door.ask(Door.knock))
        await door.stop()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop)
        with pytest.raises(ActorStopped):
            await door.ask(Door.enter, "asked")
    async for event in events:
        if event.kind == "dead_letter" and event.facts["actor"] == "closing":
            assert event.facts["message"] == "enter"
            break
    await node.probe.expect(
        "closing: only the handler of a message can defer it, not a hook or a task"
    )


async def test_what_is_deferred_outlives_a_restart_but_for_ticks_of_timers(
    node: NodeUnderTest,
) -> None:
    door = await _door(node)
    await door.ask(Door.enter_soon, "tick")
    await door.tell(Door.enter, "told")
    await eventually(lambda: door.ask(Door.knock))
    await door.tell(Door.crash)
    await door.tell(Door.open)
    await node.probe.next()  # of `on_stop`
    await node.probe.expect("told")
    assert await door.ask(Door.enter, "last") == "last is in"
    await node.probe.expect("last")


async def test_a_tick_is_deferred_like_any_message(node: NodeUnderTest) -> None:
    door = await _door(node)
    await door.ask(Door.enter_soon, "tick")
    await eventually(lambda: door.ask(Door.knock))
    await door.tell(Door.open)
    await node.probe.expect("tick")


async def test_a_blocking_actor_defers_too(node: NodeUnderTest) -> None:
    safe, answers = await node.spawn(Safe), []

    async def ask() -> None:
        answers.append(await safe.ask(Safe.take))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await anyio.sleep(0.05)
        assert not answers
        await safe.tell(Safe.open)
    assert answers == ["taken"]


async def test_a_task_cannot_defer(node: NodeUnderTest) -> None:
    door = await _door(node, name="tasks")
    why = await door.ask(Door.in_a_task)
    assert why == "tasks: only the handler of a message can defer it, not a hook or a task"


async def test_what_the_bound_has_no_place_for_is_lost_loudly_and_costs_no_credit(
    node: NodeUnderTest,
) -> None:
    door, events = await _door(node, mailbox=20, name="crowded"), node.system.events()
    for number in range(100):
        await door.tell(Door.enter, str(number))
    await door.tell(Door.open)
    for number in range(100, 200):
        await door.tell(Door.enter, str(number))
    assert await door.ask(Door.enter, "last") == "last is in"
    for number in (*range(19), *range(100, 200)):
        await node.probe.expect(str(number))
    lost = 0
    async for event in events:
        if event.kind == "dead_letter" and event.facts["actor"] == "crowded":
            assert event.facts["reason"] == "its mailbox is full of deferred messages"
            lost += event.facts.get("count", 1)
            if lost == 81:
                break
