"""A node at the other end of a link, seen from the parent: what process and thread nodes share.

Rule 1: ready is said by the node itself, never assumed from a timer.
Rule 2: what hung on its link fails when it is known how the node ended, and says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from anyio import fail_after, move_on_after

from actors._ending import Ending
from actors._errors import ActorsError, BootFailed
from supervisors import Exit

from ._node import Node, NodeState

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._body import Ended
    from actors._loop import Waiter

    from ._launcher import Launcher
    from ._link import Link
    from ._node import ActorStart
    from ._runtime import Runtime
    from ._spec import NodesSpec

__all__ = ["NodeDied", "RemoteHome", "RemoteNode", "RemoteRun"]


_GONE: Final = 5.0
"""Seconds a node that was killed while it booted is waited for."""


class NodeDied(ActorsError):
    """A node ended although nobody had asked it to."""


class RemoteHome(Protocol):
    """The system, as its nodes see it."""

    runtime: Runtime
    launcher: Launcher
    node_module: str

    def node_config(self) -> dict[str, Any]: ...
    def new_node_number(self) -> int: ...
    async def prepare(self, node: RemoteNode) -> None: ...
    def node_ready(self, node: RemoteNode) -> None: ...
    def node_ended(
        self, node: RemoteNode, link: Link | None, why: str, *, restarting: bool
    ) -> None: ...
    def write_line(self, node: RemoteNode, line: str) -> None: ...


class RemoteNode(Node):
    """One slot of a group; each run of it is a `RemoteRun`."""

    def __init__(self, home: RemoteHome, spec: NodesSpec, slot: int) -> None:
        super().__init__(spec.named(slot), spec.name, slot)
        self.home = home
        self.spec = spec
        self.run: RemoteRun | None = None
        self.number = 0
        self.ended: dict[int, Ended] = {}
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
        self._boot_error = ""

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
        self._ready = self._loop.waiter()
        try:
            with fail_after(node.spec.boot_timeout):
                await self._spawn()
                node.state = NodeState.BOOTING
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
        self._home.node_ready(node)
        node.changed()

    async def _spawn(self) -> None:
        """Start it, with a link; its kind does."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it now, as far as its kind allows."""
        raise NotImplementedError

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
            self.node.state = NodeState.DRAINING
            self.node.changed()
            if self.link is not None:
                self.link.note("shutdown", self.node.spec.shutdown)

    def _finish(self, why: str, end: Exit) -> None:
        """It is gone: tell everybody who counted on it, once."""
        if not self._ending.come(end):
            return
        node = self.node
        node.state = NodeState.EXITED
        node.pid = None
        self._let_go()
        node.last_end = why + self._tail()
        if node.run is self:
            node.run = None
        node.changed()
        restarting = self._asked is None
        link, self.link = self.link, None
        if link is not None:
            link.close()
        self._home.node_ended(node, link, why, restarting=restarting)
        if self._ready is not None and not self._ready.done():
            text = self._boot_error or f"{why}{self._tail()}"
            self._ready.set_exception(BootFailed(f"node {self.node.name} failed to boot: {text}"))
        self._ending.tell()
