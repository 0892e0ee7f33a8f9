"""A process node, seen from its parent: started, watched, killed, reaped.

Rule 1: the pidfd is authoritative, end-of-file a hint: a link is read to its end before what
hung on it fails.
Rule 2: whatever the end, its process group is swept and its process reaped.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anyio import Lock

from actors._base.errors import ActorsError, BootFailed
from actors._remoting.link import Link
from actors.nodes.boot.descriptors import NodePipes
from actors.nodes.boot.launch import Launch
from actors.nodes.boot.output import LinesReader
from actors.nodes.health.heartbeat import stacks_of
from actors.nodes.health.inspect_process import process_stacks
from actors.nodes.remote_node import RemoteNode, RemoteRun
from actors.supervisors import Exit

if TYPE_CHECKING:
    from actors.nodes.boot.launch import Started

__all__ = ["ProcessNode", "ProcessRun"]

_LAST_READ: Final = 0.25
"""Seconds a dead node's link may take to be read to its end; something else holds it open then."""
_LAST_LINES: Final = 20
"""How much of what it wrote belongs into the report of its end."""
_REMEMBERED: Final = 500
"""Lines remembered for that: the stacks of a node that hung are longer."""
_BACKEND: Final = {
    "asyncio": ("anyio._backends._asyncio", "uvloop"),
    "trio": ("trio", "anyio._backends._trio", "actors._base.loop_trio"),
}
"""What a node of each backend imports first of all, behind doors that open when it runs."""


class ProcessNode(RemoteNode):
    """A node that is an operating system process."""

    kind = "process"

    def make_run(self, *, successor: bool = False) -> ProcessRun:
        """Make a run of this node."""
        return ProcessRun(self, successor=successor)


class ProcessRun(RemoteRun):
    """One process, from its start to its reaping."""

    def __init__(self, node: RemoteNode, *, successor: bool = False) -> None:
        super().__init__(node, successor=successor)
        self._process: Started | None = None
        self._pidfd = -1
        self._lifeline: socket.socket | None = None
        self._readers: list[LinesReader] = []
        self._stacks = -1
        self._inspecting = Lock()

    async def _spawn(self) -> None:
        node = self.node
        if not hasattr(os, "pidfd_open"):
            raise BootFailed(f"node {node.name}: process nodes need pidfds, so Linux 5.4 or newer")
        ends = NodePipes.open()
        try:
            process = await self._home.launcher.start(
                Launch(
                    module=self._home.node_module,
                    title=node.name,
                    link=ends.far_link,
                    lifeline=ends.far_lifeline,
                    log=ends.far_log,
                    output=ends.far_output,
                    common=_common_environment(),
                    env=node.spec.env,
                    preload=_BACKEND[node.spec.backend] + self._home.preload(node.group),
                )
            )
        except BaseException:
            ends.close_near()
            raise
        finally:
            ends.close_far()
        try:
            self._pidfd = self._watched(process)
        except (BootFailed, OSError):
            ends.close_near()
            process.kill()
            process.wait()
            raise
        self._process = process
        self.pid = process.pid
        self.show_state()
        self._adopt(ends)

    def _watched(self, process: Started) -> int:
        """Return a descriptor that becomes readable when *process* ends, unless it was killed meanwhile."""
        if self._completion.exit is not None:
            raise BootFailed(f"node {self.node.name} was killed before it was there")
        return os.pidfd_open(process.pid)

    def _adopt(self, ends: NodePipes) -> None:
        """Watch the process, read what it writes, tell it who it is, and talk to it."""
        home, node, started = self._home, self.node, self._process
        assert started is not None
        self._loop.watch_readable(self._pidfd, self._died)
        self._readers = [
            LinesReader(self._loop, fd, home.write_line, remember=_REMEMBERED)
            for fd in (ends.log, ends.output)
        ]
        self._lifeline = ends.lifeline
        config = {
            **home.node_config(),
            "name": node.name,
            "number": self.number,
            "address": self.address,
            "backend": node.spec.backend,
            "uvloop": node.spec.uvloop,
            "nice": node.spec.nice,
            "hang_after": node.spec.hang_after,
            "max_rss": node.spec.max_rss,
            "dumps": True,
            "link": started.link,
            "log": started.log,
            "parent_pid": os.getpid(),
        }
        data = json.dumps(config).encode()
        with suppress(BrokenPipeError, ConnectionResetError):  # it has ended: the pidfd says how
            ends.lifeline.sendall(len(data).to_bytes(4, "little") + data)
        self.link = Link(home.host, self.address)
        self.link.attach(ends.link)

    def kill(self) -> None:
        """SIGKILL for the whole process group."""
        self._asked = Exit.KILLED
        if self._pidfd >= 0:
            self._force_end()
        elif self._completion.exit is None and self._process is None:
            self._finish("it was never started", Exit.KILLED)

    def _force_end(self) -> None:
        if self._pidfd >= 0:
            self._signal(signal.SIGKILL)

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
            # Alive but not reachable is of no use to anybody; one that was asked to end is about to.
            leaves = self._asked is Exit.SHUTDOWN or bool(self._replaced_because)
            self._loop.call_later(
                self.node.spec.shutdown if leaves else _LAST_READ, self._force_end
            )

    def _died(self) -> None:
        """The pidfd says that the process has ended: reap it, then read its link to the end."""
        process = self._process
        assert process is not None
        self._loop.unwatch_readable(self._pidfd)
        pidfd, self._pidfd = self._pidfd, -1
        # Before it is reaped: until then its number can be nobody else's.
        with suppress(ProcessLookupError, PermissionError):  # nothing of its group is left
            os.killpg(process.pid, signal.SIGKILL)
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        os.close(pidfd)
        status = result.si_status if result is not None else 0
        killed = result is not None and result.si_code != os.CLD_EXITED
        process.reaped(-status if killed else status)
        if self.link is None or self.link.closed is not None:
            self._complete()
        else:
            self._loop.call_later(_LAST_READ, self._complete)

    def _complete(self) -> None:
        if self._process is None:
            return
        code = self._process.returncode
        assert code is not None, "it was reaped when its pidfd said that it had ended"
        self._finish(*self._decide_exit(self._describe(code), clean=code == 0))

    def on_stack_dump(self, fd: int) -> None:
        """The child is ready to be looked into."""
        self._stacks = fd

    async def stacks(self) -> dict[str, Any]:
        """Return what its threads and tasks are at; see `RemoteRun.stacks`."""
        async with self._inspecting:
            if self._stacks < 0 or self._pidfd < 0 or self.pid is None:
                raise ActorsError(
                    f"node {self.node.name} is {self.state.value}: nothing to see yet"
                )
            # Copies: it may end, and its descriptors be somebody else's, while this looks.
            pidfd, fd = os.dup(self._pidfd), os.dup(self._stacks)
            try:
                return await process_stacks(self.node.name, self.pid, pidfd, fd)
            finally:
                os.close(pidfd)
                os.close(fd)

    def _release(self) -> None:
        if self._stacks >= 0:
            os.close(self._stacks)
            self._stacks = -1
        if self._lifeline is not None:
            self._lifeline.close()
        for reader in self._readers:
            reader.close()

    def _describe(self, code: int) -> str:
        if code >= 0:
            return f"exit code {code}"
        name = signal.Signals(-code).name
        if -code == signal.SIGKILL and self._asked is None:
            return f"killed by {name}, perhaps out of memory"
        return f"killed by {name}"

    def _last_lines(self) -> str:
        lines = list(self._readers[1].last) if self._readers else []
        lines = stacks_of(lines) if self._hung_because else lines[-_LAST_LINES:]
        return "; its last lines:\n  " + "\n  ".join(lines) if lines else ""


def _common_environment() -> dict[str, str]:
    # The child gets our sys.path to find this package by; it puts its own PYTHONPATH back at once.
    paths = [path or str(Path.cwd()) for path in sys.path]
    common = {
        "PYTHONPATH": os.pathsep.join(paths),
        "ACTORS_PYTHONPATH": os.environ.get("PYTHONPATH", ""),
    }
    if "ACTORS_LOG_FORMAT" not in os.environ:
        common["ACTORS_LOG_FORMAT"] = "console" if sys.stderr.isatty() else "json"
    return common
