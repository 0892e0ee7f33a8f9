"""One run of a node at the other end of a link, seen from the parent: what processes and threads share.

Rule 1: ready is said by the node itself, never assumed from a timer.
Rule 2: what hung on its link fails when it is known how the node ended, and says so.
Rule 3: only an end its supervisor asked for is final: one that is hung, or is replaced, comes back.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Protocol

from anyio import fail_after, move_on_after

from actors._base.completion import Completion
from actors._base.errors import ActorsError, BootFailed
from actors._remoting import operations as ops
from actors.nodes._node import NodeState
from actors.nodes.health.heartbeat import HangDetector
from actors.supervisors import Exit, ExitKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._actor.interfaces import Ended
    from actors._base.loop import Timer, Waiter
    from actors._remoting.actor_host import ActorHost
    from actors._remoting.link import Link
    from actors.nodes._spec import NodesSpec
    from actors.nodes.boot.launcher import Launcher

__all__ = ["NodeDied", "RemoteRun", "RemoteRunHost", "RunningNode"]

_GONE: Final = 5.0
"""Seconds a node that was killed while it booted is waited for."""
_IN_ORDER: Final = 0.8
"""The part of `shutdown` in which a node that is replaced finishes what it has."""


class NodeDied(ActorsError):
    """A node ended although nobody had asked it to."""


class RemoteRunHost(Protocol):
    """The system, as the runs of its nodes see it."""

    host: ActorHost
    launcher: Launcher
    node_module: str
    runs: dict[str, RemoteRun]
    """Every run there is, by its address."""

    def node_config(self) -> dict[str, Any]: ...
    def new_node_number(self) -> int: ...
    def preload(self, group: str) -> tuple[str, ...]: ...
    async def prepare(self, run: RemoteRun) -> None: ...
    def node_ready(self, run: RemoteRun) -> None: ...
    def node_draining(self, run: RemoteRun, why: str) -> None: ...
    def node_ended(
        self, run: RemoteRun, link: Link | None, why: str, *, restarting: bool, replaced: bool
    ) -> None: ...
    def event(self, kind: str, facts: dict[str, Any]) -> None: ...
    def write_line(self, line: str) -> None: ...


class RunningNode(Protocol):
    """The node, as its runs see it."""

    name: str
    group: str
    slot: int
    spec: NodesSpec
    state: NodeState
    pid: int | None
    restarts: int
    address: str
    run: RemoteRun | None
    leaving: bool
    drain_within: float
    ended: dict[int, Ended]
    last_end: str

    @property
    def home(self) -> RemoteRunHost: ...
    def changed(self) -> None: ...
    def replace(self, why: str) -> bool: ...
    def actor_ended(self, uid: int, end: Exit, *, voluntary: bool) -> None: ...


class RemoteRun:
    """One run of such a node, with the verbs of a child; its kind adds how it starts and is killed.

    Args:
        node: whose run it is.
        beside: whether the node has another run, whose place this one is to take.
    """

    def __init__(self, node: RunningNode, *, beside: bool = False) -> None:
        self.node = node
        self.beside = beside
        """Whether it is not the node's yet: nobody counts on it."""
        self.retired = False
        """Whether another run has taken its place."""
        self.address = node.address
        """Where other nodes reach it; the same for runs of which one follows the other's end."""
        self.number = 0
        self.state = NodeState.SPAWNED
        self.pid: int | None = None
        self.last_end = ""
        """How it ended, with the last lines it wrote."""
        self.link: Link | None = None
        self._home = node.home
        self._loop = node.home.host.loop
        self._ready: Waiter | None = None
        self._ending = Completion(self._loop.waiter)
        self._asked: Exit | None = None
        self._slain = False
        self._boot_error = ""
        self.hang_detector = HangDetector(self._loop, node.spec.hang_after, self._hung)
        self._broken = ""
        """Why it had to be killed, if that was."""
        self._replaced = ""
        """Why another run is to take its place, if that was asked."""
        self._overdue = False
        self._deadline: Timer | None = None

    # -- start ---------------------------------------------------------------------------

    def show(self) -> None:
        """Have the node look as this run does, if it is the one that has its actors."""
        if self.node.run is self:
            self.node.state = self.state
            self.node.pid = self.pid

    def _turn(self, state: NodeState) -> None:
        self.state = state
        self.show()

    async def start(self, ended: Callable[[Exit], None], within: float | None = None) -> None:
        """Start the node and return when it says that it is ready.

        Args:
            ended: told how it ended, once it has been ready.
            within: seconds it has to get ready; None is the node's `boot_timeout`.

        Raises:
            BootFailed: it ended, or stayed silent, before that; the text holds its own traceback.
        """
        node = self.node
        self._begin()
        seconds = node.spec.boot_timeout if within is None else within
        try:
            with fail_after(seconds):
                await self._spawn()
                self._turn(NodeState.BOOTING)
                self._ready = self._loop.waiter()
                await self._ready
                await self._home.prepare(self)
        except BaseException as error:
            self._ready = None  # nobody waits for it any more
            self.kill()
            # A start that failed leaves nothing behind.
            with move_on_after(_GONE, shield=True):
                await self.wait()
            if isinstance(error, TimeoutError):
                why = f"node {node.name} was not ready after {seconds:g} s"
                raise BootFailed(why + self._tail()) from error
            if isinstance(error, OSError):
                raise BootFailed(f"node {node.name} could not be started: {error}") from error
            raise
        self._ending.told = ended
        self._turn(NodeState.READY)
        self.hang_detector.start()
        if not self.beside:
            self._home.node_ready(self)
            node.changed()

    def _begin(self) -> None:
        self.number = self._home.new_node_number()
        if self.beside:
            self.address = f"{self.node.name}~{self.number}"
        else:
            self.node.run = self
        self._home.runs[self.address] = self
        self._turn(NodeState.SPAWNED)

    async def _spawn(self) -> None:
        """Start it, with a link; its kind does."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it now, as far as its kind allows."""
        raise NotImplementedError

    def _force(self) -> None:
        """Do so, though nobody asked for its end: it comes back."""
        raise NotImplementedError

    def _stack(self) -> str:
        """What it is busy with, as far as that can be seen from here."""
        return ""

    def link_ended(self) -> None:
        """The link is at its end: a hint that the node is, too."""
        raise NotImplementedError

    def _tail(self) -> str:
        """The last lines it wrote, if it has any of its own."""
        return ""

    def _let_go(self) -> None:
        """Release what only this kind of node holds."""

    def child_is_ready(self) -> None:
        """The child has imported everything and its loop runs."""
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def child_failed(self, traceback: str) -> None:
        """The child could not get ready, and says why."""
        self._boot_error = traceback

    def child_beats(self, *, watched: bool) -> None:
        """The child's loop runs; unless *watched*, its silence means nothing from now on."""
        self.hang_detector.beat(watched=watched)

    def child_stacks(self, fd: int) -> None:
        """The child writes there what its threads and tasks are at, when it is asked."""
        os.close(fd)

    async def stacks(self) -> dict[str, Any]:
        """Return what its threads and tasks are at; tasks are None if it does not get to say.

        Raises:
            ActorsError: it cannot be looked into.
        """
        raise NotImplementedError

    def child_over_rss(self, rss: int) -> None:
        """The child holds more memory than it may, and says so again until it is told to leave."""
        node = self.node
        if self.state is not NodeState.READY or node.run is not self:
            return
        limit = node.spec.max_rss
        self._home.event("node_over_rss", {"node": node.name, "rss": rss, "max_rss": limit})
        node.replace(f"{_mib(rss)} resident, max_rss is {_mib(limit or 0)}")

    # -- the end -------------------------------------------------------------------------

    async def wait(self) -> Exit:
        """Wait for it to be gone and return how it ended."""
        return await self._ending.wait()

    def stop(self) -> None:
        """Ask the node to drain and end."""
        if self._asked is None:
            self._asked = Exit.SHUTDOWN
            self.hang_detector.stop()
            node = self.node
            if node.leaving and self.state is NodeState.READY:
                self.drain("it is being stopped")
            self._turn(NodeState.DRAINING)
            node.changed()
            if self.link is not None and not (node.leaving and self._replaced):
                self.link.note(ops.leave if node.leaving else ops.shut_down, node.drain_within)

    def drain(self, why: str) -> None:
        """Let it get nothing new from here on; it goes on with what it has."""
        self._turn(NodeState.DRAINING)
        self._home.node_draining(self, why)
        self.node.changed()

    def kill_to_restart(self) -> None:
        """Kill it for somebody who does not want it to end for good: its supervisor restarts it."""
        self._slain = self._asked is None
        self.kill()

    def replace(self, why: str) -> bool:
        """End this run in order, so that its supervisor starts another; that is no crash.

        It gets no new work from here on: messages are refused with `NodeDown`, which says that it
        is being restarted, connections go to other nodes. What it has is finished: requests that
        are being served, what actors have queued. Its actors then wait for the next run and are
        started there, which costs them nothing. One that takes longer than its `shutdown` seconds
        is killed. The node pays for the restart by its backoff: the first one is immediate.

        Args:
            why: what the event, the log and whoever is refused are told.

        Returns:
            Whether it was running and is being replaced now; one that boots or ends already is not.
        """
        if self._asked is not None or self.state is not NodeState.READY or self.link is None:
            return False
        self._replaced = f"replaced: {why}"
        self.hang_detector.stop()
        self.drain(self._replaced)
        # The time to end in order is within the limit, not beyond it.
        seconds = self.node.spec.shutdown
        self.link.note(ops.leave, _IN_ORDER * seconds)
        self._deadline = self._loop.call_later(seconds, self._replace_overdue)
        return True

    def retire(self, why: str) -> None:
        """End it in order, as another has its place already."""
        self.retired = True
        self.replace(why)

    def _replace_overdue(self) -> None:
        if self._asked is None:
            self._overdue = True
            self._force()

    def _hung(self) -> None:
        """Nothing was heard of it for too long."""
        seconds = self.node.spec.hang_after
        facts = {"node": self.node.name, "seconds": seconds, "stack": self._stack()}
        self._home.event("node_hung", {key: fact for key, fact in facts.items() if fact != ""})
        self._broken = f"hung: no heartbeat for {seconds:g} s"
        self._force()

    def _judge(self, how: str, *, clean: bool) -> tuple[str, Exit]:
        """Say why it ended, and what that is to its supervisor.

        Args:
            how: what was seen of the end: an exit code, a signal.
            clean: whether it looked as if all was well.
        """
        if self._asked is not None:
            return how, self._asked
        if self._replaced and self._overdue:
            late = f"killed because it took over {self.node.spec.shutdown:g} s"
            return f"{self._replaced}; {late}", Exit.SHUTDOWN
        if self._replaced and clean:
            return self._replaced, Exit.SHUTDOWN
        why = self._broken or how
        return why, Exit.CRASHED(NodeDied(f"node {self.node.name}: {why}" + self._tail()))

    def _finish(self, why: str, end: Exit) -> None:
        """It is gone: tell everybody who counted on it, once."""
        if not self._ending.come(end):
            return
        self._close(why)
        restarting = self._asked is None or self._slain
        link, self.link = self.link, None
        if link is not None:
            link.close()
        replaced = bool(self._replaced) and end.kind is not ExitKind.CRASHED
        self._home.node_ended(self, link, why, restarting=restarting, replaced=replaced)
        if self._ready is not None and not self._ready.done():
            text = self._boot_error or f"{why}{self._tail()}"
            self._ready.set_exception(BootFailed(f"node {self.node.name} failed to boot: {text}"))
        self._ending.tell()

    def _close(self, why: str) -> None:
        """Let go of everything but the link, and of the node."""
        node = self.node
        self.pid = None
        self._turn(NodeState.EXITED)
        self.hang_detector.stop()
        if self._deadline is not None:
            self._deadline.cancel()
        self._let_go()
        self.last_end = why + self._tail()
        if self._home.runs.get(self.address) is self:
            del self._home.runs[self.address]
        if node.run is self:
            node.run = None
            node.last_end = self.last_end
        node.changed()


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"
