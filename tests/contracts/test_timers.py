"""Timers are the same on every kind of node: in mailbox order, never piling up, gone with the incarnation."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors import Actor, Exit, Ref, Restart, concurrent
from actors.errors import NotAMessage, NotSendable
from actors.testing import Recorder
from tests.contracts.contract_actors import Gate
from tests.contracts.node_under_test import NodeUnderTest

SOON = 0.01


class Clock(Actor):
    """Sets the timers it is told to and reports their ticks."""

    def __init__(self, probe: Ref[Recorder]) -> None:
        self.probe = probe

    async def note(self, value: Any) -> None:
        await self.probe.tell(Recorder.record, value)

    async def spoil(self, values: list[Any]) -> None:
        await self.note(list(values))
        values.append("spoilt")

    @concurrent
    async def note_beside(self, value: Any) -> None:
        await self.note(value)

    async def numbers(self) -> Any:
        yield 1

    async def crash(self, text: str = "boom") -> None:
        raise RuntimeError(text)

    async def once(self, seconds: float, value: Any, key: Any = None) -> Any:
        return self.context.timers.once(seconds, Clock.note, value, key=key)

    async def every(self, seconds: float, value: Any, key: Any = None) -> Any:
        return self.context.timers.every(seconds, Clock.note, value, key=key)

    async def spoil_every(self, seconds: float) -> None:
        values = ["given"]
        self.context.timers.every(seconds, Clock.spoil, values)
        values.append("changed afterwards")

    async def idle(self, seconds: float, value: Any, key: Any = None) -> Any:
        return self.context.timers.idle(seconds, Clock.note, value, key=key)

    async def once_beside(self) -> None:
        self.context.timers.once(0, Clock.note_beside, value="beside")

    async def crash_soon(self) -> None:
        self.context.timers.once(0, Clock.crash, "by a timer")

    async def cancel(self, key: Any) -> bool:
        return self.context.timers.cancel(key)

    async def hold(self, gate: Ref[Gate]) -> None:
        await self.note("held")
        await gate.ask(Gate.wait)

    async def hold_with(self, gate: Ref[Gate], key: Any, *, end: str) -> None:
        """Let a tick get into the mailbox, then see to it that it is not wanted any more."""
        self.context.timers.once(0, Clock.note, "unwanted", key=key)
        await self.hold(gate)
        if end == "cancel":
            assert self.context.timers.cancel(key)
        elif end == "replace":
            self.context.timers.once(0, Clock.note, "wanted", key=key)
        else:
            raise RuntimeError(end)

    async def refused(self, what: str) -> str:
        methods: dict[str, Any] = {
            "hook": Actor.on_start,
            "stream": Clock.numbers,
            "other": Gate.open,
            "text": "note",
            "unhashable": [],
        }
        try:
            self.context.timers.once(0, methods[what])
        except NotAMessage as error:
            return str(error)
        return "taken"

    async def unsendable(self) -> str:
        self.context.timers.once(SOON, Clock.note, "kept", key="key")
        try:
            self.context.timers.every(SOON, Clock.note, [anyio.Lock()], key="key")
        except NotSendable as error:
            return error.path
        return "taken"

    async def seconds(self, verb: str, value: Any) -> str:
        try:
            getattr(self.context.timers, verb)(value, Clock.note, "never")
        except ValueError as error:
            return str(error)
        return "taken"


class Late(Actor):
    """Sets a timer when it is too late for one."""

    def __init__(self, probe: Ref[Recorder]) -> None:
        self.probe = probe

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002 - the hook's name
        try:
            self.context.timers.once(0, Late.never)
        except RuntimeError as error:
            await self.probe.tell(Recorder.record, f"{exit}: {error}")

    async def never(self) -> None: ...


async def _clock(node: NodeUnderTest, **options: Any) -> Ref[Clock]:
    return await node.spawn(Clock, node.probe.ref, **options)


async def test_a_timer_sends_one_message_and_its_key_is_free_again(node: NodeUnderTest) -> None:
    clock = await _clock(node)
    with anyio.fail_after(5):
        assert await clock.ask(Clock.once, 0, "now", "key") == "key"
        await node.probe.expect("now")
        assert await clock.ask(Clock.cancel, "key") is False


async def test_timers_go_off_in_the_order_of_their_time(node: NodeUnderTest) -> None:
    clock = await _clock(node)
    with anyio.fail_after(5):
        keys = [await clock.ask(Clock.once, n * 0.05, n) for n in (3, 1, 2)]
        assert len(set(keys)) == 3
        for n in (1, 2, 3):
            await node.probe.expect(n)


async def test_a_timer_that_repeats_goes_on_until_it_is_cancelled(node: NodeUnderTest) -> None:
    clock = await _clock(node)
    with anyio.fail_after(5):
        key = await clock.ask(Clock.every, SOON, "tick")
        for _ in range(3):
            await node.probe.expect("tick")
        assert await clock.ask(Clock.cancel, key) is True
        await clock.ask(Clock.note, "cancelled")
        await clock.ask(Clock.once, 5 * SOON, "much later")
        # One may have come between the third and the cancellation.
        while await node.probe.next() != "cancelled":
            pass
        assert await node.probe.next() == "much later"


async def test_a_tick_stands_in_line_and_passes_the_bound(node: NodeUnderTest) -> None:
    clock, gate = await _clock(node, mailbox=2), await node.gate()
    with anyio.fail_after(5):
        await clock.ask(Clock.once, 5 * SOON, "tick")
        await clock.tell(Clock.hold, gate)
        await clock.tell(Clock.note, 1)
        await clock.tell(Clock.note, 2)
        await node.probe.expect("held")
        await anyio.sleep(10 * SOON)
        await gate.ask(Gate.open)
        for expected in (1, 2, "tick"):
            await node.probe.expect(expected)


async def test_at_most_one_tick_waits_for_a_slow_actor(node: NodeUnderTest) -> None:
    clock, gate = await _clock(node), await node.gate()
    with anyio.fail_after(5):
        key = await clock.ask(Clock.every, SOON, "tick")
        await node.probe.expect("tick")
        await clock.tell(Clock.hold, gate)
        while await node.probe.next() != "held":
            pass
        await anyio.sleep(10 * SOON)
        await clock.tell(Clock.note, "queued behind the tick")
        await clock.tell(Clock.cancel, key)
        await gate.ask(Gate.open)
        while await node.probe.next() != "queued behind the tick":
            pass
    held = node.probe.heard.index("held")
    assert node.probe.heard[held:] == ["held", "tick", "queued behind the tick"]


@pytest.mark.parametrize("end", ["cancel", "replace", "restart"])
async def test_a_queued_tick_that_is_not_wanted_any_more_is_not_delivered(
    node: NodeUnderTest, end: str
) -> None:
    clock, gate = await _clock(node), await node.gate()
    with anyio.fail_after(5):
        # Not with ``ask``: a restart would fail it.
        await node.system.spawn(Opener, clock, gate, end, name=f"opener {end} {node.on}")
        await node.probe.expect("held")
        await anyio.sleep(5 * SOON)
        await gate.ask(Gate.open)
        if end == "replace":
            await node.probe.expect("wanted")
        await clock.ask(Clock.note, "after it")
        await node.probe.expect("after it")


class Opener(Actor):
    """Tells with a keyword."""

    def __init__(self, clock: Ref[Clock], gate: Ref[Gate], end: str) -> None:
        self.message = (clock, gate, end)

    async def on_start(self) -> None:
        clock, gate, end = self.message
        await clock.tell(Clock.hold_with, gate, "key", end=end)
        self.context.stop()


async def test_an_actor_is_told_once_when_no_message_came_and_again_after_the_next(
    node: NodeUnderTest,
) -> None:
    clock = await _clock(node)
    with anyio.fail_after(5):
        await clock.ask(Clock.idle, SOON, "idle", "key")
        await node.probe.expect("idle")
        await clock.tell(Clock.note, "awake")
        await node.probe.expect("awake")
        await node.probe.expect("idle")
        assert await clock.ask(Clock.cancel, "key")
        await clock.ask(Clock.once, 5 * SOON, "later")
        await node.probe.expect("later")


async def test_timers_end_with_their_incarnation(node: NodeUnderTest) -> None:
    clock = await _clock(node)
    with anyio.fail_after(5):
        await clock.ask(Clock.every, SOON, "tick", "key")
        await node.probe.expect("tick")
        await clock.tell(Clock.crash)
        assert await clock.ask(Clock.cancel, "key") is False
        heard = len(node.probe.heard)
        await clock.ask(Clock.once, 5 * SOON, "of the second one")
        while await node.probe.next() != "of the second one":
            pass
        assert len(node.probe.heard) == heard + 1


async def test_a_stopped_actor_hears_no_more_ticks_and_sets_no_more_timers(
    node: NodeUnderTest,
) -> None:
    late = await node.spawn(Late, node.probe.ref)
    with anyio.fail_after(5):
        await late.stop()
        await node.probe.expect(f"SHUTDOWN: {late.name} has ended: it sets no more timers")
        assert await late.wait() == Exit.SHUTDOWN


async def test_a_tick_that_raises_crashes_the_actor(node: NodeUnderTest) -> None:
    clock = await _clock(node, restart=Restart.TEMPORARY)
    with anyio.fail_after(5):
        await clock.ask(Clock.crash_soon)
        assert str(await clock.wait()) == "CRASHED(RuntimeError: by a timer)"


async def test_a_tick_of_a_concurrent_handler_runs_beside_the_others(node: NodeUnderTest) -> None:
    clock = await _clock(node)
    with anyio.fail_after(5):
        await clock.ask(Clock.once_beside)
        await node.probe.expect("beside")


async def test_each_tick_gets_the_arguments_as_they_were_at_the_call(node: NodeUnderTest) -> None:
    clock = await _clock(node)
    with anyio.fail_after(5):
        await clock.ask(Clock.spoil_every, SOON)
        for _ in range(3):
            await node.probe.expect(["given"])


@pytest.mark.parametrize(
    "what,why",
    [
        ("hook", "Actor.on_start is a hook of Actor: only public async methods"),
        ("stream", "Clock.numbers is an async generator: open it with stream()"),
        ("other", "Gate.open is not a method of Clock: only public async methods"),
        ("text", "a message is a method of the class, like Clock.note; got 'note' (str)"),
        ("unhashable", "a message is a method of the class, like Clock.note; got [] (list)"),
    ],
)
async def test_what_is_no_message_is_refused_where_the_timer_is_set(
    node: NodeUnderTest, what: str, why: str
) -> None:
    clock = await _clock(node)
    with anyio.fail_after(5):
        assert (await clock.ask(Clock.refused, what)).startswith(why)


async def test_what_cannot_be_sent_is_refused_and_replaces_no_timer(node: NodeUnderTest) -> None:
    clock = await _clock(node)
    with anyio.fail_after(5):
        assert await clock.ask(Clock.unsendable) == "args[0][0]"
        await node.probe.expect("kept")


@pytest.mark.parametrize(
    "verb,value,why",
    [
        ("once", -1, "once(seconds) must be 0 or more, got -1"),
        ("once", None, "once(seconds) must be 0 or more, got None"),
        ("every", 0, "every(seconds) must be more than 0, got 0"),
        ("every", -0.5, "every(seconds) must be more than 0, got -0.5"),
        ("every", float("nan"), "every(seconds) must be more than 0, got nan"),
        ("every", True, "every(seconds) must be more than 0, got True"),
    ],
)
async def test_a_time_that_makes_no_sense_is_shown(
    node: NodeUnderTest, verb: str, value: Any, why: str
) -> None:
    clock = await _clock(node)
    with anyio.fail_after(5):
        assert await clock.ask(Clock.seconds, verb, value) == why
