"""An incarnation: one run of an actor, from its constructor to its end. Each restart makes a new one.

Rule 1: it owns the actor object, message loop, tasks, timers, watches, memberships of groups, streams and
children; all end with it.
Rule 2: the first reason to end counts; only a kill replaces it. Ending has a deadline.
Rule 3: an incarnation that was killed and does not end is abandoned: what it sends is refused, and it is
reported as ended.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from actors._actor.actor_thread import ActorThread
from actors._actor.base import Actor
from actors._actor.context import Context
from actors._actor.later_replies import LaterReplies
from actors._actor.message_loop import MessageLoop, exit_notice
from actors._actor.parking import NO_TASK, Parked
from actors._actor.renewal import Renewal
from actors._actor.subscriptions import Subscriptions
from actors._actor.tasks import ActorTasks
from actors._actor.timers import Timers
from actors._actor.watches import Watches
from actors._base.errors import ActorCrashed, ActorsError, ActorStopped, start_failed
from actors._base.log import get_logger
from actors._messaging.mailbox import NO_MESSAGES
from actors._messaging.message_table import is_blocking
from actors._messaging.turn import FENCED, TURN, in_own_thread, refuse_fenced
from actors.supervisors import Exit, ExitKind
from actors.transport import drop_frames, snapshot_args

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from actors._actor.interfaces import CellInterface, Ended
    from actors._base.log import Logger
    from actors._base.loop import Interrupt, Loop, Successor, Timer, Waiter
    from actors._messaging.blocking_ref import ThreadPortal
    from actors._messaging.ref import Ref

__all__ = ["Incarnation"]

_ABANDON_AFTER: Final = 5.0
"""Seconds a killed incarnation has to end before it is abandoned."""
_CLEAR_FRAMES_AFTER: Final = 0.01
"""Seconds after the end until the frames of its error are cleared, which hold the actor and what it opened."""


class _Resources(NamedTuple):
    """Made when an incarnation first uses one of them: most actors use none, and they take memory."""

    tasks: ActorTasks
    timers: Timers
    watches: Watches
    later_replies: LaterReplies
    subscriptions: Subscriptions

    def close(self) -> None:
        """End timers, watches and subscriptions, and withdraw what was asked in the background."""
        self.subscriptions.close()
        self.later_replies.close()
        self.watches.clear()
        self.timers.close()


class Incarnation:
    """One run of the actor of *cell*.

    Args:
        cell: whose run this is.
        number: 1 for the first start, one more for each restart.
        fence: see `Context.fence`.
        ready: resolved when the actor takes messages, or fails if it does not start.
        ended: called once with the end of a started incarnation.
    """

    __slots__ = (
        "_abandon_timer",
        "_actor",
        "_closing",
        "_ended",
        "_groups",
        "_handled",
        "_idle",
        "_interrupt",
        "_log",
        "_ready",
        "_reported",
        "_resources",
        "_shutdown_timer",
        "_started",
        "_thread",
        "cell",
        "children",
        "exit",
        "fence_number",
        "loop",
        "message_loop",
        "number",
        "parked",
        "ref",
        "renewal",
        "task_ended",
        "voluntary",
    )

    def __init__(
        self, cell: CellInterface, number: int, fence: int, ready: Waiter, ended: Ended
    ) -> None:
        host = cell.host
        self.cell: CellInterface = cell
        self.ref: Ref[Any] = cell.ref
        self.number: int = number
        self.fence_number: int = fence
        self.exit: Exit | None = None
        self.voluntary: bool = False
        self.children: Any = None
        # KeyboardInterrupt and SystemExit end the task before the end was reported.
        self.task_ended: bool = False
        self.renewal: Renewal = Renewal()
        self.loop: Loop = host.loop
        self._resources: _Resources | None = None
        self._closing = False
        self._groups: set[str] | None = None
        self.message_loop: MessageLoop = MessageLoop(self)
        self._ready: Waiter | None = ready
        self._ended = ended
        self._interrupt: Interrupt = NO_TASK  # of its task, while it has one
        self._actor: Actor | None = None
        self._log: Logger | None = None
        self._shutdown_timer: Timer | None = None  # runs while it ends
        self._abandon_timer: Timer | None = None  # runs after a kill
        self._started = self._reported = False
        self._idle = True  # it may be parked before it waits for a message
        self.parked: bool = False
        self._handled = -1  # when `park_if_quiet` was called
        self._thread: ActorThread | None = None  # of a blocking actor

    # -- what the context offers ---------------------------------------------------------

    @property
    def resources(self) -> _Resources:
        """Its tasks, timers and watches."""
        if self._resources is None:
            cell, name = self.cell, self.ref.name
            self._resources = _Resources(
                ActorTasks(self.loop, name, self.crash),
                Timers(
                    self.loop,
                    name,
                    cell.cls,
                    cell.deliver,
                    self.message_loop.idleness,
                    partial(cell.host.runs_missed, cell.ref),
                ),
                Watches(cell.host, self._on_watched_exit),
                LaterReplies(self),
                Subscriptions(name, cell),
            )
            if self._closing:
                self._resources.close()
            if self._reported:
                self._resources.tasks.cancel()
        return self._resources

    @property
    def tasks(self) -> ActorTasks:
        """Its tasks; see `Context.tasks`."""
        return self.resources.tasks

    @property
    def has_tasks(self) -> bool:
        """Whether any of its tasks runs, those of concurrent handlers included."""
        return self._resources is not None and len(self._resources.tasks) > 0

    @property
    def timers(self) -> Timers:
        """Its timers; see `Context.timers`."""
        return self.resources.timers

    @property
    def watches(self) -> Watches:
        """The refs it watches."""
        return self.resources.watches

    @property
    def later_replies(self) -> LaterReplies:
        """What it has asked in the background; see `Context.reply_to`."""
        return self.resources.later_replies

    @property
    def subscriptions(self) -> Subscriptions:
        """The topics it has subscribed to; see `Context.subscribe`."""
        return self.resources.subscriptions

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
    def blocking(self) -> bool:
        """Whether it has a thread of its own."""
        return self._thread is not None

    @property
    def portal(self) -> ThreadPortal:
        """What runs coroutines in the loop for its own thread.

        Raises:
            ActorsError: it has none.
        """
        if self._thread is None:
            raise ActorsError(
                f"{self.ref.name} ({self.cell.cls.__name__}) is not blocking: await the verbs of a ref"
            )
        return self._thread.portal

    def in_loop(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call *fn* in the loop; the calling code may run in the actor's own thread."""
        if in_own_thread() is None:
            return fn(*args, **kwargs)
        return self.portal.call_and_wait(fn, *args, **kwargs)

    async def in_thread(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run *fn* in the actor's own thread, or here if it has none; wait for what it returns."""
        if self._thread is None:
            return await fn(*args, **kwargs)
        return await self._thread.run(fn, *args, **kwargs)

    def watch(self, ref: Ref[Any]) -> None:
        """As `Context.watch`."""
        refuse_fenced()
        self.watches.add(ref)

    def unwatch(self, ref: Ref[Any]) -> None:
        """As `Context.unwatch`."""
        self.watches.remove(ref)

    def _on_watched_exit(self, ref: Ref[Any], end: Exit) -> None:
        """Queue the call of `on_exit` in the mailbox, behind what the ended actor had sent, past the bound."""
        self.cell.deliver(exit_notice(self, ref, end))

    async def join(self, group: str, meta: Any) -> None:
        """As `Context.join`."""
        refuse_fenced()
        if self._closing:
            raise ActorStopped(self.ref, "it is ending: it joins no groups")
        if self._groups is None:
            self._groups = set()
        await self.cell.host.groups.join(self._groups, self.ref, group, meta)

    async def leave(self, group: str) -> None:
        """As `Context.leave`."""
        await self.cell.host.groups.leave(self._groups or set(), self.ref, group)

    def _leave_all(self) -> None:
        """End its memberships of groups: it takes no more messages."""
        groups, self._groups = self._groups, None
        if groups:
            self.cell.host.groups.left(groups, self.ref, list(groups))

    def request_stop(self) -> None:
        """As `Context.stop`."""
        refuse_fenced()
        self.cell.request_stop(Exit.NORMAL, None, drain=False)

    def deferral(self) -> BaseException:
        """As `MessageLoop.deferral`."""
        return self.message_loop.deferral()

    async def spawn(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], **options: Any
    ) -> Ref[Any]:
        """As `Context.spawn`."""
        refuse_fenced()
        return await self.cell.host.spawn_child(self, cls, args, kwargs, **options)

    # -- ends ----------------------------------------------------------------------------

    def end(self, how: Exit, *, voluntary: bool) -> None:
        """End by *how* once the current message is handled; called by its handler, the stop message."""
        self.exit, self.voluntary = how, voluntary
        self.message_loop.halt = True

    def crash(self, error: BaseException) -> None:
        """End with *error*, which no asker gets. KeyboardInterrupt and SystemExit end the whole node."""
        if isinstance(error, KeyboardInterrupt | SystemExit):
            self.cell.host.over = True
        elif self.exit is None:
            self.exit = Exit.CRASHED(error)
            self.interrupt()

    def kill(self) -> None:
        """Cancel what runs and end, without `on_stop`."""
        if self.exit is None or self.exit.kind is not ExitKind.KILLED:
            self.exit = Exit.KILLED
        self._force_end()

    def interrupt(self) -> None:
        """Cancel what the actor awaits; the message loop takes no other message before it knows why."""
        self.message_loop.halt = True
        self._interrupt.request()
        if self.parked:
            self.cell.mailbox.wake()

    def _force_end(self) -> None:
        """Cancel what runs and fail its askers now; abandon what has not ended after `_ABANDON_AFTER`."""
        if self._resources is not None:
            self._resources.timers.close()
            self._resources.later_replies.close()
        self._closing = True
        self._leave_all()
        self.cell.mailbox.put_back()
        self.message_loop.lose_all()
        if self._thread is not None:
            # A call that waits for somebody ends by this; nothing can end any other.
            self._thread.portal.close(partial(ActorStopped, self.ref, "it was killed"))
        if self.task_ended:
            # KeyboardInterrupt or SystemExit ended the task before it reported.
            self.cell.run_ended(self)
            self.report(Exit.KILLED)
            return
        self.interrupt()
        if self._abandon_timer is None:
            self._abandon_timer = self.loop.call_later(_ABANDON_AFTER, self.abandon)

    def fence(self) -> None:
        """Refuse what its code still sends, and let it take no other message; from any thread."""
        FENCED.add(self)
        self.exit = self.exit or Exit.KILLED
        self.message_loop.halt = True

    def abandon(self) -> None:
        """Stop waiting for it: refuse what it still sends, end its tasks, watches and children, report."""
        FENCED.add(self)
        self._leave_all()
        if self._abandon_timer is not None:
            self._abandon_timer.cancel()
        if self._thread is not None:
            self.log.error(
                "thread cannot be ended", runs=self._thread.running, thread=self.ref.name
            )
        if self._resources is not None:
            self._resources.tasks.cancel()
            self._resources.watches.clear()
        if self.children is not None:
            stop = partial(self.cell.host.stop_children, self, kill=True)
            self.loop.start(stop, name=f"children of {self.ref.name}")
        self.cell.run_ended(self)
        self.report(Exit.ABANDONED)

    # -- the run -------------------------------------------------------------------------

    async def run(self, start: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Run *start*, in the first of its tasks; handle messages until it is parked, or ends, and reports."""
        successor = self.loop.successor()
        self._interrupt = self.loop.interrupt()
        try:
            if start is not None:
                TURN.set(self.message_loop.turn)
                await self._run_step(start)
                start = None
                self._begin()
            else:
                self._note_activity()
            while self.exit is None:
                if self._idle and self._park(successor):
                    return
                await self._run_step(self.message_loop.take)
                if self.message_loop.resumed:
                    # Many failing messages in a row must not block the event loop.
                    self.message_loop.resumed = False
                    await self._run_step(self.loop.pause)
            await self._finish(self.exit)
        except (KeyboardInterrupt, SystemExit) as error:
            # These end the node; its other actors did not crash.
            self.crash(error)
            raise
        finally:
            if not self.parked:
                self._note_task_ended()

    def _note_task_ended(self) -> None:
        self.task_ended = True
        FENCED.discard(self)
        self.cell.host.parking.forget(self)
        if self._thread is not None:
            self._thread.end()
        if self._abandon_timer is not None:
            self._abandon_timer.cancel()

    # -- parking: see `parking` ------------------------------------------------------------

    def park_if_quiet(self) -> bool:
        """As `Parkable.park_if_quiet`."""
        if self.exit is not None or self.message_loop.collects:
            return True
        handled, self._handled = self._handled, self.message_loop.handled
        self._idle = handled == self._handled and self.message_loop.leave_idle()
        return self._idle

    def _park(self, successor: Successor | None) -> bool:
        """Let the calling task end, if it has nothing to do and nobody knows of it; return whether it may."""
        self._idle = False
        if successor is None or self._thread is not None:
            return False
        if not self.message_loop.is_idle():
            self.cell.host.parking.woken(self)
            return False
        self._interrupt = NO_TASK
        if not successor.unknown:
            self._interrupt = self.loop.interrupt()
            return False
        self.parked = True
        mailbox = self.cell.mailbox
        mailbox.queue = NO_MESSAGES  # an empty deque takes 0.7 KiB
        mailbox.waker = Parked(self, successor)
        return True

    def unpark(self, successor: Successor) -> None:
        """As `Parkable.unpark`."""
        self.parked = False
        successor.start(self.run, name=f"actor {self.ref.name}")
        self.cell.host.parking.woken(self)

    def _begin(self) -> None:
        """Say that it takes messages, unless it has ended already."""
        self._started = self.exit is None
        if not self._started:
            return
        turn = self.message_loop.turn
        turn.starting, turn.chain = False, ()
        self.cell.run_ready(self)
        ready, self._ready = self._ready, None
        # The waiting task may have been cancelled in this pass of the event loop.
        if ready is not None and not ready.done():
            ready.set_result(None)

    async def _finish(self, end: Exit) -> None:
        """Close everything and report; an error while ending may change how it ended."""
        if self._started:
            self.cell.run_ending(self)
        await self._close(started=self._started)
        end = self.exit or end
        self._actor = self.message_loop.actor = None
        self.cell.run_ended(self)
        self.report(end)
        if end.error is not None:
            # Later: the restart comes first, and the log writes the traceback a moment after it.
            self.loop.call_later(_CLEAR_FRAMES_AFTER, drop_frames, end.error)

    def report(self, end: Exit) -> None:
        """Tell the supervisor, once, how this run ended or why it did not start."""
        if self.cell.host.over and not self.task_ended:
            return  # the node is ending: its supervisor kills this one, which reports then
        reported, self._reported = self._reported, True
        if not reported and self._started:
            self._ended(end, self.voluntary or self.cell.stop_asked)
        elif not reported and self._ready is not None and not self._ready.done():
            who = f"{self.ref.name} ({self.cell.cls.__name__})"
            self._ready.set_exception(start_failed(who, end.error))

    async def _run_step(self, step: Callable[[], Any]) -> None:
        """Run one step, which `interrupt` can cancel; what it raises crashes the actor."""
        try:
            await self._interrupt.run(step)
        except self.loop.passes:
            raise
        except BaseException as error:  # noqa: BLE001 - reported to the supervisor
            if self.message_loop.ends_by(error):
                self.exit = self.exit or Exit.CRASHED(error)
        self.message_loop.halt = self.exit is not None
        self.message_loop.drop_current()

    def _note_activity(self) -> None:
        activity = self.cell.host.activity
        if activity.awaited:
            activity.begin()

    async def start(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        cls = self.cell.cls
        self._note_activity()
        # A task of the last incarnation may have deferred its message while it ended.
        self.cell.mailbox.put_back()
        # A copy for each start: what one incarnation changes must not reach the next.
        args, kwargs = snapshot_args(args, kwargs)
        actor: Actor = object.__new__(cls)
        actor.context = Context(self)
        if is_blocking(cls):
            self._thread = ActorThread(self.loop, self.ref.name, self.cell.host.propagation)
            self.message_loop.turn.thread = self._thread.ident
            await self._thread.run(actor.__init__, *args, **kwargs)  # type: ignore[misc] # as below
        else:
            actor.__init__(*args, **kwargs)  # type: ignore[misc] # `__init__` may use the context
        self._actor = self.message_loop.actor = actor
        if type(actor).on_start is not Actor.on_start:
            await self.in_thread(actor.on_start, *self.renewal.state)
        self.renewal.state = ()

    # -- closing -------------------------------------------------------------------------

    async def _close(self, *, started: bool) -> None:
        """Run `on_stop`, then end all that this incarnation owns, within the actor's shutdown time."""
        assert self.exit is not None
        actor, end = self._actor, self.exit
        self._closing = True
        self._leave_all()
        self._note_activity()
        self.cell.mailbox.put_back()
        if self._resources is not None:
            self._resources.close()
        stops = started and actor is not None and type(actor).on_stop is not Actor.on_stop
        if stops or self._owns_something:
            self._start_shutdown_timer()
        await self._wait_for_thread(lambda thread: thread.idle)
        await self._hand_over(actor if started else None)
        if stops and actor is not None and self.exit.kind is not ExitKind.KILLED:
            await self._run_closing_step(partial(self.in_thread, actor.on_stop, end))
        # In loops: a kill interrupts the step, and what it did not finish is cancelled again.
        while self._resources is not None and not self._resources.tasks.closed:
            await self._run_closing_step(self._resources.tasks.aclose)
        while self.message_loop.streaming:
            await self._run_closing_step(self._close_streams)
        await self._close_children()
        if self._thread is not None:
            self._thread.end()
            await self._wait_for_thread(lambda thread: thread.closed)
        if self._shutdown_timer is not None:
            self._shutdown_timer.cancel()

    async def _hand_over(self, actor: Actor | None) -> None:
        """Have the next incarnation go on with what this one hands over, if it was asked to."""
        if actor is not None and self.exit == Exit.SHUTDOWN:
            await self.renewal.hand_over(self, actor, self._interrupt)

    @property
    def _owns_something(self) -> bool:
        """Whether there is something to close, which may take its time."""
        owned = (self._resources, self.children, self._thread)
        return self.message_loop.streaming or any(one is not None for one in owned)

    async def _wait_for_thread(self, done: Callable[[ActorThread], bool]) -> None:
        """Wait for the actor's own thread, if it has one; a kill does not end the wait, as it ends no call."""
        while self._thread is not None and not done(self._thread):
            await self._run_closing_step(self._thread.wait)

    def _start_shutdown_timer(self) -> None:
        """Start the shutdown timer, unless the supervisor asked for this end and so times it itself."""
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
        """Stop the children; kill them if this is a kill, or becomes one meanwhile."""
        kill = self._abandon_timer is not None
        while self.children is not None:
            await self._run_closing_step(partial(self.cell.host.stop_children, self, kill=kill))
            if not self._interrupt.requested:
                return
            kill = True

    async def _run_closing_step(self, step: Callable[[], Any]) -> None:
        """Run one step of closing; an error in it crashes the actor, or is logged if it crashed already."""
        try:
            await self._interrupt.run(step)
        except self.loop.passes:
            raise
        except BaseException as error:
            assert self.exit is not None
            if self.exit.abnormal or self.voluntary:
                # The supervisor is told of the end that came first.
                self.log.error("error while ending", exc_info=error)  # noqa: TRY400 - the text is not the point
            if not self.exit.abnormal:
                self.exit = Exit.CRASHED(error)

    async def _close_streams(self) -> None:
        assert self.exit is not None
        gone = ActorCrashed if self.exit.abnormal else ActorStopped
        await self.message_loop.producers.aclose(partial(gone, self.ref, str(self.exit)))
