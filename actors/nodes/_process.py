"""A process node, seen from its parent: started, watched, killed, reaped.

Rule 1: the pidfd says whether the process has ended, end-of-file only hints at it; the link is read to
its end before what is awaited over it fails.
Rule 2: however the process ends, its process group is killed and the process reaped.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anyio import CancelScope, Lock, sleep

from actors._base.errors import ActorsError, BootFailed
from actors._base.log import as_terminal
from actors._remoting.link import Link
from actors.nodes._node import NodeState
from actors.nodes.boot.descriptors import NodePipes, end_with
from actors.nodes.boot.launch import PARENTS_PATH, Launch, interpreter_problem
from actors.nodes.boot.output import LinesReader, WrittenRecords, read_output
from actors.nodes.boot.preload import PreloadFailed
from actors.nodes.health.block_watch import message_in
from actors.nodes.health.heartbeat import crash_of, last_dump, stacks_of
from actors.nodes.health.inspect_process import begin_profile, end_profile, process_stacks
from actors.nodes.process_settings import process_settings
from actors.nodes.reaping import sweep_and_reap
from actors.nodes.remote_node import RemoteNode, RemoteRun
from actors.nodes.run_end import LAST_READ
from actors.supervisors import Exit
from actors.transport import RemoteTraceback

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.nodes.boot.launch import Started

__all__ = ["ProcessNode", "ProcessRun"]

_LAST_LINES: Final = 20
"""Lines of its output that the report of its end contains."""
_REMEMBERED: Final = 500
"""Lines of output kept of a running node: the stacks of one that hung take more than its last lines."""
_BACKEND: Final = {
    "asyncio": ("anyio._backends._asyncio", "uvloop"),
    "trio": ("trio", "anyio._backends._trio", "actors._base.loop_trio"),
}
"""What a node of each backend imports first of all; the fork server imports it beforehand."""


class ProcessNode(RemoteNode):
    """A node that is a process of the operating system."""

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
        self._profiled = False
        self._killed_because = ""

    async def _spawn(self) -> None:
        node = self.node
        if not hasattr(os, "pidfd_open"):
            raise BootFailed(f"node {node.name}: process nodes need pidfds, so Linux 5.4 or newer")
        problem = interpreter_problem()
        if problem:
            raise BootFailed(f"node {node.name} cannot be started: {problem}")
        pipes = NodePipes.open()
        with ExitStack() as far:
            far.callback(pipes.close_far)
            try:
                process = await self._started_by_launcher(pipes)
            except BaseException:
                pipes.close_near()
                raise
            try:
                self._pidfd = self._watched(process)
            except (BootFailed, OSError):
                pipes.close_near()
                process.end()
                raise
            self._process = process
            self.pid: int | None = process.pid
            self.show_state()
            self._adopt(pipes)

    async def _started_by_launcher(self, pipes: NodePipes) -> Started:
        """Start the process.

        Raises:
            BootFailed: what it is to share with others cannot be imported.
        """
        preload = ", ".join(self.node.spec.preload)
        self.doing: str = f"importing {preload}" if preload else ""
        try:
            process = await self._home.launcher.start(self._launch(pipes))
        except PreloadFailed as failed:
            cause = RemoteTraceback(failed.stack) if failed.stack else None
            raise BootFailed(f"nodes({self.node.group!r}): {failed.why}") from cause
        self.doing = ""
        return process

    def _launch(self, pipes: NodePipes) -> Launch:
        node = self.node
        return Launch(
            module=self._home.node_module,
            title=node.name,
            link=pipes.far_link,
            lifeline=pipes.far_lifeline,
            log=pipes.far_log,
            output=pipes.far_output,
            common=_common_environment(),
            env=node.spec.shared_env,
            own_env=node.spec.own_env(node.slot),
            imports=_BACKEND[node.spec.backend] + self._home.imports(node.group),
            preload=tuple(node.spec.preload),
            threadless=self._home.preloaded_apps(node.group),
            within=node.spec.boot_timeout,
        )

    def _watched(self, process: Started) -> int:
        """Return a descriptor that becomes readable when *process* ends.

        Raises:
            BootFailed: the run was killed meanwhile.
        """
        if self._completion.exit is not None:
            raise BootFailed(f"node {self.node.name} was killed before it was there")
        return os.pidfd_open(process.pid)

    def _adopt(self, pipes: NodePipes) -> None:
        """Watch the process, read its output, send it its configuration, and attach the link."""
        home, started = self._home, self._process
        assert started is not None
        self._loop.watch_readable(self._pidfd, self._died)
        self._readers = [
            LinesReader(self._loop, pipes.log, WrittenRecords(self.node.name)),
            read_output(self._loop, pipes.output, self.node.name, remember=_REMEMBERED),
        ]
        self._lifeline = pipes.lifeline
        config = self._config(
            process=process_settings(self.node.spec, self.node.slot),
            preload=list(self.node.spec.preload),
            max_rss=self.node.spec.max_rss,
            dumps=True,
            link=started.link,
            log=started.log,
            parent_pid=os.getpid(),
            argv=[str(argument) for argument in getattr(sys, "argv", ())],
        )
        self.path: list[str] | None = config["path"]
        data = json.dumps(config).encode()
        with suppress(BrokenPipeError, ConnectionResetError):  # the pidfd reports its end
            pipes.lifeline.sendall(len(data).to_bytes(4, "little") + data)
        # The node does so itself, but only after its imports.
        with suppress(OSError):  # it has ended
            end_with(pipes.far_lifeline, started.pid)
        self.link: Link | None = Link(home.host, self.address)
        self.link.attach(pipes.link)

    def kill(self) -> None:
        """Send SIGKILL to the whole process group."""
        self.end.asked = Exit.KILLED
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
            return  # it has ended already, which the pidfd reports next

    def link_ended(self) -> None:
        """End the process soon, if it has not ended: without its link it is of no use."""
        if self._pidfd < 0 and self._process is not None:
            self._complete()
        elif self._pidfd >= 0:
            assert self.link is not None
            self._loop.call_later(LAST_READ, self._outlives_link, self.link)

    def _outlives_link(self, link: Link) -> None:
        """The process runs on without its link: let it end in order, unless it broke the protocol."""
        if self._pidfd < 0:
            return
        if link.faulty:
            self._kill_because(f"it broke the protocol: {link.closed}")
            return
        self.hang_detector.stop()
        if self.state is NodeState.READY:
            self.drain("it has closed its link")
        seconds = self.node.spec.shutdown
        late = f"it did not end within {seconds:g} s of closing its link"
        self._loop.call_later(seconds, self._kill_because, late)

    def _kill_because(self, why: str) -> None:
        self._killed_because = f"killed by its parent: {why}"
        self._force_end()

    def _died(self) -> None:
        """Reap the process, which has ended; then let its link be read to the end."""
        process = self._process
        assert process is not None
        self._loop.unwatch_readable(self._pidfd)
        pidfd, self._pidfd = self._pidfd, -1
        process.reaped(sweep_and_reap(process.pid, pidfd))
        os.close(pidfd)
        if self.link is None or self.link.closed is not None:
            self._complete()
        else:
            self._loop.call_later(LAST_READ, self._complete)

    def _complete(self) -> None:
        if self._process is None:
            return
        for reader in self._readers:
            reader.close()  # before its last lines are wanted
        code = self._process.returncode
        how, lines = self._describe(code), self._last_lines()
        self._finish(*self.end.decide(how, clean=not code, last_lines=lines))

    def on_stack_dump(self, stacks: int) -> None:
        """Take the file that this process writes its stacks to, so that it can be looked into."""
        self._stacks = stacks

    def _blocked_by(self) -> dict[str, Any]:
        found = super()._blocked_by()
        lines = last_dump(list(self._readers[1].last)) if self._readers else []
        if lines:
            found["stack"] = "\n".join(lines)
        message = message_in(lines)
        if message and "actor" not in found:
            # C code holds the interpreter's lock, so that the process itself could not look.
            found["message"] = message
            actors = self._home.actors_with(self.node, message)
            found["actor"] = actors[0] if len(actors) == 1 else f"one of {', '.join(actors)}"
        return found

    async def stacks(self) -> dict[str, Any]:
        """Return the stacks of its threads and tasks; see `RemoteRun.stacks`."""
        async with self._inspecting:
            with self._inspected() as at:
                return await process_stacks(*at)

    @contextmanager
    def _inspected(self) -> Iterator[tuple[str, int, int, int]]:
        """Yield its name, its pid, and copies of its pidfd and of the file that it writes to when it is asked.

        Copies: it may end meanwhile, and the numbers of its descriptors be used again.
        """
        if self._stacks < 0 or self._pidfd < 0 or self.pid is None:
            raise ActorsError(f"node {self.node.name} is {self.state.value}: nothing to see yet")
        pidfd, fd = os.dup(self._pidfd), os.dup(self._stacks)
        try:
            yield self.node.name, self.pid, pidfd, fd
        finally:
            os.close(pidfd)
            os.close(fd)

    async def profile(self, seconds: float) -> dict[str, Any]:
        """Return where it spends its CPU time; see `RemoteRun.profile`."""
        if self._profiled:
            raise ActorsError(f"node {self.node.name} is being profiled already")
        with self._inspected() as at:
            self._profiled = True
            try:
                begin_profile(at[2])
                await sleep(seconds)
            finally:
                # Also when nobody waits for it any more: its timer is not to go on.
                with CancelScope(shield=True):
                    try:
                        async with self._inspecting:
                            found = await end_profile(*at)
                    finally:
                        self._profiled = False
            return found

    def _release(self) -> None:
        if self._stacks >= 0:
            os.close(self._stacks)
            self._stacks = -1
        if self._lifeline is not None:
            self._lifeline.close()
        for reader in self._readers:
            reader.close()

    def _describe(self, code: int | None) -> str:
        if code is None:
            return (
                "ended; how is not known, as this program ignores SIGCHLD or reaps all its children"
            )
        if code >= 0:
            return f"exit code {code}"
        name = signal.Signals(-code).name
        if -code == signal.SIGKILL and self.end.asked is None:
            return self._killed_because or f"killed by {name}, perhaps out of memory"
        if -code == signal.SIGKILL and self.end.by:
            return f"killed by {name}, as {self.end.by} asked"
        return f"killed by {name}"

    def _last_lines(self) -> str:
        lines = list(self._readers[1].last) if self._readers else []
        code = None if self._process is None else self._process.returncode
        if self.end.hung:
            lines = stacks_of(lines)
        elif code is not None and code < 0:
            lines = crash_of(lines, _LAST_LINES)
        else:
            lines = lines[-_LAST_LINES:]
        return "; its last lines:\n  " + "\n  ".join(lines) if lines else ""


def _common_environment() -> dict[str, str]:
    # The node finds this package by our sys.path; it restores its own PYTHONPATH at once.
    entries: list[Any] = sys.path
    paths = [entry or str(Path.cwd()) for entry in entries if isinstance(entry, str)]
    common = {
        "PYTHONPATH": os.pathsep.join(paths),
        PARENTS_PATH: os.environ.get("PYTHONPATH", ""),
    }
    if "ACTORS_LOG_FORMAT" not in os.environ:
        common["ACTORS_LOG_FORMAT"] = "console" if as_terminal() else "json"
    return common
