"""A thread node, seen from its parent: a loop of its own in a thread of this process.

Rule 1: it is reached over a link like any other node; it shares nothing but the interpreter.
Rule 2: a thread cannot be killed: one that does not end is ABANDONED: reported, and its link closed.
Rule 3: nor can an actor in a thread that does not turn: it is ABANDONED while the thread goes on.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from anyio import move_on_after

from actors._base.errors import ActorsError
from actors._remoting import operations as ops
from actors._remoting.link import Link
from actors.nodes.health.block_watch import stack_of, work_of
from actors.nodes.health.profile import profile_thread
from actors.nodes.health.stack_dump import frames_of
from actors.nodes.remote_node import RemoteNode, RemoteRun
from actors.nodes.run_end import LAST_READ
from actors.supervisors import Exit
from actors.transport import Endpoint, endpoint_pair

if TYPE_CHECKING:
    from types import FrameType

    from actors._base.loop import Timer
    from actors._remoting.actor_host import ActorHost

__all__ = ["ThreadNode", "ThreadRun"]

_GRACE: Final = 2.0
"""Seconds a thread has to end after it was killed, before it is abandoned."""
_A_KIND: Final = {"thread": "a thread", "interpreter": "an interpreter"}
_ANSWER: Final = 1.0
"""Seconds its loop has to return the stacks of its tasks."""


class ThreadNode(RemoteNode):
    """A node that is a thread with an event loop."""

    kind = "thread"

    def make_run(self, *, successor: bool = False) -> ThreadRun:
        """Make a run of this node."""
        return ThreadRun(self, successor=successor)


class ThreadRun(RemoteRun):
    """One thread, from its start to its end."""

    def __init__(self, node: RemoteNode, *, successor: bool = False) -> None:
        super().__init__(node, successor=successor)
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._abandoning: Timer | None = None
        self._host: ActorHost | None = None
        self._over = False

    @property
    def _begun(self) -> bool:
        """Whether it was started."""
        return self._thread is not None

    async def _spawn(self) -> None:
        ours, theirs = endpoint_pair()
        config = self._config(link=theirs, max_rss=None, dumps=False, show_host=self._take_host)
        # A daemon thread: one that hangs must not keep the whole process from ending.
        name = f"actors node {self.node.name}"
        thread = threading.Thread(target=self._run, args=(config, theirs), name=name, daemon=True)
        self.pid: int | None = os.getpid()
        self.show_state()
        self.link: Link | None = Link(self._home.host, self.address)
        self.link.attach(ours)
        try:
            thread.start()
        except RuntimeError:
            theirs.close()
            raise
        self._thread = thread

    def _run(self, config: dict[str, Any], endpoint: Endpoint) -> None:
        """Run the node: the body of the thread."""
        try:
            import_module(self._home.node_module).run_thread(config)
        except BaseException as error:  # noqa: BLE001 - handed to the parent's loop, which reports it
            self._error = error
        finally:
            # A node that failed early has not closed its endpoint, and nobody else would.
            endpoint.close()
            with suppress(
                RuntimeError
            ):  # the parent's loop has ended, and with it whoever would be told
                self._loop.call_threadsafe(self._thread_ended)

    def _take_host(self, host: ActorHost) -> None:
        self._host = host

    def fence(self, uid: int) -> bool:
        """As `RemoteRun.fence`: its memory is this process's, so it is done while its loop does not turn."""
        cell = None if self._host is None else self._host.cells.get(uid)
        if cell is not None and cell.incarnation is not None:
            cell.incarnation.fence()
        return True

    def _thread_ended(self) -> None:
        """Let the link of the thread, which has ended, be read to its end: it may say why it did."""
        if self._thread is not None:
            self._thread.join()
        self._over = True
        if self.link is None or self.link.closed is not None:
            self._complete()
        else:
            self._loop.call_later(LAST_READ, self._complete)

    def _complete(self) -> None:
        if self._completion.exit is not None:
            return
        why = "its thread ended"
        if self._error is not None:
            why = f"{type(self._error).__name__}: {self._error}"
        self._finish(*self.end.decide(why, clean=self._error is None))

    def kill(self) -> None:
        """Cancel everything in its loop; a thread that is stuck in code cannot be killed."""
        self.end.asked = Exit.KILLED
        if not self._begun:
            self._finish("it was never started", Exit.KILLED)
        else:
            self._force_end()

    def _force_end(self) -> None:
        if self.link is not None and self._abandoning is None:
            self.link.note(ops.end_now)
            self._abandoning = self._loop.call_later(_GRACE, self._abandon)

    def _stack(self) -> str:
        return stack_of(None if self._thread is None else _frame(self._thread))

    def _blocked_by(self) -> dict[str, Any]:
        work = None if self._thread is None else work_of(_frame(self._thread))
        now = {} if work is None else work._asdict()
        return {**super()._blocked_by(), **now, "stack": self._stack()}

    async def stacks(self) -> dict[str, Any]:
        """Return the stacks of its thread and its tasks; see `RemoteRun.stacks`."""
        thread, tasks = self._thread, None
        if thread is None or self.link is None:
            raise ActorsError(f"node {self.node.name} is {self.state.value}: nothing to see")
        with move_on_after(_ANSWER):
            tasks = await self.link.call(ops.task_stacks)
        frames = list(frames_of(_frame(thread)))
        return {"threads": [{"thread": thread.name, "stack": frames}], "tasks": tasks}

    async def profile(self, seconds: float) -> dict[str, Any]:
        """Return where its loop's thread spends its CPU time; see `RemoteRun.profile`."""
        ident = None if self._thread is None else self._thread.ident
        if ident is None:
            raise ActorsError(f"node {self.node.name} is {self.state.value}: nothing to see")
        return await profile_thread(ident, seconds)

    def _abandon(self) -> None:
        if self._completion.exit is None:
            why = f"abandoned: {_A_KIND[self.node.spec.kind]} cannot be killed, and it did not end"
            self._home.event("node_abandoned", {"node": self.node.name, "stack": self._stack()})
            before = self.end.hung or self.end.replaced
            self._finish(f"{before}; {why}" if before else why, Exit.ABANDONED)

    def link_ended(self) -> None:
        """Abandon the thread soon, if it does not end: without its link it is of no use."""
        if self._over:
            self._complete()
        elif self._completion.exit is None and self.end.asked is None and self._abandoning is None:
            self._abandoning = self._loop.call_later(_GRACE, self._abandon)

    def _release(self) -> None:
        self._host = None
        if self._abandoning is not None:
            self._abandoning.cancel()


def _frame(thread: threading.Thread) -> FrameType | None:
    return sys._current_frames().get(thread.ident or 0)  # noqa: SLF001 - there is no other way
