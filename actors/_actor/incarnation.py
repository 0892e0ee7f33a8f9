"""One run of one actor, from its constructor to its end; a restart makes another.

Rule 1: it owns the actor object, its turns, tasks, timers, watches, streams and children; all end with it.
Rule 2: it ends once, by the first reason; only a kill overrides one, and an end has its deadline.
Rule 3: one that was killed and does not end is abandoned: fenced off, and reported as over.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from actors._actor.base import Actor
from actors._actor.context import Context
from actors._actor.message_loop import MessageLoop, exit_notice
from actors._actor.resources import IncarnationResources
from actors._base.errors import ActorCrashed, ActorStopped, start_failed
from actors._base.log import get_logger
from actors._messaging.mailbox import Envelope
from actors._messaging.turn import FENCED, TURN, refuse_fenced
from actors.supervisors import Exit, ExitKind
from actors.transport import drop_frames, snapshot_args

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._actor.interfaces import CellInterface, Ended
    from actors._actor.tasks import ActorTasks
    from actors._actor.timers import Timers
    from actors._actor.watches import Watches
    from actors._base.log import Logger
    from actors._base.loop import Timer, Waiter
    from actors._messaging.ref import Ref

__all__ = ["Incarnation"]

_ABANDON_AFTER: Final = 5.0
"""Seconds a killed incarnation has before nobody waits for it any more."""


_CLEAR_FRAMES_AFTER: Final = 0.01
"""Seconds after which an error keeps what its actor had open no longer."""


class Incarnation:
    """What lives from one start of an actor to the end that follows it."""

    def __init__(self, cell: CellInterface, number: int, ready: Waiter, ended: Ended) -> None:
        host = cell.host
        self.cell = cell
        self.ref: Ref[Any] = cell.ref
        self.number = number
        self.exit: Exit | None = None
        self.voluntary = False
        self.children: Any = None
        self.task_ended = False
        """Whether its task has ended; before it reported, if by what is for the node."""
        self.loop = host.loop
        self._resources: IncarnationResources | None = None
        self._closing = False
        self._message_loop = MessageLoop(self)
        self._ready: Waiter | None = ready
        self._ended = ended
        self._interrupt = self.loop.interrupt()
        self._actor: Actor | None = None
        self._log: Logger | None = None
        self._shutdown_timer: Timer | None = None  # until when this may take to end
        self._abandon_timer: Timer | None = None  # set by force: until when it is waited for
        self._started = self._reported = False

    # -- what the context offers ---------------------------------------------------------

    @property
    def resources(self) -> IncarnationResources:
        """Its tasks, timers and watches."""
        if self._resources is None:
            self._resources = IncarnationResources(self.cell, self.crash, self._on_watched_exit)
            if self._closing:
                self._resources.part()
            if self._reported:
                self._resources.tasks.cancel()
        return self._resources

    @property
    def tasks(self) -> ActorTasks:
        """The tasks that run beside its messages."""
        return self.resources.tasks

    @property
    def timers(self) -> Timers:
        """Its messages to itself."""
        return self.resources.timers

    @property
    def watches(self) -> Watches:
        """Whom it watches."""
        return self.resources.watches

    @property
    def system(self) -> Any:
        """The System of this node."""
        return self.cell.host.system

    @property
    def log(self) -> Logger:
        """A logger bound with node, actor and incarnation."""
        if self._log is None:
            self._log = get_logger(
                node=self.cell.host.name, actor=self.ref.name, incarnation=self.number
            )
        return self._log

    @property
    def handling(self) -> tuple[str, float] | None:
        """Which message is being handled, and for how many seconds."""
        return self._message_loop.handling

    @property
    def busy(self) -> bool:
        """Whether any message is being handled."""
        return self._message_loop.busy

    @property
    def handled(self) -> int:
        """How many messages it has taken."""
        return self._message_loop.handled

    @property
    def concurrent(self) -> int:
        """How many of them are being handled beside the others."""
        return self._message_loop.concurrent

    def runs_concurrently(self, envelope: Envelope) -> bool:
        """Whether *envelope* is handled in a task of its own, beside the other messages."""
        return self._message_loop.runs_concurrently(envelope)

    def watch(self, ref: Ref[Any]) -> None:
        """Deliver the final end of *ref* to `on_exit`, once."""
        refuse_fenced()
        self.watches.add(ref)

    def unwatch(self, ref: Ref[Any]) -> None:
        """Forget *ref*; a queued notice is dropped when its turn comes."""
        self.watches.drop(ref)

    def _on_watched_exit(self, ref: Ref[Any], end: Exit) -> None:
        """Queue the notice of a watched actor's end, in message order and past the bound."""
        self.cell.deliver(exit_notice(self, ref, end))

    def request_stop(self) -> None:
        """End behind what is queued, for good."""
        refuse_fenced()
        self.cell.request_stop(Exit.NORMAL, None, drain=False)

    async def spawn(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], **options: Any
    ) -> Ref[Any]:
        """Start a child on this node; it ends before this incarnation does."""
        refuse_fenced()
        return await self.cell.host.spawn_child(self, cls, args, kwargs, **options)

    # -- ends ----------------------------------------------------------------------------

    def end(self, how: Exit, *, voluntary: bool) -> None:
        """End by *how* when the message being handled is done: it is the one that says so."""
        self.exit, self.voluntary = how, voluntary
        self._message_loop.halt = True

    def crash(self, error: BaseException) -> None:
        """End by *error*: nobody else is there to be told."""
        if isinstance(error, KeyboardInterrupt | SystemExit):
            self.cell.host.over = True
        elif self.exit is None:
            self.exit = Exit.CRASHED(error)
            self.interrupt()

    def kill(self) -> None:
        """End now; what is being awaited is cancelled, `on_stop` does not run."""
        if self.exit is None or self.exit.kind is not ExitKind.KILLED:
            self.exit = Exit.KILLED
        self._force_end()

    def cancel(self, envelope: Envelope) -> None:
        """Break off the handler of *envelope*, if it is running."""
        self._message_loop.cancel(envelope)

    def interrupt(self) -> None:
        """End what is being awaited; the turns look at why before they take another message."""
        self._message_loop.halt = True
        self._interrupt.request()

    def _force_end(self) -> None:
        """Cancel what runs, which is lost to its askers now; if it ignores that, nobody waits for it."""
        if self._resources is not None:
            self._resources.timers.close()
        self._closing = True
        self._message_loop.lose_all()
        if self.task_ended:
            # What is for the node took its task along, and no supervisor was told.
            self.cell.run_ended(self)
            self.report(Exit.KILLED)
            return
        self.interrupt()
        if self._abandon_timer is None:
            self._abandon_timer = self.loop.call_later(_ABANDON_AFTER, self._abandon)

    def _abandon(self) -> None:
        """Fence this run off: what it still does reaches nobody, and what it had is let go."""
        FENCED.add(self)
        if self._resources is not None:
            self._resources.tasks.cancel()
            self._resources.watches.clear()
        if self.children is not None:
            stop = partial(self.cell.host.stop_children, self, kill=True)
            self.loop.start(stop, name=f"children of {self.ref.name}")
        self.cell.run_ended(self)
        self.report(Exit.ABANDONED)

    # -- the run -------------------------------------------------------------------------

    async def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Start, handle messages until the end, let go of everything, report."""
        TURN.set(self._message_loop.turn)
        try:
            await self._run_step(partial(self._start, args, kwargs))
            self._begin()
            while self.exit is None:
                await self._run_step(self._message_loop.take)
                if self._message_loop.resumed:
                    # A row of failures is no reason to keep the loop.
                    self._message_loop.resumed = False
                    await self._run_step(self.loop.pause)
            await self._finish(self.exit)
        except (KeyboardInterrupt, SystemExit) as error:
            # The node's: what its end does to the others on it is no crash of theirs.
            self.crash(error)
            raise
        finally:
            self.task_ended = True
            FENCED.discard(self)
            if self._abandon_timer is not None:
                self._abandon_timer.cancel()

    def _begin(self) -> None:
        """Take messages, if it has not ended already."""
        self._started = self.exit is None
        if not self._started:
            return
        self.cell.run_ready(self)
        ready, self._ready = self._ready, None
        # Whoever waits may have been cancelled in this very turn.
        if ready is not None and not ready.done():
            ready.set_result(None)

    async def _finish(self, end: Exit) -> None:
        """Let go of everything and report; an end that fails is another one."""
        if self._started:
            self.cell.run_ending(self)
        await self._close(started=self._started)
        end = self.exit or end
        self._actor = self._message_loop.actor = None
        self.cell.run_ended(self)
        self.report(end)
        if end.error is not None:
            # Not now: the restart comes first, and it takes its time to write a traceback down.
            self.loop.call_later(_CLEAR_FRAMES_AFTER, drop_frames, end.error)

    def report(self, end: Exit) -> None:
        """Tell the supervisor how this run ended, or why it did not start; once."""
        if self.cell.host.over and not self.task_ended:
            return  # whoever is left to stop this one asks again
        reported, self._reported = self._reported, True
        if not reported and self._started:
            self._ended(end, self.voluntary or self.cell.stop_asked)
        elif not reported and self._ready is not None and not self._ready.done():
            who = f"{self.ref.name} ({self.cell.cls.__name__})"
            self._ready.set_exception(start_failed(who, end.error))

    async def _run_step(self, step: Callable[[], Any]) -> None:
        """Run one step that can be broken off; what it raises is a crash."""
        try:
            await self._interrupt.run(step)
        except self.loop.passes:
            raise
        except BaseException as error:  # noqa: BLE001 - the supervisor is told
            if self._message_loop.ends_by(error):
                self.exit = self.exit or Exit.CRASHED(error)
        self._message_loop.halt = self.exit is not None
        self._message_loop.drop_current()

    async def _start(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        cls = self.cell.cls
        # A snapshot at every start: one incarnation's changes never reach the next.
        args, kwargs = snapshot_args(args, kwargs)
        actor: Actor = object.__new__(cls)
        actor.context = Context(self)
        actor.__init__(*args, **kwargs)  # type: ignore[misc] # the context has to be there first
        self._actor = self._message_loop.actor = actor
        await actor.on_start()

    # -- letting go ----------------------------------------------------------------------

    async def _close(self, *, started: bool) -> None:
        """Run `on_stop`, then end all that this incarnation owns, within the actor's shutdown."""
        assert self.exit is not None
        actor, end = self._actor, self.exit
        self._closing = True
        if self._resources is not None:
            self._resources.part()
        stops = started and actor is not None and type(actor).on_stop is not Actor.on_stop
        if (
            stops
            or self._resources is not None
            or self._message_loop.streaming
            or self.children is not None
        ):
            self._start_shutdown_timer()
        if stops and actor is not None and end.kind is not ExitKind.KILLED:
            await self._run_closing_step(partial(actor.on_stop, end))
        # Again and again: what a kill broke off has the rest to do, and is cancelled once more.
        while self._resources is not None and not self._resources.tasks.over:
            await self._run_closing_step(self._resources.tasks.aclose)
        while self._message_loop.streaming:
            await self._run_closing_step(self._close_streams)
        await self._close_children()
        if self._shutdown_timer is not None:
            self._shutdown_timer.cancel()

    def _start_shutdown_timer(self) -> None:
        """An end that its supervisor did not ask for, and so does not time, takes no longer than one it did."""
        assert self.exit is not None
        if self.cell.shutdown < math.inf and (self.voluntary or self.exit.abnormal):
            self._shutdown_timer = self.loop.call_later(self.cell.shutdown, self._overrun)

    def _overrun(self) -> None:
        assert self.exit is not None
        self.log.error("end overran its shutdown", seconds=self.cell.shutdown, end=str(self.exit))
        if not self.exit.abnormal:
            self.exit = Exit.KILLED
        self._force_end()

    async def _close_children(self) -> None:
        """End the children: politely, unless this is a kill or becomes one meanwhile."""
        kill = self._abandon_timer is not None
        while True:
            await self._run_closing_step(partial(self.cell.host.stop_children, self, kill=kill))
            if not self._interrupt.requested:
                return
            kill = True

    async def _run_closing_step(self, step: Callable[[], Any]) -> None:
        """Run one step of the end; an error in it is an error of the actor, told with its exit."""
        try:
            await self._interrupt.run(step)
        except self.loop.passes:
            raise
        except BaseException as error:
            assert self.exit is not None
            if self.exit.abnormal or self.voluntary:
                # To its supervisor this is the end it asked for, or the crash before.
                self.log.error("error while ending", exc_info=error)  # noqa: TRY400 - the text is not the point
            if not self.exit.abnormal:
                self.exit = Exit.CRASHED(error)

    async def _close_streams(self) -> None:
        assert self.exit is not None
        gone = ActorCrashed if self.exit.abnormal else ActorStopped
        await self._message_loop.producers.aclose(partial(gone, self.ref, str(self.exit)))
