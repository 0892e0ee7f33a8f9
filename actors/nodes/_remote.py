"""A node at the other end of a link, seen from the parent: what process and thread nodes share.

Rule 1: ready is said by the node itself, never assumed from a timer.
Rule 2: what hung on its link fails when it is known how the node ended, and says so.
Rule 3: only an end its supervisor asked for is final: one that is hung, or is replaced, comes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from anyio import fail_after, move_on_after

from actors._ending import Ending
from actors._errors import ActorsError, BootFailed
from supervisors import Exit, ExitKind

from ._heartbeat import Watch
from ._node import Node, NodeState

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._body import Ended
    from actors._loop import Timer, Waiter

    from ._launcher import Launcher
    from ._link import Link
    from ._node import ActorStart
    from ._runtime import Runtime
    from ._spec import NodesSpec

__all__ = ["NodeDied", "RemoteHome", "RemoteNode", "RemoteRun"]


_GONE: Final = 5.0
"""Seconds a node that was killed while it booted is waited for."""
_IN_ORDER: Final = 0.8
"""The part of `shutdown` in which a node that is replaced finishes what it has."""


class NodeDied(ActorsError):
    """A node ended although nobody had asked it to."""


class RemoteHome(Protocol):
    """The system, as its nodes see it."""

    runtime: Runtime
    launcher: Launcher
    node_module: str

    def node_config(self) -> dict[str, Any]: ...
    def new_node_number(self) -> int: ...
    def preload(self, node: RemoteNode) -> tuple[str, ...]: ...
    async def prepare(self, node: RemoteNode) -> None: ...
    def node_ready(self, node: RemoteNode) -> None: ...
    def node_draining(self, node: RemoteNode, why: str) -> None: ...
    def node_ended(
        self, node: RemoteNode, link: Link | None, why: str, *, restarting: bool, replaced: bool
    ) -> None: ...
    def event(self, kind: str, facts: dict[str, Any]) -> None: ...
    def write_line(self, node: RemoteNode, line: str) -> None: ...
    async def stop_node(self, name: str, grace: float | None) -> None: ...
    async def drain_node(self, name: str, grace: float | None) -> None: ...
    def kill_node(self, name: str) -> None: ...


class RemoteNode(Node):
    """One slot of a group; each run of it is a `RemoteRun`."""

    def __init__(self, home: RemoteHome, spec: NodesSpec, slot: int) -> None:
        super().__init__(spec.named(slot), spec.name, slot, home)
        self.home = home
        self.spec = spec
        self.run: RemoteRun | None = None
        self.number = 0
        self.ended: dict[int, Ended] = {}
        self.leaving = False
        """Whether it was told to end for good, by itself and not with its system."""
        self.drain_within = spec.shutdown
        """Seconds it has to finish what it serves and runs, once it is told to end."""
        self.last_end = ""
        """How the last run ended, with the last lines it wrote."""

    @property
    def link(self) -> Link:
        """The link to the current run.

        Raises:
            ActorsError: there is none.
        """
        if self.run is None or self.run.link is None:
            raise ActorsError(f"node {self.name} is not running")
        return self.run.link

    def new_run(self) -> RemoteRun:
        """Make the next run of this node, for its supervisor."""
        raise NotImplementedError

    def child_is_ready(self) -> None:
        """The child says that it is ready."""
        if self.run is not None:
            self.run.child_is_ready()

    def child_failed(self, traceback: str) -> None:
        """The child says why it will not be ready."""
        if self.run is not None:
            self.run.child_failed(traceback)

    def replace(self, why: str) -> bool:
        """End the current run in order and start another; see `RemoteRun.replace`."""
        return self.run is not None and self.run.replace(why)

    def child_beats(self, *, watched: bool) -> None:
        """The child's loop runs; unless *watched*, its silence means nothing from now on."""
        if self.run is not None:
            self.run.watch.beat(watched=watched)

    def child_over_rss(self, rss: int) -> None:
        """The child holds more memory than it may, and says so again until it is told to leave."""
        if not self.ready:
            return
        limit = self.spec.max_rss
        self.home.event("node_over_rss", {"node": self.name, "rss": rss, "max_rss": limit})
        self.replace(f"{_mib(rss)} resident, max_rss is {_mib(limit or 0)}")

    async def start_actor(self, actor: ActorStart, ended: Ended) -> None:
        """Start an actor, or its next incarnation, and return when it is ready."""
        ref = actor.ref
        self.ended[ref.uid] = ended
        try:
            await self.link.call(
                "start",
                ref.uid,
                ref.name,
                ref.cls_path,
                ref.mailbox,
                actor.incarnation,
                actor.shutdown,
                actor.arguments,
            )
        except BaseException:
            self.ended.pop(ref.uid, None)
            raise

    def actor_ended(self, uid: int, end: Exit, *, voluntary: bool) -> None:
        """The child says that an incarnation has ended."""
        ended = self.ended.pop(uid, None)
        if ended is not None:
            ended(end, voluntary)

    def stop_actor(self, uid: int) -> None:
        """Ask an actor to end behind what it has queued."""
        self._note("stop_actor", uid)

    def kill_actor(self, uid: int) -> None:
        """End an actor's incarnation now."""
        self._note("kill_actor", uid)

    def release_actor(self, uid: int, end: Exit) -> None:
        """End an actor for good."""
        self.ended.pop(uid, None)
        self._note("release_actor", uid, end)

    def _note(self, op: str, *args: Any) -> None:
        if self.run is not None and self.run.link is not None:
            self.run.link.note(op, *args)

    async def stats(self) -> dict[str, Any]:
        """Return the node's figures, asked of the node itself."""
        stats: dict[str, Any] = await self.link.call("stats")
        return stats


def _mib(size: int) -> str:
    return f"{size / 2**20:.0f} MiB"


class RemoteRun:
    """One run of such a node, as a `supervisors.Child`; its kind adds how it starts and is killed."""

    def __init__(self, node: RemoteNode) -> None:
        self.node = node
        self.link: Link | None = None
        self._home = node.home
        self._loop = node.home.runtime.loop
        self._ready: Waiter | None = None
        self._ending = Ending(self._loop.waiter)
        self._asked: Exit | None = None
        self._slain = False
        self._boot_error = ""
        self.watch = Watch(self._loop, node.spec.hang_after, self._hung)
        self._broken = ""
        """Why it had to be killed, if that was."""
        self._replaced = ""
        """Why another run is to take its place, if that was asked."""
        self._overdue = False
        self._deadline: Timer | None = None

    # -- start ---------------------------------------------------------------------------

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Start the node and return when it says that it is ready.

        Raises:
            BootFailed: it ended, or stayed silent, before that; the text holds its own traceback.
        """
        node = self.node
        node.run = self
        node.number = self._home.new_node_number()
        node.state = NodeState.SPAWNED
        try:
            with fail_after(node.spec.boot_timeout):
                await self._spawn()
                node.state = NodeState.BOOTING
                self._ready = self._loop.waiter()
                await self._ready
                await self._home.prepare(node)
        except BaseException as error:
            self._ready = None  # nobody waits for it any more
            self.kill()
            # A start that failed leaves nothing behind.
            with move_on_after(_GONE, shield=True):
                await self.wait()
            if isinstance(error, TimeoutError):
                why = f"node {node.name} was not ready after {node.spec.boot_timeout:g} s"
                raise BootFailed(why + self._tail()) from error
            if isinstance(error, OSError):
                raise BootFailed(f"node {node.name} could not be started: {error}") from error
            raise
        self._ending.told = ended
        node.state = NodeState.READY
        self.watch.start()
        self._home.node_ready(node)
        node.changed()

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

    # -- the end -------------------------------------------------------------------------

    async def wait(self) -> Exit:
        """Wait for it to be gone and return how it ended."""
        return await self._ending.wait()

    def stop(self) -> None:
        """Ask the node to drain and end."""
        if self._asked is None:
            self._asked = Exit.SHUTDOWN
            self.watch.stop()
            node = self.node
            if node.leaving and node.ready:
                self.drain("it is being stopped")
            node.state = NodeState.DRAINING
            node.changed()
            if self.link is not None and not (node.leaving and self._replaced):
                self.link.note("leave" if node.leaving else "shutdown", node.drain_within)

    def drain(self, why: str) -> None:
        """Let it get nothing new from here on; it goes on with what it has."""
        node = self.node
        node.state = NodeState.DRAINING
        self._home.node_draining(node, why)
        node.changed()

    def slay(self) -> None:
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
        node = self.node
        if self._asked is not None or node.state is not NodeState.READY or self.link is None:
            return False
        self._replaced = f"replaced: {why}"
        self.watch.stop()
        node.state = NodeState.DRAINING
        self._home.node_draining(node, self._replaced)
        node.changed()
        # The time to end in order is within the limit, not beyond it.
        self.link.note("leave", _IN_ORDER * node.spec.shutdown)
        self._deadline = self._loop.call_later(node.spec.shutdown, self._replace_overdue)
        return True

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
        node = self.node
        node.state = NodeState.EXITED
        node.pid = None
        self.watch.stop()
        if self._deadline is not None:
            self._deadline.cancel()
        self._let_go()
        node.last_end = why + self._tail()
        if node.run is self:
            node.run = None
        node.changed()
        restarting = self._asked is None or self._slain
        link, self.link = self.link, None
        if link is not None:
            link.close()
        replaced = bool(self._replaced) and end.kind is not ExitKind.CRASHED
        self._home.node_ended(node, link, why, restarting=restarting, replaced=replaced)
        if self._ready is not None and not self._ready.done():
            text = self._boot_error or f"{why}{self._tail()}"
            self._ready.set_exception(BootFailed(f"node {self.node.name} failed to boot: {text}"))
        self._ending.tell()
