"""One run of one actor, from its constructor to its end; a restart makes another.

Rule 1: one message at a time, in the order of the mailbox, in one task.
Rule 2: an exception goes to whoever awaits the reply; with nobody to tell it is a crash, unless the
class decides otherwise (`on_error`).
Rule 3: per message no task, scope, event, lock, closure or log call; a clock reading for four.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from supervisors import Exit, ExitKind
from transport import snapshot_args

from ._context import Context
from ._envelope import TURN, Envelope, Handler, Kind, Turn
from ._errors import ActorCrashed, ActorStopped, DeadlineExceeded, start_failed
from ._exchange import answer
from ._log import get_logger
from ._on_error import OnError, decide
from ._stream import Outlets
from ._tasks import ActorTasks
from ._timers import Timers
from ._watches import Watches

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._actor import Actor
    from ._body import Body, Ended
    from ._envelope import Tell
    from ._log import Logger
    from ._loop import Task, Waiter
    from ._ref import Ref

__all__ = ["MESSAGES_PER_TURN", "SECONDS_PER_TURN", "Incarnation"]


MESSAGES_PER_TURN: Final = 64
MESSAGES_PER_CLOCK: Final = 4
SECONDS_PER_TURN: Final = 0.010

_EXIT_NOTICE: Final = Handler("(on_exit)", lambda: None, Kind.NOTICE)


class Incarnation:
    """Owns the actor object, its tasks, timers, watches and streams; all end with it."""

    def __init__(self, cell: Body, number: int, ready: Waiter, ended: Ended) -> None:
        home = cell.home
        self.cell = cell
        self.ref: Ref[Any] = cell.ref
        self.number = number
        self.exit: Exit | None = None
        self.voluntary = False
        self.children: Any = None
        self.loop = home.as_home.loop
        self.turn = Turn(cell.as_target(), exclusive=True)
        self.tasks = ActorTasks(self.loop, cell.ref.name, self.crash)
        self.timers = Timers(self.loop, cell.ref.name, cell.cls, cell.post)
        self._ready = ready
        self._ended = ended
        self._interrupt = self.loop.interrupt()
        self._actor: Actor | None = None
        self._log: Logger | None = None
        self._current: Envelope | Tell | None = None
        self._halt = self._resumed = self._started = self._reported = False
        self._since = 0.0
        self._beside: dict[Envelope, Task] = {}
        self._outlets = Outlets(cell.ref, cell.post)
        self._watches = Watches(home.as_home, self._hear)

    # -- what the context offers ---------------------------------------------------------

    @property
    def node(self) -> str:
        """The name of the node this runs on."""
        return self.cell.home.name

    @property
    def system(self) -> Any:
        """The System of this node."""
        return self.cell.home.system

    @property
    def log(self) -> Logger:
        """A logger bound with node, actor and incarnation."""
        if self._log is None:
            self._log = get_logger(node=self.node, actor=self.ref.name, incarnation=self.number)
        return self._log

    @property
    def handling(self) -> tuple[str, float] | None:
        """Which message is being handled, and for how many seconds."""
        if self._current is None:
            return None
        return (Envelope.of(self._current).handler.name, perf_counter() - self._since)

    def watch(self, ref: Ref[Any]) -> None:
        """Deliver the final end of *ref* to `on_exit`, once."""
        self._watches.add(ref)

    def unwatch(self, ref: Ref[Any]) -> None:
        """Forget *ref*; a queued notice is dropped when its turn comes."""
        self._watches.drop(ref)

    def _hear(self, ref: Ref[Any], end: Exit) -> None:
        """Queue the notice of a watched actor's end, in message order and past the bound."""
        self.cell.post(Envelope(_EXIT_NOTICE, (self, ref, end), {}))

    def request_stop(self) -> None:
        """End behind what is queued, for good."""
        self.cell.ask_stop(Exit.NORMAL, None, drain=False)

    async def spawn(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], **options: Any
    ) -> Ref[Any]:
        """Start a child on this node; it ends before this incarnation does."""
        return await self.cell.home.spawn_child(self, cls, args, kwargs, **options)

    # -- ends ----------------------------------------------------------------------------

    def crash(self, error: BaseException) -> None:
        """End by *error*: nobody else is there to be told."""
        if self.exit is None:
            self.exit = Exit.CRASHED(error)
            self._break_off()

    def kill(self) -> None:
        """End now; what is being awaited is cancelled, `on_stop` does not run."""
        if self.exit is None or self.exit.kind is not ExitKind.KILLED:
            self.exit = Exit.KILLED
        self.timers.close()
        self._break_off()

    def cancel(self, envelope: Envelope) -> None:
        """Break off the handler of *envelope*, if it is running."""
        if envelope is self._current:
            self._break_off()
        elif envelope in self._beside:
            self._beside[envelope].cancel()
        else:
            self._outlets.close(envelope)

    def _break_off(self) -> None:
        """End what is being awaited; the loop looks at why before it takes another message."""
        self._halt = True
        self._interrupt.ask()

    # -- the run -------------------------------------------------------------------------

    async def live(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Start, handle messages until the end, let go of everything, report."""
        TURN.set(self.turn)
        self.cell.home.system.enter()
        cell = self.cell
        await self._guarded(partial(self._start, args, kwargs))
        started = self._started = self.exit is None
        if started:
            cell.run_ready(self)
            self._ready.set_result(None)
        while self.exit is None:
            await self._guarded(self._turns)
            if self._resumed:
                # A row of failures is no reason to keep the loop.
                self._resumed = False
                await self._guarded(self.loop.pause)
        if started:
            cell.run_ending(self)
        await self._close(started=started)
        cell.run_ended(self)
        assert self.exit is not None
        self.report(self.exit)

    def report(self, end: Exit) -> None:
        """Tell the supervisor how this run ended, or why it did not start; once."""
        reported, self._reported = self._reported, True
        if not reported and self._started:
            self._ended(end, self.voluntary or self.cell.stop_asked)
        elif not reported and not self._ready.done():
            who = f"{self.ref.name} ({self.cell.cls.__name__})"
            self._ready.set_exception(start_failed(who, end.error))

    async def _guarded(self, step: Callable[[], Any]) -> None:
        """Run one step that can be broken off; what it raises is a crash."""
        try:
            await self._interrupt.run(step)
        except self.loop.passes:
            raise
        except BaseException as error:  # noqa: BLE001 - the supervisor is told
            if self._current is None or self._ends_by(self._current, error):
                self.exit = self.exit or Exit.CRASHED(error)
        current, self._current = self._current, None
        self._halt = self.exit is not None
        if current is not None:
            self._abandon(Envelope.of(current))

    def _ends_by(self, item: Envelope | Tell, error: BaseException) -> bool:
        """Do what the class decides about the error of a message; return whether this run ends by it."""
        message = Envelope.of(item)
        plain = isinstance(error, Exception) and message.handler.kind is not Kind.RESUME
        if self.exit is not None or not plain:
            return True
        decided = decide(self.cell.cls, error, asked=message.reply is not None)
        if decided is not OnError.RESTART:
            self.voluntary = decided is OnError.STOP
            self.cell.home.message_failed(self.ref, message, error)
        self._resumed = decided is OnError.RESUME
        return not self._resumed

    def _abandon(self, current: Envelope) -> None:
        """The message being handled is lost; whoever awaits it is told why."""
        if current.handler.kind is Kind.RESUME:
            current.args[0].crash(ActorCrashed(self.ref, str(self.exit or "")))
        else:
            current.fail(ActorCrashed(self.ref, str(self.exit or "cancelled")))

    async def _start(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        cls = self.cell.cls
        # A snapshot at every start: one incarnation's changes never reach the next.
        args, kwargs = snapshot_args(args, kwargs)
        actor: Actor = object.__new__(cls)
        actor.context = Context(self)
        actor.__init__(*args, **kwargs)  # type: ignore[misc] # the context has to be there first
        self._actor = actor
        await actor.on_start()

    # One function, because a call per message would cost as much as a small message does.
    async def _turns(self) -> None:  # noqa: C901, PLR0912
        mailbox = self.cell.mailbox
        queue = mailbox.queue
        waiting = mailbox.line.waiting
        actor = self._actor
        assert actor is not None
        while not self._halt:
            if not queue:
                mailbox.waker = waker = self.loop.waiter()
                await waker
            left = MESSAGES_PER_TURN
            self._since = began = perf_counter()
            while queue and left:
                left -= 1
                item = mailbox.take() if waiting else queue.popleft()
                self._current = item
                if isinstance(item, tuple):
                    handler, args, kwargs, origin = item
                    if origin is not None:
                        origin.took()
                    await (
                        handler.fn(actor, *args, **kwargs) if kwargs else handler.fn(actor, *args)
                    )
                elif item.handler.plain and item.deadline is None and item.origin is None:
                    await self._answer_call(actor, item)
                else:
                    self._current = None
                    await self._special(actor, item)
                self._current = None
                if self._halt:
                    return  # type: ignore[unreachable] # the await above may have set it
                if not left % MESSAGES_PER_CLOCK:
                    # A clock reading costs as much as a small handler does.
                    self._since = now = perf_counter()
                    if now - began > SECONDS_PER_TURN:
                        break
            if queue:
                await self.loop.pause()

    async def _special(self, actor: Actor, envelope: Envelope) -> None:
        """Handle whatever is not simple: a deadline, an account to keep, another kind than a call."""
        if envelope.origin is not None:
            envelope.origin.took()
        if envelope.deadline is not None and self.loop.now() >= envelope.deadline:
            name = envelope.handler.name
            if not envelope.fail(
                DeadlineExceeded(self.ref, f"{name} expired in the queue", envelope.message)
            ):
                self.cell.home.dead_letter(self.ref, envelope, "its deadline passed in the queue")
            return
        await _SPECIAL[envelope.handler.kind](self, actor, envelope)

    async def _call(self, actor: Actor, envelope: Envelope) -> None:
        self._current = envelope
        self._since = perf_counter()
        self.turn.deadline = envelope.deadline
        try:
            await self._answer_call(actor, envelope)
        finally:
            self.turn.deadline = None
        self._current = None

    async def _answer_call(self, actor: Actor, envelope: Envelope) -> None:
        reply = envelope.reply
        try:
            result = await envelope.handler.fn(actor, *envelope.args, **envelope.kwargs)
        except Exception as error:
            asked = envelope.fail(error)
            if not asked or decide(self.cell.cls, error, asked=True) is not OnError.RESUME:
                raise
        else:
            if reply is not None and not reply.done():
                answer(reply, result)

    async def _concurrent(self, actor: Actor, envelope: Envelope) -> None:
        async def beside() -> None:
            turn = Turn(self.cell.as_target(), exclusive=False)
            turn.deadline = envelope.deadline
            TURN.set(turn)
            try:
                await self._answer_call(actor, envelope)
            except Exception as error:  # noqa: BLE001 - the class decides
                if self._ends_by(envelope, error):
                    self.crash(error)
            finally:
                self._beside.pop(envelope, None)
                if envelope.reply is not None and not envelope.reply.done():
                    self._abandon(envelope)

        self._beside[envelope] = self.tasks.start_soon(beside, name=envelope.handler.name)

    async def _stream(self, actor: Actor, envelope: Envelope) -> None:
        self._outlets.open(actor, envelope)

    async def _resume(self, _actor: Actor, envelope: Envelope) -> None:
        self._current = envelope
        self._since = perf_counter()
        await self._outlets.resume(envelope.args[0])
        self._current = None

    async def _tick(self, actor: Actor, envelope: Envelope) -> None:
        message = self.timers.take(envelope)
        if message is not None:
            await _SPECIAL[message.handler.kind](self, actor, message)

    async def _notice(self, actor: Actor, envelope: Envelope) -> None:
        if envelope.reply is not None:
            envelope.reply.set_result(None)
            return
        incarnation, ref, end = envelope.args
        # A notice to an earlier incarnation, or of a ref no longer watched, is not delivered.
        if incarnation is self and self._watches.drop(ref):
            await actor.on_exit(ref, end)

    async def _stop(self, _actor: Actor, envelope: Envelope) -> None:
        self.exit, self.voluntary = envelope.args
        self._halt = True

    # -- letting go ----------------------------------------------------------------------

    async def _close(self, *, started: bool) -> None:
        """Run `on_stop`, then end all that this incarnation owns."""
        assert self.exit is not None
        actor, end = self._actor, self.exit
        self._watches.clear()
        self.timers.close()
        if started and actor is not None and end.kind is not ExitKind.KILLED:
            await self._in_end(partial(actor.on_stop, end))
        await self._in_end(self.tasks.aclose)
        await self._in_end(self._close_streams)
        await self._close_children()

    async def _close_children(self) -> None:
        """End the children: politely, unless this is a kill or becomes one meanwhile."""
        assert self.exit is not None
        kill = self.exit.kind is ExitKind.KILLED
        while True:
            await self._in_end(partial(self.cell.home.stop_children, self, kill=kill))
            if not self._interrupt.asked:
                return
            kill = True

    async def _in_end(self, step: Callable[[], Any]) -> None:
        """Run one step of the end; an error in it is an error of the actor, told with its exit."""
        try:
            await self._interrupt.run(step)
        except Exception as error:
            assert self.exit is not None
            if self.exit.abnormal:
                self.log.error("error while ending", exc_info=error)  # noqa: TRY400 - the text is not the point
            else:
                self.exit = Exit.CRASHED(error)

    async def _close_streams(self) -> None:
        assert self.exit is not None
        gone = ActorCrashed if self.exit.abnormal else ActorStopped
        await self._outlets.aclose(partial(gone, self.ref, str(self.exit)))


_SPECIAL: Final[dict[Kind, Callable[[Incarnation, Actor, Envelope], Any]]] = {
    Kind.CALL: Incarnation._call,  # noqa: SLF001 - the table of this class
    Kind.CONCURRENT: Incarnation._concurrent,  # noqa: SLF001 - as above
    Kind.STREAM: Incarnation._stream,  # noqa: SLF001 - as above
    Kind.RESUME: Incarnation._resume,  # noqa: SLF001 - as above
    Kind.NOTICE: Incarnation._notice,  # noqa: SLF001 - as above
    Kind.TICK: Incarnation._tick,  # noqa: SLF001 - as above
    Kind.STOP: Incarnation._stop,  # noqa: SLF001 - as above
}
