"""Batches: the queued calls of one method that a `batched` handler takes at once.

Rule 1: a batch is what is queued in a row, so that no message overtakes another: the first message of another
kind ends it, and so does a full mailbox.
Rule 2: until the handler begins, the calls are only set aside: they can be withdrawn, and outlive a restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._actor.on_error import OnError, another, decide
from actors._messaging.handler_options import Batching
from actors._messaging.mailbox import Envelope, answer

if TYPE_CHECKING:
    from actors._actor.interfaces import CellInterface, Handling, IncarnationInterface
    from actors._messaging.message_table import Handler

__all__ = ["Batch", "Batches"]


class Batch(Envelope):
    """The calls of one batch, handled as one message whose argument is the list of theirs.

    Attributes:
        members: the calls, in the order in which they were queued.
    """

    __slots__ = ("_left", "members")

    def __init__(self, cell: CellInterface, handler: Handler, members: list[Envelope]) -> None:
        items = [member.args[0] for member in members]
        replies: Any = _Replies(cell, members)
        super().__init__(handler, (items,), {}, replies)
        self.members = members
        self._left = set(members)
        deadlines = [member.deadline for member in members if member.deadline is not None]
        if len(deadlines) == len(members):
            self.deadline = max(deadlines)

    @property
    def asked(self) -> bool:
        """Whether every error of the handler has an asker that gets it: there is no tell among the calls."""
        return all(member.asked for member in self.members)

    @property
    def wanted(self) -> list[Envelope]:
        """The calls whose askers still wait, or that nobody asked."""
        return [member for member in self.members if member in self._left]

    def leave(self, member: Envelope) -> bool:
        """Note that the asker of *member* no longer waits; return whether nobody is left to work for."""
        if member not in self._left:
            return False
        self._left.discard(member)
        return not self._left


class _Replies:
    """The replies to a batch, as the one reply that a message has: each asker gets its own."""

    leaves = True
    """Each reply is copied for its asker."""

    __slots__ = ("_cell", "_members")

    def __init__(self, cell: CellInterface, members: list[Envelope]) -> None:
        self._cell = cell
        self._members = members

    def done(self) -> bool:
        """Never: what was told has nobody to be done with."""
        return False

    def set_result(self, replies: list[Any], /) -> None:
        """Answer every asker.

        Raises:
            Exception: one of *replies*, which ends the actor by the table of its class; its asker has it.
        """
        ends: Exception | None = None
        for member, value in zip(self._members, replies, strict=True):
            if isinstance(value, BaseException):
                ends = ends or self._fail(member, value)
            elif member.reply is not None and not member.reply.done():
                answer(member.reply, value)
        if ends is not None:
            raise another(ends) from ends.__cause__

    def _fail(self, member: Envelope, error: BaseException) -> Exception | None:
        """Raise *error* at the asker of *member*; return it if the actor ends by it."""
        if not isinstance(error, Exception):
            raise error  # not a reply: as if the handler had raised it
        member.fail(error)
        decided = decide(self._cell.cls, error, asked=member.asked)
        if decided is not OnError.RESUME:
            return error
        if not member.asked:
            self._cell.host.message_failed(self._cell.ref, member, error)
        return None

    def set_exception(self, error: BaseException, /) -> None:
        """Raise *error* at every asker that still waits."""
        first = True
        for member in self._members:
            own = error if first else another(error)
            first = not member.fail(own) and first


class Batches:
    """Collects the calls of a batch for the message loop."""

    def __init__(self, run: IncarnationInterface, handling: Handling) -> None:
        self._cell = run.cell
        self._loop = run.loop
        self._handling = handling
        self._over = False

    async def collect(self, first: Envelope) -> Batch | None:
        """Return the batch that begins with *first*, which was taken; None if nothing is left of it."""
        mailbox = self._cell.mailbox
        waiting = await self._wait(first)
        begun = self._begin([member for member in waiting if mailbox.begin(member)])
        if not begun:
            return None
        handler, propagation = first.handler, self._cell.host.propagation
        if propagation is not None and propagation.trace is not None:
            handler = propagation.trace.batch(handler, self._cell.ref, begun)
        return Batch(self._cell, handler, begun)

    async def _wait(self, first: Envelope) -> list[Envelope]:
        """Set aside the calls in a row, until there are enough or the time is over; return them."""
        options = first.handler.options
        assert isinstance(options, Batching)
        mailbox = self._cell.mailbox
        # A mailbox holds no more than its bound: to wait for more would be in vain.
        most = min(options.most, self._cell.ref.mailbox)
        mailbox.set_aside(first)
        batch, timer = [first], None
        self._over = not options.within
        try:
            while True:
                self._add_queued(batch, most)
                ready = len(batch) >= most or mailbox.queue or mailbox.wait_queue.waiting
                if ready or self._over:
                    return batch
                if timer is None:
                    timer = self._loop.call_later(options.within, self._time_over)
                mailbox.waker = waker = self._loop.waiter()
                await waker
                batch = [member for member in batch if mailbox.is_aside(member)]
        finally:
            if timer is not None:
                timer.cancel()

    def _time_over(self) -> None:
        self._over = True
        self._cell.mailbox.wake()

    def _add_queued(self, batch: list[Envelope], most: int) -> None:
        """Move the calls of the same method at the front of the queue to *batch*."""
        mailbox, handler = self._cell.mailbox, batch[0].handler if batch else None
        while mailbox.queue and len(batch) < most:
            message = mailbox.queue[0]
            if not isinstance(message, Envelope) or message.handler is not handler:
                return
            mailbox.set_aside(message)
            mailbox.queue.popleft()
            batch.append(message)

    def _begin(self, members: list[Envelope]) -> list[Envelope]:
        """Say that *members* are handled now; return those that have not expired and that the method can take.

        The handler sees the context variables of the first; the chain of asks is that of all.
        """
        turn = self._handling.turn
        chain: dict[tuple[int, str], None] = {}
        begun = []
        for member in reversed(members):
            turn.chain = ()
            if self._handling.begin(member) and self._fits(member):
                begun.append(member)
                chain.update(dict.fromkeys(turn.chain))
        turn.chain = tuple(chain)
        return begun[::-1]

    def _fits(self, member: Envelope) -> bool:
        """Whether *member* has the one argument of a call; its sender may have another version of the class."""
        misfit = member.handler.misfit(member.args, member.kwargs)
        if misfit is not None and not member.fail(TypeError(misfit)):
            self._cell.host.dead_letter(self._cell.ref, member, misfit)
        return misfit is None
