"""The concurrent handlers of one incarnation: they run in tasks of the actor, beside its message loop.

Rule 1: a handler starts in its turn, unless as many of its group run as may: then its message is set aside, and
starts when one of them has ended, before every later one of the group.
Rule 2: a message that is set aside has not begun: it still counts in the mailbox, can be withdrawn, and
outlives a restart.
"""

from __future__ import annotations

from collections import deque
from contextvars import Context, copy_context
from typing import TYPE_CHECKING

from actors._actor.deferral import deferral_of
from actors._messaging.turn import TURN

if TYPE_CHECKING:
    from actors._actor.base import Actor
    from actors._actor.interfaces import Handling, IncarnationInterface
    from actors._base.loop import Task
    from actors._messaging.mailbox import Envelope
    from actors._messaging.turn import Turn

__all__ = ["ConcurrentHandlers"]


class _Group:
    """Handlers that share a limit: how many of them run, and the messages that wait, with their contexts."""

    __slots__ = ("running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.waiting: deque[tuple[Envelope, Context]] = deque()


class ConcurrentHandlers:
    """Starts concurrent handlers, as many of each group as may run at a time."""

    def __init__(self, run: IncarnationInterface, handling: Handling) -> None:
        self._incarnation = run
        self._handling = handling
        self._mailbox = run.cell.mailbox
        self._running: dict[Envelope, Task] = {}
        self._groups: dict[object, _Group] = {}

    def __len__(self) -> int:
        return len(self._running)

    def __contains__(self, envelope: Envelope) -> bool:
        return envelope in self._running

    def cancel(self, envelope: Envelope) -> None:
        """Cancel the handler of *envelope*."""
        self._running[envelope].cancel()

    def take(self, actor: Actor, envelope: Envelope) -> None:
        """Start the handler of *envelope*, which was taken in its turn, or set the message aside."""
        handler = envelope.handler
        if handler.limit is not None:
            group = self._groups.setdefault(handler.group, _Group())
            if group.running >= handler.limit:
                self._mailbox.set_aside(envelope)
                group.waiting.append((envelope, copy_context()))
                return
        self._begin(actor, envelope)

    def lose(self) -> None:
        """Fail the askers of all that run."""
        for envelope in list(self._running):
            self._handling.lose(envelope)

    def _begin(self, actor: Actor, envelope: Envelope) -> bool:
        # A turn of its own: the message loop may be handling another message.
        turn = self._handling.turn.for_task()
        turn.beside = True
        TURN.set(turn)
        try:
            if not self._handling.begin(envelope):
                return False
        finally:
            TURN.set(self._handling.turn)
        turn.deadline = envelope.deadline
        group = self._groups.get(envelope.handler.group)
        if group is not None:
            group.running += 1
        self._running[envelope] = self._incarnation.tasks.start_soon(
            self._run, actor, envelope, turn, name=envelope.handler.name
        )
        return True

    async def _run(self, actor: Actor, envelope: Envelope, turn: Turn) -> None:
        TURN.set(turn)
        deferral = None
        try:
            await self._handling.answer_call(actor, envelope)
        except Exception as error:  # noqa: BLE001 - the class decides what follows
            if self._handling.message_ends_it(envelope, error):
                self._incarnation.crash(error)
        except BaseException as error:
            deferral = deferral_of(error)
            if deferral is None:
                raise
        finally:
            self._running.pop(envelope, None)
            if deferral is not None:
                self._handling.put_off(envelope, deferral.progress)
            elif envelope.reply is not None and not envelope.reply.done():
                self._handling.lose(envelope)
            self._handling.concurrent_ended(deferred=deferral is not None)
            group = self._groups.get(envelope.handler.group)
            if group is not None:
                group.running -= 1
                self._start_next(actor, group)

    def _start_next(self, actor: Actor, group: _Group) -> None:
        """Start the first message of *group* that still waits; none once the incarnation ends."""
        while group.waiting and not self._handling.halt:
            envelope, context = group.waiting.popleft()
            # Not in the context of the handler that has ended.
            if self._mailbox.begin(envelope) and context.run(self._begin, actor, envelope):
                return
