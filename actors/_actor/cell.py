"""A cell: the part of an actor on its node that survives restarts: its address, mailbox and watchers.

Rule 1: refs deliver to the cell; only its incarnation has the actor object.
Rule 2: the state changes as the table below allows; the supervisor of the cell decides on restarts.
Rule 3: the end is final. Resources and name are free before any watcher is told, each of them once.
"""

from __future__ import annotations

import enum
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from actors._actor.incarnation import Incarnation
from actors._base.errors import ActorCrashed, ActorStopped, MailboxFull, not_sendable
from actors._base.twins import COMPILED, bind
from actors._messaging.byte_bound import (
    FIXED,
    SIZED,
    TEXT_COUNTED_FROM,
    counted_bytes,
    never_big,
)
from actors._messaging.mailbox import Envelope, Mailbox, WaitQueue
from actors._messaging.message_table import MESSAGES, Handler, MessageKind, handlers_by_name
from actors._messaging.turn import sending_actor
from actors.supervisors import Exit
from actors.transport import LEAVES, Unsendable, drop_frames, snapshot_args

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from actors._actor.interfaces import CellHost, Ended, IncarnationInterface, Renewed
    from actors._messaging.ref import Ref
    from actors._messaging.turn import Target

__all__ = ["Cell", "CellState", "as_not_sendable"]

_STOP: Final = Handler("(stop)", lambda: None, MessageKind.STOP)


class CellState(enum.Enum):
    """What the cell is doing."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    DOWN = "down"
    ENDED = "ended"


_MOVES: Final = {
    CellState.DOWN: {CellState.STARTING, CellState.ENDED},
    CellState.STARTING: {CellState.READY, CellState.DOWN, CellState.ENDED},
    CellState.READY: {CellState.STOPPING, CellState.DOWN, CellState.ENDED},
    CellState.STOPPING: {CellState.DOWN, CellState.ENDED},
    CellState.ENDED: set[CellState](),
}


class _CellInPython:
    """How a message comes to the mailbox of a cell."""

    __slots__ = ()

    mailbox: Mailbox
    draining: bool
    state: CellState
    incarnation: Incarnation | None

    def refusal(self, envelope: Envelope) -> ActorStopped:
        """As `Cell.refusal`."""
        raise NotImplementedError

    def refuse(self, envelope: Envelope) -> None:
        """As `Cell.refuse`."""
        raise NotImplementedError

    # Written out here: a function call for each check would double the cost of a tell.
    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """As `Target.send`."""
        if not handler.plain:
            return self.try_send(Envelope(handler, args, kwargs))
        mailbox = self.mailbox
        queue = mailbox.queue
        if self.draining:
            raise self.refusal(Envelope(handler, args, kwargs))
        line = mailbox.wait_queue
        if len(queue) >= mailbox.limit or (line.waiting and not line.goes_on()):
            return False
        for value in args:
            kind = type(value)
            if kind not in FIXED and (kind not in LEAVES or len(value) > TEXT_COUNTED_FROM):
                return self._send_copy(handler, args, kwargs)
        if kwargs:
            return self._send_copy(handler, args, kwargs)
        (queue or mailbox.open()).append((handler, args, kwargs, None))
        if mailbox.waker is not None:
            mailbox.wake()
        return True

    def _send_copy(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Send a tell with arguments that have to be copied, or counted in bytes."""
        if (kwargs or not never_big(map(type, args))) and counted_bytes(args, kwargs):
            return self._put_copy(Envelope(handler, args, kwargs))
        try:
            args, kwargs = snapshot_args(args, kwargs)
        except Unsendable as error:
            raise not_sendable(error) from error
        self.mailbox.put((handler, args, kwargs, None))
        return True

    def _put_copy(self, envelope: Envelope, *, past_bound: bool = False) -> bool:
        """As `_send_copy`, for any message."""
        mailbox = self.mailbox
        size = counted_bytes(envelope.args, envelope.kwargs)
        if size and not past_bound and not mailbox.has_room(size):
            return False
        envelope.args, envelope.kwargs = _snapshot(envelope.args, envelope.kwargs)
        if size:
            mailbox.count(envelope, size)
        run = self.incarnation
        if mailbox.waker is None or run is None or not run.message_loop.handle_now(envelope):
            mailbox.put(envelope)
        return True

    def try_send(self, envelope: Envelope) -> bool:
        """As `Target.try_send`."""
        mailbox = self.mailbox
        if self.draining:
            raise self.refusal(envelope)
        line = mailbox.wait_queue
        if len(mailbox.queue) >= mailbox.limit or (line.waiting and not line.goes_on()):
            return False
        for value in envelope.args:
            kind = type(value)
            if kind not in FIXED and (kind not in LEAVES or len(value) > TEXT_COUNTED_FROM):
                return self._put_copy(envelope)
        if envelope.kwargs:
            return self._put_copy(envelope)
        run = self.incarnation
        if mailbox.waker is None or run is None or not run.message_loop.handle_now(envelope):
            mailbox.put(envelope)
        return True

    def deliver(self, envelope: Envelope) -> None:
        """Put a message of a link, or control in message order, into the mailbox past its bound; no copy."""
        if self.draining and (self.state is CellState.ENDED or envelope.handler.kind in MESSAGES):
            self.refuse(envelope)
            return
        mailbox, run = self.mailbox, self.incarnation
        if (
            mailbox.waker is None
            or run is None
            or envelope.reply is None
            or not run.message_loop.handle_now(envelope)
        ):
            mailbox.put(envelope)


_CellTwin = _CellInPython
if not TYPE_CHECKING and COMPILED:

    class _CellTwin(COMPILED.CellMethods, _CellInPython):
        """The methods in C leave what is rare to those in Python."""

        __slots__ = ()


class Cell(_CellTwin):
    """The address, mailbox and state of one actor; takes messages even while no incarnation runs.

    Attributes:
        number: of the latest incarnation, counted from 1.
        shutdown: seconds the incarnation has to end.
        draining: new messages are refused.
        stop_asked: its end was asked for, so it is not restarted.
        exit: how the actor ended for good; None until then.
    """

    remote = waits_for_node = False
    handles_at_once = True
    """Whether the first step of a handler may be run before the message was put into the mailbox."""
    watched = False
    """Whether somebody watches its messages, which all come by `deliver` then."""
    samples = False
    """Whether some of its messages are measured; see `handler_times`."""

    __slots__ = (
        "_watchers",
        "callers",
        "cls",
        "credit_returns",
        "draining",
        "exit",
        "handlers",
        "host",
        "incarnation",
        "mailbox",
        "number",
        "ref",
        "shutdown",
        "state",
        "stop_asked",
        "waiting_for",
    )

    def __init__(self, host: CellHost, ref: Ref[Any], cls: type) -> None:
        self.host: CellHost = host
        self.ref: Ref[Any] = ref
        self.cls: type = cls
        self.handlers: dict[str, Handler] = handlers_by_name(cls)
        self.mailbox: Mailbox = Mailbox(ref.bounds, host.loop.waiter)
        self.state: CellState = CellState.DOWN
        self.number: int = 0
        self.callers: tuple[str, ...] = ()
        self.shutdown: float = 5.0
        self.incarnation: Incarnation | None = None
        self.exit: Exit | None = None
        self.draining: bool = False
        self.stop_asked: bool = False
        self.waiting_for: dict[Envelope, Target] = {}
        # By link: what returns credit for messages taken out of this mailbox. Filled by the links.
        self.credit_returns: dict[object, Any] | None = None
        self._watchers: dict[object, Callable[[Exit], None]] | None = None

    def __repr__(self) -> str:
        return f"<Cell {self.ref.name} {self.state.value}>"

    @property
    def at_rest(self) -> bool:
        """Whether none of its code runs or waits: only a message, a start or a stop makes some run."""
        run = self.incarnation
        if run is None or self.state is not CellState.READY:
            return self.state in {CellState.DOWN, CellState.ENDED}
        return self.mailbox.waker is not None and not run.has_tasks

    @property
    def parked(self) -> bool:
        """Whether it has no task until a message comes; see `parking`."""
        return self.incarnation is not None and self.incarnation.parked

    def move_to(self, state: CellState) -> None:
        """Move to *state*, which the table has to allow."""
        assert state in _MOVES[self.state], f"{self}: {self.state} -> {state}"
        self.state = state

    # -- messages ------------------------------------------------------------------------

    # It returns a coroutine of another object, as one more would cost each message that waits a step.
    def send_when_room(self, envelope: Envelope) -> Coroutine[Any, Any, None]:
        """As `Target.send_when_room`."""
        if self.draining:
            raise self.refusal(envelope)
        line = self.mailbox.waiting_room(self.host.loop)
        return line.wait_for_room(envelope, leaves=False, actor=sending_actor())

    def wait_in_line(
        self, envelope: Envelope, refused: Callable[[BaseException], None]
    ) -> Callable[[], None]:
        """As `Target.wait_in_line`."""
        if self.draining:
            raise self.refusal(envelope)
        line = self.mailbox.waiting_room(self.host.loop)
        return line.enter(envelope, refused, leaves=False, actor=sending_actor())

    def no_room(self, envelope: Envelope) -> MailboxFull:
        """As `Target.no_room`."""
        return MailboxFull(self.ref, "its mailbox is full", envelope.message)

    def send_past_bound(self, envelope: Envelope) -> None:
        """As `Target.send_past_bound`."""
        if self.state is CellState.ENDED:
            raise self.refusal(envelope)
        self._put_copy(envelope, past_bound=True)

    def one_by_one(self) -> bool:
        """Whether the next messages of a link have to come by `deliver`, because one of them is measured."""
        return False

    def of_own(self, envelope: Envelope) -> None:
        """Take note of a message that the actor sent itself, which is handled now."""

    @property
    def wait_queue(self) -> WaitQueue:
        """The senders that wait for room in its mailbox."""
        return self.mailbox.wait_queue

    def withdraw(self, envelope: Envelope) -> None:
        """As `Target.withdraw`."""
        if self.mailbox.remove(envelope):
            if envelope.hooks is not None:
                envelope.hooks.on_dropped()
        elif self.incarnation is not None:
            self.incarnation.message_loop.cancel(envelope)

    def interrupt(self, envelope: Envelope) -> None:
        """As `Target.interrupt`."""
        if self.mailbox.remove(envelope):
            if envelope.hooks is not None:
                envelope.hooks.on_dropped()
            envelope.fail(ActorCrashed(self.ref, "cancelled before it began"))
        elif self.incarnation is not None:
            self.incarnation.message_loop.cancel(envelope)

    def refusal(self, envelope: Envelope) -> ActorStopped:
        """Return the error for a message to an actor that has ended or drains."""
        if self.exit is not None:
            return ActorStopped.by(self.exit, self.ref, envelope.message)
        return ActorStopped(self.ref, "it is draining: no new messages", envelope.message)

    # -- life ----------------------------------------------------------------------------

    async def start(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        ended: Ended,
        *,
        fence: int,
        shutdown: float = 5.0,
        chain: tuple[tuple[int, str], ...] = (),
        state: tuple[Any, ...] = (),
        renewed: Renewed | None = None,
    ) -> None:
        """Run the next incarnation, which has *shutdown* seconds to end, and return when it is ready.

        Its `on_start` gets *state*, which the last one handed over; *renewed* takes what this one hands over.
        What it asks there of the actors in *chain*, which wait for this start, is refused.
        *fence* is greater than that of every incarnation before it, wherever that ran.
        An incarnation that has not ended is one that the supervisor, on another node, has given up.

        Raises:
            StartFailed: the class, its constructor or `on_start` failed; nothing is left running.
        """
        if self.incarnation is not None:
            self.incarnation.kill()
            self.incarnation.abandon()
        self.move_to(CellState.STARTING)
        self.number += 1
        self.stop_asked = False
        self.shutdown = shutdown
        loop = self.host.loop
        ready = loop.waiter()
        incarnation = self.incarnation = Incarnation(self, self.number, fence, ready, ended)
        incarnation.renewal.state, incarnation.renewal.keep = state, renewed
        turn = incarnation.message_loop.turn
        turn.starting, turn.chain = True, chain
        self.callers = tuple([name for _, name in reversed(chain)]) or self.callers
        start = partial(incarnation.start, args, kwargs)
        loop.start(incarnation.run, start, name=f"actor {self.ref.name}", fresh=True)
        try:
            await ready
        except BaseException:
            incarnation.kill()
            if self.incarnation is incarnation:
                self.incarnation = None
                if self.state is not CellState.ENDED:
                    self.move_to(CellState.DOWN)
            raise

    def runs_concurrently(self, envelope: Envelope) -> bool:
        """As `Target.runs_concurrently`."""
        return self.incarnation is not None and self.incarnation.message_loop.runs_concurrently(
            envelope
        )

    def suspect_deadlock(self) -> None:
        """As `Asker.suspect_deadlock`."""
        self.host.suspect_deadlock(self)

    def run_ready(self, incarnation: IncarnationInterface) -> None:
        """The current incarnation takes messages."""
        if self.incarnation is incarnation:
            self.move_to(CellState.READY)

    def run_ending(self, incarnation: IncarnationInterface) -> None:
        """The current incarnation takes no more messages and closes what it owns."""
        if self.incarnation is incarnation:
            self.move_to(CellState.STOPPING)

    def run_ended(self, incarnation: IncarnationInterface) -> None:
        """The current incarnation has ended; the supervisor decides what follows."""
        if self.incarnation is not incarnation:
            return
        self.incarnation = None
        if self.state is not CellState.ENDED:
            self.move_to(CellState.DOWN)

    def request_stop(self, end: Exit, grace: float | None, *, drain: bool) -> None:
        """Stop for good with *end* after the queued messages; kill the actor after *grace* seconds."""
        if self.state is CellState.ENDED:
            return
        self.draining = self.draining or drain
        self.deliver(Envelope(_STOP, (end, True), {}))
        if grace is not None:
            self.host.loop.call_later(grace, self._grace_over)

    def _grace_over(self) -> None:
        if self.state is not CellState.ENDED:
            self.stop_asked = True
            self.kill()

    def shut_down(self, *, renew: bool = False) -> None:
        """Stop the incarnation behind what is queued, as its supervisor asks; it may be restarted.

        Args:
            renew: whether it is to hand its state over to the next one.
        """
        if self.incarnation is not None:
            self.incarnation.renewal.asked = renew
        if self.incarnation is not None and self.incarnation.task_ended:
            self.incarnation.kill()
        elif self.incarnation is not None:
            self.deliver(Envelope(_STOP, (Exit.SHUTDOWN, False), {}))

    def kill(self) -> None:
        """End the current incarnation now; one that ignores its cancellation is abandoned."""
        if self.incarnation is not None:
            self.incarnation.kill()

    def end_for_good(self, end: Exit) -> None:
        """End for good: free the name, fail what is queued or waits for room, then tell the watchers."""
        if self.state is CellState.ENDED:
            return
        if self.incarnation is not None:
            self.incarnation.kill()
            self.incarnation = None
        self.state = CellState.ENDED
        self.exit = end
        if end.error is not None:
            # Its frames hold the actor and what it opened.
            drop_frames(end.error)
        self.draining = True
        self.host.forget(self, end)
        left = self.mailbox.clear()
        # First: a big message that is dropped makes room for who waits.
        self.mailbox.wait_queue.refuse_all(self.refusal)
        for envelope in left:
            self.refuse(envelope)
        watchers, self._watchers = self._watchers, None
        for notice in tuple((watchers or {}).values()):
            notice(end)

    def refuse(self, envelope: Envelope) -> None:
        """Fail the asker of a message that is not handled, or report it as a dead letter."""
        if envelope.hooks is not None:
            envelope.hooks.on_dropped()
        if envelope.handler.kind is MessageKind.RESUME:
            envelope.args[0].crash(self.refusal(envelope))
        elif not envelope.fail(self.refusal(envelope)) and envelope.handler.kind in MESSAGES:
            self.host.dead_letter(self.ref, envelope, self.refusal(envelope).why)

    def watch(self, notice: Callable[[Exit], None]) -> Callable[[], None]:
        """Call *notice* once, with the final end; at once if the actor has ended. Return what cancels that."""
        if self.exit is not None:
            notice(self.exit)
            return _nothing
        if self._watchers is None:
            self._watchers = {}
        key, watchers = object(), self._watchers
        watchers[key] = notice
        return lambda: (watchers.pop(key, None), None)[1]


def _nothing() -> None:
    """There is nothing to cancel."""


def _snapshot(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    try:
        return snapshot_args(args, kwargs)
    except Unsendable as error:
        raise not_sendable(error) from error


@contextmanager
def as_not_sendable() -> Iterator[None]:
    """Raise `NotSendable` for what the transport cannot send in this block."""
    try:
        yield
    except Unsendable as error:
        raise not_sendable(error) from error


bind(Cell, cell_twin=_CellInPython, snapshot_args=snapshot_args, sized=SIZED)
