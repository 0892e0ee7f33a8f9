"""A process node, seen from its parent: started, watched, stopped, killed, reaped.

Rule 1: ready is said by the child, never assumed from a timer.
Rule 2: the pidfd is authoritative, end-of-file a hint: a link is read to its end before what
hung on it fails.
Rule 3: whatever the end, its process group is swept and its process reaped.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from anyio import fail_after

from actors._errors import ActorsError, BootFailed
from supervisors import Exit
from transport import pair

from ._launcher import Launch
from ._link import Link
from ._node import Node, NodeState
from ._output import LinesReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._body import Ended
    from actors._loop import Waiter

    from ._launcher import Launcher
    from ._node import ActorStart
    from ._runtime import Runtime
    from ._spec import NodesSpec

__all__ = ["NodeDied", "NodeRun", "ProcessNode", "ProcessNodeHome"]

_LAST_READ: Final = 0.25
"""Seconds a dead node's link may take to be read to its end; something else holds it open then."""


class NodeDied(ActorsError):
    """A node's process ended although nobody had asked it to."""


class ProcessNodeHome(Protocol):
    """The system, as its process nodes see it."""

    runtime: Runtime
    launcher: Launcher
    node_module: str

    def node_config(self) -> dict[str, Any]: ...
    def new_node_number(self) -> int: ...
    async def prepare(self, node: ProcessNode) -> None: ...
    def node_ready(self, node: ProcessNode) -> None: ...
    def node_ended(
        self, node: ProcessNode, link: Link | None, why: str, *, restarting: bool
    ) -> None: ...
    def write_line(self, node: ProcessNode, line: str) -> None: ...


class ProcessNode(Node):
    """One slot of a group; each run of it is a `NodeRun`."""

    kind = "process"

    def __init__(self, home: ProcessNodeHome, spec: NodesSpec, slot: int) -> None:
        super().__init__(spec.named(slot), spec.name, slot)
        self.home = home
        self.spec = spec
        self.run: NodeRun | None = None
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

    def new_run(self) -> NodeRun:
        """Make the next run of this node, for its supervisor."""
        return NodeRun(self)

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


class NodeRun:
    """One run of a process node, as a `supervisors.Child`."""

    def __init__(self, node: ProcessNode) -> None:
        self.node = node
        self.link: Link | None = None
        self._home = node.home
        self._loop = node.home.runtime.loop
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._lifeline: socket.socket | None = None
        self._readers: list[LinesReader] = []
        self._ready: Waiter | None = None
        self._end: Exit | None = None
        self._ended: Callable[[Exit], None] | None = None
        self._waiters: list[Waiter] = []
        self._asked: Exit | None = None
        self._boot_error = ""

    # -- start ---------------------------------------------------------------------------

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Start the process and return when it says that it is ready.

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
            if isinstance(error, TimeoutError):
                why = f"node {node.name} was not ready after {node.spec.boot_timeout:g} s"
                raise BootFailed(why + self._tail()) from error
            if isinstance(error, OSError):
                raise BootFailed(f"node {node.name} could not be started: {error}") from error
            raise
        self._ended = ended
        node.state = NodeState.READY
        self._home.node_ready(node)
        node.changed()

    async def _spawn(self) -> None:
        node = self.node
        if not hasattr(os, "pidfd_open"):
            raise BootFailed(f"node {node.name}: process nodes need pidfds, so Linux 5.3 or newer")
        ours, theirs = pair()
        lifeline, far_lifeline = socket.socketpair()
        log_in, log_out = os.pipe()
        output_in, output_out = os.pipe()
        os.set_blocking(log_out, False)
        passed = (theirs.fileno(), far_lifeline.fileno(), log_out)
        try:
            self._process = await self._home.launcher.start(
                Launch(
                    module=self._home.node_module,
                    lifeline=far_lifeline.fileno(),
                    fds=passed,
                    output=output_out,
                    env=self._environment(),
                )
            )
        except BaseException:
            for end in (ours, lifeline):
                end.close()
            os.close(log_in)
            os.close(output_in)
            raise
        finally:
            theirs_number, log_number = theirs.fileno(), log_out
            for far in (theirs, far_lifeline):
                far.close()
            os.close(log_out)
            os.close(output_out)
        self._lifeline = lifeline
        node.pid = self._process.pid
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.watch_readable(self._pidfd, self._died)
        self._readers = [
            LinesReader(self._loop, log_in, lambda line: self._home.write_line(node, line)),
            LinesReader(self._loop, output_in, lambda line: self._home.write_line(node, line)),
        ]
        config = {
            **self._home.node_config(),
            "name": node.name,
            "number": node.number,
            "uvloop": node.spec.uvloop,
            "nice": node.spec.nice,
            "link": theirs_number,
            "log": log_number,
            "parent_pid": os.getpid(),
        }
        data = json.dumps(config).encode()
        lifeline.sendall(len(data).to_bytes(4, "little") + data)
        self.link = Link(self._home.runtime, node.name)
        self.link.attach(ours)

    def _environment(self) -> dict[str, str]:
        # The child gets our sys.path to find this package by; it puts its own PYTHONPATH back at once.
        paths = [path or str(Path.cwd()) for path in sys.path]
        own = {
            "PYTHONPATH": os.pathsep.join(paths),
            "ACTORS_PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        }
        if "ACTORS_LOG_FORMAT" not in os.environ:
            own["ACTORS_LOG_FORMAT"] = "console" if sys.stderr.isatty() else "json"
        return {**self.node.spec.env, **own}

    def child_is_ready(self) -> None:
        """The child has imported everything and its loop runs."""
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def child_failed(self, traceback: str) -> None:
        """The child could not get ready, and says why."""
        self._boot_error = traceback

    # -- the end -------------------------------------------------------------------------

    async def wait(self) -> Exit:
        """Wait for the process to be gone and return how it ended."""
        if self._end is None:
            waiter = self._loop.waiter()
            self._waiters.append(waiter)
            await waiter
        assert self._end is not None
        return self._end

    def stop(self) -> None:
        """Ask the node to drain and end."""
        if self._asked is None:
            self._asked = Exit.SHUTDOWN
            self.node.state = NodeState.DRAINING
            self.node.changed()
            if self.link is not None:
                self.link.note("shutdown", self.node.spec.shutdown)

    def kill(self) -> None:
        """SIGKILL for the whole process group."""
        self._asked = Exit.KILLED
        if self._pidfd >= 0:
            self._signal(signal.SIGKILL)
        elif self._end is None and self._process is None:
            self._finish("it was never started", Exit.KILLED)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        try:
            signal.pidfd_send_signal(self._pidfd, number)
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            return  # it has ended already; the pidfd says so next

    def link_ended(self) -> None:
        """The link is at its end: a hint that the process is, too."""
        if self._pidfd < 0 and self._process is not None:
            self._complete()
        elif self._pidfd >= 0:
            # Alive but not reachable is of no use to anybody.
            self._loop.call_later(_LAST_READ, self._end_unreachable)

    def _end_unreachable(self) -> None:
        if self._pidfd >= 0:
            self._signal(signal.SIGKILL)

    def _died(self) -> None:
        """The pidfd says that the process has ended: reap it, then read its link to the end."""
        process = self._process
        assert process is not None
        self._loop.unwatch_readable(self._pidfd)
        pidfd, self._pidfd = self._pidfd, -1
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)
        status = result.si_status if result is not None else 0
        killed = result is not None and result.si_code != os.CLD_EXITED
        process.returncode = -status if killed else status
        with suppress(ProcessLookupError, PermissionError):  # nothing of its group is left
            os.killpg(process.pid, signal.SIGKILL)
        if self.link is None or self.link.closed is not None:
            self._complete()
        else:
            self._loop.call_later(_LAST_READ, self._complete)

    def _complete(self) -> None:
        if self._end is not None or self._process is None:
            return
        why = self._describe(self._process.returncode)
        if self._asked is not None:
            end = self._asked
        else:
            end = Exit.CRASHED(NodeDied(f"node {self.node.name}: {why}" + self._tail()))
        self._finish(why, end)

    def _finish(self, why: str, end: Exit) -> None:
        node = self.node
        self._end = end
        node.state = NodeState.EXITED
        node.pid = None
        if self._lifeline is not None:
            self._lifeline.close()
        for reader in self._readers:
            reader.close()
        node.last_end = why + self._tail()
        if node.run is self:
            node.run = None
        node.changed()
        restarting = self._asked is None
        link, self.link = self.link, None
        if link is not None:
            link.close()
        self._home.node_ended(node, link, why, restarting=restarting)
        self._tell_of_end(end, why)

    def _tell_of_end(self, end: Exit, why: str) -> None:
        if self._ready is not None and not self._ready.done():
            text = self._boot_error or f"{why}{self._tail()}"
            self._ready.set_exception(BootFailed(f"node {self.node.name} failed to boot: {text}"))
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._ended is not None:
            self._ended(end)

    def _describe(self, code: int) -> str:
        if code >= 0:
            return f"exit code {code}"
        name = signal.Signals(-code).name
        if -code == signal.SIGKILL and self._asked is None:
            return f"killed by {name}, perhaps out of memory"
        return f"killed by {name}"

    def _tail(self) -> str:
        lines = list(self._readers[1].last) if self._readers else []
        return "; its last lines:\n  " + "\n  ".join(lines) if lines else ""
