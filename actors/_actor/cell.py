"""A cell: the place of one actor on its node. Address, mailbox and watchers outlive its restarts.

Rule 1: the cell is what a ref reaches; the actor object is reachable only from its incarnation.
Rule 2: one state, moved by the table below; whoever supervises the cell decides on restarts.
Rule 3: the end is final and told once: resources and name are free before anybody hears of it.
"""

from __future__ import annotations

import enum
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._actor.incarnation import Incarnation
from actors._actor.interfaces import Ended, IncarnationHost, RunningIncarnation
from actors._base.errors import ActorStopped, not_sendable
from actors._messaging.mailbox import Envelope, Mailbox, WaitQueue
from actors._messaging.message_table import Handler, MessageKind, handlers_by_name
from actors.supervisors import Exit
from actors.transport import LEAVES, Unsendable, drop_frames, snapshot_args

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actors._messaging.context_propagation import Propagation
    from actors._messaging.ref import Ref
    from actors._messaging.turn import Asker, Target

__all__ = ["Cell", "CellHost", "CellState", "as_not_sendable", "not_sendable"]

_plain: Final = LEAVES.issuperset

_STOP: Final = Handler("(stop)", lambda: None, MessageKind.STOP)


class CellState(enum.Enum):
    """Where the cell is in its life."""

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


class CellHost(IncarnationHost, Protocol):
    """The node a cell lives on, as the cell sees it."""

    propagation: Propagation | None

    def forget(self, cell: Cell, end: Exit) -> None: ...
    def suspect(self, cell: Cell) -> None: ...
    def traced(self, facts: dict[str, Any]) -> None: ...


class Cell:
    """One actor's place: takes messages whether or not an incarnation is running."""

    remote = False

    __slots__ = (
        "_watchers",
        "cls",
        "debts",
        "draining",
        "end",
        "handlers",
        "home",
        "mailbox",
        "number",
        "ref",
        "run",
        "shutdown",
        "state",
        "stop_asked",
        "waits",
    )

    def __init__(self, home: CellHost, ref: Ref[Any], cls: type, *, mailbox: int) -> None:
        self.home = home
        self.ref = ref
        self.cls = cls
        self.handlers = handlers_by_name(cls)
        self.mailbox = Mailbox(mailbox, home.as_home.loop.waiter)
        self.state = CellState.DOWN
        self.number = 0
        self.shutdown = 5.0
        self.run: Incarnation | None = None
        self.end: Exit | None = None
        self.draining = False
        self.stop_asked = False
        self.waits: dict[Envelope, Target] = {}
        # What links owe their other ends for messages this mailbox took; theirs to fill and to clear.
        self.debts: dict[object, Any] | None = None
        self._watchers: dict[object, Callable[[Exit], None]] | None = None

    def __repr__(self) -> str:
        return f"<Cell {self.ref.name} {self.state.value}>"

    def move(self, state: CellState) -> None:
        """Move to *state*; a move the table does not have is a bug here."""
        assert state in _MOVES[self.state], f"{self}: {self.state} -> {state}"
        self.state = state

    # -- messages ------------------------------------------------------------------------

    # The checks are in place: a call for each would double the cost of a tell.
    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Take a snapshot of a plain tell if there is room; see `Target`."""
        if not handler.plain:
            return self.offer(Envelope(handler, args, kwargs))
        mailbox = self.mailbox
        queue = mailbox.queue
        if self.draining:
            raise self.refusal(Envelope(handler, args, kwargs))
        if len(queue) >= mailbox.limit or mailbox.line.waiting:
            return False
        for value in args:
            if type(value) not in LEAVES:
                args, kwargs = _snapshot(args, kwargs)
                break
        else:
            if kwargs:
                args, kwargs = _snapshot(args, kwargs)
        (queue or mailbox.open()).append((handler, args, kwargs, None))
        if mailbox.waker is not None:
            mailbox.wake()
        return True

    def offer(self, envelope: Envelope) -> bool:
        """Take a snapshot of *envelope* if there is room; see `Target`."""
        mailbox = self.mailbox
        if self.draining:
            raise self.refusal(envelope)
        if len(mailbox.queue) >= mailbox.limit or mailbox.line.waiting:
            return False
        if envelope.kwargs or not _plain(map(type, envelope.args)):
            envelope.args, envelope.kwargs = _snapshot(envelope.args, envelope.kwargs)
        mailbox.put(envelope)
        return True

    async def admit(self, envelope: Envelope) -> None:
        """Take a snapshot now, and the message as soon as there is room."""
        if self.draining:
            raise self.refusal(envelope)
        await self.mailbox.line.stand(envelope, leaves=False)

    def push(self, envelope: Envelope) -> None:
        """Take *envelope* past the bound."""
        if self.state is CellState.ENDED:
            raise self.refusal(envelope)
        if envelope.kwargs or not _plain(map(type, envelope.args)):
            envelope.args, envelope.kwargs = _snapshot(envelope.args, envelope.kwargs)
        self.mailbox.put(envelope)

    def post(self, envelope: Envelope) -> None:
        """Take what the node itself sends: decoded from a link, or control in message order."""
        ended = self.state is CellState.ENDED
        if self.draining and (ended or envelope.handler.kind in _MESSAGES):
            self._turn_away(envelope)
        else:
            self.mailbox.put(envelope)

    @property
    def line(self) -> WaitQueue:
        """Who waits for room in its mailbox."""
        return self.mailbox.line

    def withdraw(self, envelope: Envelope) -> None:
        """Drop a queued message, or break off its handler."""
        if self.mailbox.remove(envelope):
            if envelope.origin is not None:
                envelope.origin.left()
        elif self.run is not None:
            self.run.cancel(envelope)

    def refusal(self, envelope: Envelope) -> ActorStopped:
        """Return the error for a message that comes too late."""
        why = (
            f"it has ended: {self.end}"
            if self.end is not None
            else "it is draining: no new messages"
        )
        return ActorStopped(self.ref, why, envelope.message)

    # -- life ----------------------------------------------------------------------------

    async def start(
        self,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        ended: Ended,
        *,
        shutdown: float = 5.0,
    ) -> None:
        """Run the next incarnation, which has *shutdown* seconds to end, and return when it is ready.

        Raises:
            StartFailed: the class, its constructor or `on_start` failed; nothing is left running.
        """
        self.move(CellState.STARTING)
        self.number += 1
        self.stop_asked = False
        self.shutdown = shutdown
        loop = self.home.as_home.loop
        ready = loop.waiter()
        run = self.run = Incarnation(self, self.number, ready, ended)
        loop.start(run.live, args, kwargs, name=f"actor {self.ref.name}", fresh=True)
        try:
            await ready
        except BaseException:
            run.kill()
            if self.run is run:
                self.run = None
                if self.state is not CellState.ENDED:
                    self.move(CellState.DOWN)
            raise

    def as_target(self) -> Asker:
        """This cell as senders see it."""
        return self

    def runs_beside(self, envelope: Envelope) -> bool:
        """Whether *envelope* is handled in a task of its own."""
        return self.run is not None and self.run.runs_beside(envelope)

    def suspect(self) -> None:
        """Have the node look whether this actor waits in a circle over several nodes."""
        self.home.suspect(self)

    def run_ready(self, run: RunningIncarnation) -> None:
        """The current incarnation takes messages."""
        if self.run is run:
            self.move(CellState.READY)

    def run_ending(self, run: RunningIncarnation) -> None:
        """The current incarnation takes no more, and lets go of what it has."""
        if self.run is run:
            self.move(CellState.STOPPING)

    def run_ended(self, run: RunningIncarnation) -> None:
        """Take note that the current incarnation is over; the supervisor decides what follows."""
        if self.run is not run:
            return
        self.run = None
        if self.state is not CellState.ENDED:
            self.move(CellState.DOWN)

    def ask_stop(self, end: Exit, grace: float | None, *, drain: bool) -> None:
        """Stop by *end* behind what is queued, for good: somebody asked, or the actor itself."""
        if self.state is CellState.ENDED:
            return
        self.draining = self.draining or drain
        self.post(Envelope(_STOP, (end, True), {}))
        if grace is not None:
            self.home.as_home.loop.call_later(grace, self._grace_over)

    def _grace_over(self) -> None:
        if self.state is not CellState.ENDED:
            self.stop_asked = True
            self.kill()

    def stop_run(self) -> None:
        """Stop behind what is queued: its supervisor asked."""
        if self.run is not None and self.run.gone:
            self.run.kill()
        elif self.run is not None:
            self.post(Envelope(_STOP, (Exit.SHUTDOWN, False), {}))

    def kill(self) -> None:
        """End the current incarnation now; one that ignores it is abandoned, and its place is free."""
        if self.run is not None:
            self.run.kill()

    def release(self, end: Exit) -> None:
        """End for good: fail what waits, free the name, then tell the watchers."""
        if self.state is CellState.ENDED:
            return
        if self.run is not None:
            self.run.kill()
            self.run = None
        self.state = CellState.ENDED
        self.end = end
        if end.error is not None:
            # Its frames would keep the actor and all that it had open.
            drop_frames(end.error)
        self.draining = True
        self.home.forget(self, end)
        for envelope in self.mailbox.clear():
            self._turn_away(envelope)
        self.mailbox.line.fail(self.refusal)
        watchers, self._watchers = self._watchers, None
        for notice in tuple((watchers or {}).values()):
            notice(end)

    def _turn_away(self, envelope: Envelope) -> None:
        if envelope.origin is not None:
            envelope.origin.left()
        if envelope.handler.kind is MessageKind.RESUME:
            envelope.args[0].crash(self.refusal(envelope))
        elif not envelope.fail(self.refusal(envelope)) and envelope.handler.kind in _MESSAGES:
            self.home.dead_letter(self.ref, envelope, self.refusal(envelope).why)

    def watch(self, notice: Callable[[Exit], None]) -> Callable[[], None]:
        """Tell *notice* of the final end, once; at once if it has come. Return what cancels that."""
        if self.end is not None:
            notice(self.end)
            return _nothing
        if self._watchers is None:
            self._watchers = {}
        key, watchers = object(), self._watchers
        watchers[key] = notice
        return lambda: (watchers.pop(key, None), None)[1]


_MESSAGES: Final = {MessageKind.CALL, MessageKind.CONCURRENT, MessageKind.STREAM}


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
    """Do so for a whole block."""
    try:
        yield
    except Unsendable as error:
        raise not_sendable(error) from error
