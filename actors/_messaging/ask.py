"""The ask: send a message and await its reply, with deadlines and the refusal of deadlocks.

Rule 1: an actor that waits while it handles a message adds a wait edge; a cycle of them is refused.
Rule 2: who stops waiting withdraws the message, which cancels its handler if it runs.
Rule 3: what could not be sent lets the node's loop turn before that is raised.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from anyio import move_on_after
from anyio.lowlevel import checkpoint

from actors._base.errors import CallCycle, DeadlineExceeded, MailboxFull, SendError
from actors._base.twins import bind
from actors._messaging.deadlock import add_wait_edge, stream_edge, waiting_for_room
from actors._messaging.turn import TURN, refuse_fenced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actors._base.loop import Loop, Timer, Waiter
    from actors._messaging.mailbox import Envelope
    from actors._messaging.stream import Stream
    from actors._messaging.turn import Target, Turn

__all__ = [
    "ask_in_turn",
    "ask_when_room",
    "give_up",
    "open_stream",
    "refuse_in_turn",
    "send_in_turn",
    "send_until",
]


def _shown(seconds: float) -> str:
    """Return *seconds* as text, rounded: the clocks of some loops count whole milliseconds."""
    return f"{round(seconds, 2) or seconds:.3g}"


def give_up(target: Target, envelope: Envelope) -> None:
    """Withdraw the message after its wait was cancelled, unless its reply is there."""
    reply = envelope.reply
    assert reply is not None
    if reply.cancelled() or not reply.done():
        target.withdraw(envelope)


async def refuse_in_turn(error: Exception) -> NoReturn:
    """Raise *error*; let the loop turn first if it says that a message was not sent.

    Who sends again at once would else keep the loop from all else, also from the news that it can.
    """
    if isinstance(error, SendError):
        await checkpoint()
    raise error


async def ask_when_room(target: Target, envelope: Envelope, reply: Waiter) -> Any:
    """Send an ask for which there was no room, and return its *reply*."""
    try:
        await target.send_when_room(envelope)
        return await reply
    except BaseException:
        give_up(target, envelope)
        raise


async def ask_in_turn(
    ref: object,
    loop: Loop,
    target: Target,
    envelope: Envelope,
    turn: Turn | None,
    whose: str = "",
) -> Any:
    """Ask while handling a message, or with a deadline; adds the wait edge and inherits the deadline.

    Args:
        ref: who is asked.
        loop: of this node.
        target: where *ref* sends to.
        envelope: the message, with its deadline.
        turn: that of the asking actor, if one asks.
        whose: what set the deadline of *envelope*, for the error; "" if the asker did.
    """
    refuse_fenced()
    try:
        return await _ask_in_turn(ref, loop, target, envelope, turn, whose)
    except SendError as error:
        await refuse_in_turn(error)


async def _ask_in_turn(
    ref: object, loop: Loop, target: Target, envelope: Envelope, turn: Turn | None, whose: str
) -> Any:
    me = None if turn is None else add_wait_edge(ref, target, envelope, turn)
    if turn is not None and turn.deadline is not None:
        mine = envelope.deadline
        if mine is None or turn.deadline < mine:
            envelope.deadline, whose = turn.deadline, ""
    try:
        if envelope.deadline is not None and envelope.deadline <= loop.now():
            why = "the deadline had passed before the message was sent"
            raise DeadlineExceeded(ref, why, envelope.message)
        return await _send_and_wait(ref, loop, target, envelope, whose)
    finally:
        if me is not None:
            del me.waiting_for[envelope]


async def _send_and_wait(
    ref: object, loop: Loop, target: Target, envelope: Envelope, whose: str
) -> Any:
    reply, deadline = envelope.reply, envelope.deadline
    assert reply is not None
    timer: Timer | None = None
    try:
        if deadline is None:
            if not target.try_send(envelope):
                await target.send_when_room(envelope)
        else:
            seconds = deadline - loop.now()
            if not target.try_send(envelope):
                await send_until(ref, target, envelope, seconds)
            left = deadline - loop.now()
            within = f"{_shown(seconds)} s{whose}"
            timer = loop.call_later(left, _expire, ref, target, envelope, reply, within)
        return await reply
    except BaseException:
        give_up(target, envelope)
        raise
    finally:
        if timer is not None:
            timer.cancel()


def _expire(ref: object, target: Target, envelope: Envelope, reply: Waiter, within: str) -> None:
    """End the wait for a *reply* that did not come *within* the time that the text says."""
    if not reply.done():
        why = f"no reply to {envelope.handler.name} in {within}"
        target.withdraw(envelope)
        reply.set_exception(DeadlineExceeded(ref, why, envelope.message))


async def send_in_turn(ref: object, target: Target, envelope: Envelope, turn: Turn | None) -> None:
    """Send when there is room. A message to oneself passes the bound; a cycle of waits is refused."""
    if turn is None:
        await target.send_when_room(envelope)
    elif turn.target is target:
        target.send_past_bound(envelope)
    else:
        with waiting_for_room(ref, target, envelope, turn):
            await target.send_when_room(envelope)


async def send_until(ref: object, target: Target, envelope: Envelope, seconds: float) -> None:
    """Send when there is room, within *seconds*. A message to oneself passes the bound."""
    turn = TURN.get()
    if turn is not None and turn.target is target:
        target.send_past_bound(envelope)
        return
    with move_on_after(seconds):
        await target.send_when_room(envelope)
        return
    refused, within = target.no_room(envelope), f"in {_shown(seconds)} s"
    full = isinstance(refused, MailboxFull)
    why = f"no room in its mailbox {within}" if full else f"not sent {within}: {refused.why}"
    raise DeadlineExceeded(ref, why, envelope.message)


@asynccontextmanager
async def open_stream(
    ref: object,
    loop: Loop,
    target: Target,
    envelope: Envelope,
    stream: Stream[Any],
    seconds: float | None,
) -> AsyncIterator[Stream[Any]]:
    """Send the message that opens *stream*; close its generator when the block ends."""
    refuse_fenced()
    turn = TURN.get()
    if turn is not None and turn.exclusive and turn.target is target:
        # The generator could make no item before the handler that reads it has ended.
        raise CallCycle(ref, "a stream would wait for the reading actor itself", envelope.message)
    if turn is not None:
        stream.edge = stream_edge(ref, target, envelope, turn)
    timer = None
    if seconds is not None:
        envelope.deadline = loop.now() + seconds
        late = DeadlineExceeded(ref, f"the stream did not end in {_shown(seconds)} s")
        timer = loop.call_later(seconds, stream.set_exception, late)
    try:
        await _send_within(ref, target, envelope, seconds)
        yield stream
    finally:
        if timer is not None:
            timer.cancel()
        target.withdraw(envelope)


async def _send_within(
    ref: object, target: Target, envelope: Envelope, seconds: float | None
) -> None:
    try:
        if not target.try_send(envelope):
            if seconds is None:
                await target.send_when_room(envelope)
            else:
                await send_until(ref, target, envelope, seconds)
    except SendError as error:
        await refuse_in_turn(error)


bind(
    ask_when_room=ask_when_room,
    give_up=give_up,
    refuse_in_turn=refuse_in_turn,
    send_in_turn=send_in_turn,
)
