"""The worker of plain functions: an actor that runs what it is sent, in a thread beside its loop."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any
from weakref import finalize

from anyio import CancelScope, Event, get_cancelled_exc_class

from actors._actor.base import Actor
from actors._actor.message_taker import DETACHED
from actors._messaging.handler_options import concurrent
from actors._messaging.turn import TURN
from actors._pools.call_line import CallLine, NotBegun
from actors._pools.call_thread import AwaitedCall, CallThread
from actors._pools.line_journal import JOURNAL_SIZE, LineJournal
from actors._pools.sent_function import exited, is_async
from actors.transport import SharedBuffer

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FunctionWorker"]


class FunctionWorker(Actor):
    """Runs functions: coroutine functions on the loop, others in a thread of its own.

    Args:
        init: called once before the first task, as one of them.
    """

    def __init__(self, init: Callable[[], Any] | None = None) -> None:
        self._init = init
        self._threads: list[CallThread] = []
        self._idle: list[CallThread] = []
        self._line: CallLine | None = None
        self._journal: SharedBuffer | None = None
        self._beside: dict[tuple[str, int], Event] = {}
        # Also a worker that was killed, which no `on_stop` tells.
        finalize(self, _end_threads, self._threads).atexit = False

    async def on_start(self) -> None:
        """Run `init`."""
        if self._init is not None:
            await self._apply(self._init, ())

    async def on_stop(self, _exit: Any) -> None:
        """End the threads, each when what it runs has returned."""
        await self._wait_for_line()
        _end_threads(self._threads)

    async def call(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Return ``fn(*args)``; the next task waits."""
        await self._wait_for_line()
        return await self._apply(fn, args)

    async def call_in_line(self, fn: Callable[..., Any], args: tuple[Any, ...], number: int) -> Any:
        """Return ``fn(*args)``, which is no coroutine function, after those that came before.

        Args:
            fn: what to call.
            args: its arguments.
            number: one more than that of the call before; see `LineJournal`.

        Raises:
            NotBegun: it would have to wait for too long.
        """
        if self._line is None and self._journal is None:
            raise NotBegun  # it was sent to this worker's last run
        if self._line is None:
            self._line = self._new_line()
        self._line.put(fn, args, number)
        return DETACHED

    @concurrent
    async def journal(self) -> SharedBuffer:
        """Return the memory in which it notes what it does for `call_in_line`."""
        if self._journal is None:
            self._journal = SharedBuffer(JOURNAL_SIZE)
        return self._journal

    def _new_line(self) -> CallLine:
        assert self._journal is not None
        thread = self._idle[-1] if self._idle else self._new_thread()
        run = self.context._incarnation  # noqa: SLF001 - an actor of the framework's own
        return CallLine(run, thread, LineJournal(self._journal))

    async def _wait_for_line(self) -> None:
        if self._line is not None:
            await self._line.wait_idle()

    def _new_thread(self) -> CallThread:
        thread = CallThread(f"{self.context.name} task")
        self._idle.append(thread)
        self._threads.append(thread)
        return thread

    @concurrent
    async def call_beside(
        self, fn: Callable[..., Any], args: tuple[Any, ...], submitter: str, ticket: int
    ) -> Any:
        """Return ``fn(*args)``; others run beside it.

        What it asks for carries that this function waits, as a chain of calls has the actors that do: with the
        number of this actor below 0, as others may run here.
        """
        self._beside[submitter, ticket] = over = Event()
        turn, ref = TURN.get(), self.context.ref
        assert turn is not None
        turn.chain = (*turn.chain, (-ref.uid, f"task {ticket} of {submitter} on {ref.name}"))
        try:
            return await self._apply(fn, args)
        finally:
            del self._beside[submitter, ticket]
            over.set()

    @concurrent
    async def wait_over(self, submitter: str, ticket: int) -> None:
        """Return when `call_beside` no longer runs this task, and no call is in line."""
        await self._wait_for_line()
        over = self._beside.get((submitter, ticket))
        if over is not None:
            await over.wait()

    async def _apply(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        try:
            result = fn(*args) if is_async(fn) else await self._in_thread(fn, args)
            # Also a plain function may return a coroutine.
            return await result if isinstance(result, Coroutine) else result
        except (SystemExit, KeyboardInterrupt) as error:
            raise exited(fn, error) from None

    async def _in_thread(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        loop = self.context.ref.host.loop
        if not self._idle:
            self._new_thread()
        thread = self._idle.pop()
        call = AwaitedCall(loop, fn, args)
        thread.put(call)
        cancelled: BaseException | None = None
        # The place is taken until the function has returned, whoever no longer waits for it.
        with CancelScope(shield=True):
            while not call.returned:
                call.waiter = loop.waiter()
                try:
                    await call.waiter
                except get_cancelled_exc_class() as error:
                    cancelled = error
        self._idle.append(thread)
        if cancelled is not None:
            raise cancelled
        if call.error is not None and not isinstance(call.error, Exception):
            raise exited(fn, call.error) from None  # as itself it would end the worker
        if call.error is not None:
            raise call.error
        return call.result


def _end_threads(threads: list[CallThread]) -> None:
    for thread in threads:
        thread.put(None)
    threads.clear()
