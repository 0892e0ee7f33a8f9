"""The process of a node that this process has started: watched, looked into, signalled, and reaped.

Rule 1: the pidfd says whether the process has ended.
Rule 2: however the process ends, its process group is killed and the process reaped.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from anyio import CancelScope, Lock, sleep

from actors._base.errors import ActorsError, BootFailed
from actors._base.import_path import import_path
from actors._base.log import as_terminal
from actors._base.signal_name import signal_name
from actors.nodes.boot.descriptors import NodePipes, end_with
from actors.nodes.boot.launch import PARENTS_PATH, interpreter_problem
from actors.nodes.boot.output import LinesReader
from actors.nodes.health.heartbeat import crash_of, stacks_of
from actors.nodes.health.inspect_process import begin_profile, end_profile, process_stacks
from actors.nodes.reaping import sweep_and_reap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actors._base.loop import Loop
    from actors.nodes.boot.launch import Launch, Started
    from actors.nodes.boot.launchers import Launchers
    from actors.nodes.boot.output import Lines

__all__ = [
    "BACKEND_MODULES",
    "REMEMBERED",
    "ChildProcess",
    "common_environment",
    "describe_code",
    "last_lines_of",
]

_LAST_LINES: Final = 20
"""Lines of its output that the report of its end contains."""
REMEMBERED: Final = 500
"""Lines of output kept of a running node: the stacks of one that hung take more than its last lines."""
BACKEND_MODULES: Final = {
    "asyncio": ("anyio._backends._asyncio", "uvloop"),
    "trio": ("trio", "anyio._backends._trio", "actors._base.loop_trio"),
}
"""What a node of each backend imports first of all; the fork server imports it beforehand."""


class ChildProcess:
    """One process, from its start to its reaping.

    Args:
        name: of the node, for errors.
        loop: of this process.
        died: called once, when it has ended and is reaped.

    Attributes:
        pid: its number, None before it is there.
        returncode: its exit code or minus its signal, None while that is not known.
        link: this end of the socket pair that is the link of a node to its parent.
    """

    link: socket.socket

    def __init__(self, name: str, loop: Loop, died: Callable[[], None]) -> None:
        self._name = name
        self._loop = loop
        self._on_died = died
        self._process: Started | None = None
        self._pipes: NodePipes | None = None
        self._pidfd = -1
        self._readers: list[LinesReader] = []
        self._stacks = -1
        self._inspecting = Lock()
        self._profiled = False

    # -- start ------------------------------------------------------------------------------

    async def start(
        self,
        launchers: Launchers,
        launch: Callable[[NodePipes], Launch],
        *,
        unwanted: Callable[[], bool],
        adopt: Callable[[], object],
    ) -> None:
        """Start it.

        Args:
            launchers: what starts it.
            launch: returns what is to be started, with these pipes.
            unwanted: whether it is not to run any more, asked when it is there.
            adopt: called then: it has to `read` what the process writes, and to `configure` it.

        Raises:
            BootFailed: it cannot be started here, or is not wanted any more; nothing of it is left.
            Exception: whatever else kept it from starting.
        """
        if not hasattr(os, "pidfd_open"):
            raise BootFailed(f"node {self._name}: process nodes need pidfds, so Linux 5.4 or newer")
        problem = interpreter_problem()
        if problem:
            raise BootFailed(f"node {self._name} cannot be started: {problem}")
        pipes = NodePipes.open()
        with ExitStack() as far:
            far.callback(pipes.close_far)
            try:
                process = await launchers.start(launch(pipes))
            except BaseException:
                pipes.close_near()
                raise
            try:
                self._pidfd = self._watched(process, unwanted)
            except (BootFailed, OSError):
                pipes.close_near()
                process.end()
                raise
            self._process, self._pipes, self.link = process, pipes, pipes.link
            self._loop.watch_readable(self._pidfd, self._died)
            adopt()

    def _watched(self, process: Started, unwanted: Callable[[], bool]) -> int:
        """Return a descriptor that becomes readable when *process* ends, if it is wanted still."""
        if unwanted():
            raise BootFailed(f"node {self._name} was killed before it was there")
        return os.pidfd_open(process.pid)

    def read(self, log: Lines, output: Lines) -> None:
        """Read what it writes: its records, and what it prints."""
        assert self._pipes is not None
        self._readers = [
            LinesReader(self._loop, self._pipes.log, log),
            LinesReader(self._loop, self._pipes.output, output, remember=REMEMBERED),
        ]

    def configure(self, config: dict[str, Any]) -> None:
        """Send it its configuration, with what only its starter knows."""
        assert self._process is not None
        assert self._pipes is not None
        started = self._process
        own = {"log": started.log, "link_fd": started.link, "parent_pid": os.getpid()}
        data = json.dumps({"link": started.link, **config, **own}).encode()
        with suppress(BrokenPipeError, ConnectionResetError):  # the pidfd reports its end
            self._pipes.lifeline.sendall(len(data).to_bytes(4, "little") + data)
        # The node does so itself, but only after its imports.
        with suppress(OSError):  # it has ended
            end_with(self._pipes.far_lifeline, self._process.pid)

    # -- while it runs ----------------------------------------------------------------------

    @property
    def begun(self) -> bool:
        """Whether it was started."""
        return self._process is not None

    @property
    def running(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self._pidfd >= 0

    @property
    def pid(self) -> int | None:
        """Its number, None before it is there."""
        return None if self._process is None else self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code or minus its signal, None while that is not known."""
        return None if self._process is None else self._process.returncode

    @property
    def last(self) -> list[str]:
        """The last lines that it printed."""
        return list(self._readers[1].last) if self._readers else []

    def kill(self) -> None:
        """Send SIGKILL to its whole process group, if it has not ended."""
        if self._pidfd < 0:
            return
        assert self._process is not None
        try:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return  # it has ended already, which the pidfd reports next

    def take_stack_file(self, stacks: int) -> None:
        """Take the file that it writes its stacks to, so that it can be looked into."""
        if self._stacks >= 0:
            os.close(self._stacks)
        self._stacks = stacks

    async def stacks(self) -> dict[str, Any]:
        """Return the stacks of its threads and tasks.

        Raises:
            ActorsError: it cannot be inspected.
        """
        async with self._inspecting:
            with self._inspected() as at:
                return await process_stacks(*at)

    @contextmanager
    def _inspected(self) -> Iterator[tuple[str, int, int, int]]:
        """Yield its name, its pid, and copies of its pidfd and of the file that it writes to when it is asked.

        Copies: it may end meanwhile, and the numbers of its descriptors be used again.
        """
        if self._stacks < 0 or self._pidfd < 0 or self.pid is None:
            raise ActorsError(f"node {self._name} does not run, or not yet: nothing to see")
        pidfd, fd = os.dup(self._pidfd), os.dup(self._stacks)
        try:
            yield self._name, self.pid, pidfd, fd
        finally:
            os.close(pidfd)
            os.close(fd)

    async def profile(self, seconds: float) -> dict[str, Any]:
        """Return where it spends its CPU time, or raise as `stacks`."""
        if self._profiled:
            raise ActorsError(f"node {self._name} is being profiled already")
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

    # -- the end ----------------------------------------------------------------------------

    def _died(self) -> None:
        """Reap it: it has ended."""
        process = self._process
        assert process is not None
        self._loop.unwatch_readable(self._pidfd)
        pidfd, self._pidfd = self._pidfd, -1
        process.reaped(sweep_and_reap(process.pid, pidfd))
        os.close(pidfd)
        self._on_died()

    def read_to_end(self) -> None:
        """Read what it wrote last."""
        for reader in self._readers:
            reader.close()

    def release(self) -> None:
        """Close what this process has open for it, but the link."""
        if self._stacks >= 0:
            os.close(self._stacks)
            self._stacks = -1
        if self._pipes is not None:
            self._pipes.lifeline.close()
        self.read_to_end()


def describe_code(code: int | None, *, asked: bool = False, by: str = "", because: str = "") -> str:
    """Return how a process ended, in words.

    Args:
        code: its exit code or minus its signal, None if that is not known.
        asked: whether its end was asked for.
        by: who asked for a kill of it.
        because: what to say of a kill that nobody asked for.
    """
    if code is None:
        return "ended; how is not known, as this program ignores SIGCHLD or reaps all its children"
    if code >= 0:
        return f"exit code {code}"
    name = signal_name(-code)
    if -code == signal.SIGKILL and not asked:
        return because or f"killed by {name}, perhaps out of memory"
    if -code == signal.SIGKILL and by:
        return f"killed by {name}, as {by} asked"
    return f"killed by {name}"


def last_lines_of(lines: list[str], code: int | None, *, hung: bool) -> str:
    """Return what the report of an end says of the lines that a process printed last."""
    if hung:
        lines = stacks_of(lines)
    elif code is not None and code < 0:
        lines = crash_of(lines, _LAST_LINES)
    else:
        lines = lines[-_LAST_LINES:]
    return "; its last lines:\n  " + "\n  ".join(lines) if lines else ""


def common_environment() -> dict[str, str]:
    """Return the variables that every node is given by the process that starts it."""
    # The node finds this package by our sys.path; it restores its own PYTHONPATH at once.
    common = {
        "PYTHONPATH": os.pathsep.join(import_path(absolute=True)),
        PARENTS_PATH: os.environ.get("PYTHONPATH", ""),
    }
    if "ACTORS_LOG_FORMAT" not in os.environ:
        common["ACTORS_LOG_FORMAT"] = "console" if as_terminal() else "json"
    return common
