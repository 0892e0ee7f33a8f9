"""One process of an instance of a program: started, ready, watched, asked to end, killed, reaped.

Rule 1: it is ready when its first health check has passed; without one, when it runs.
Rule 2: however it ends, its process group is killed, and what it has left elsewhere is found and ended before
anybody is told of its end: so its ports and files are free.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, Final, Protocol
from uuid import uuid4

import anyio

from actors._base.completion import Completion
from actors._base.errors import StartFailed
from actors._base.loop import Loop, Task, Timer
from actors._base.open_files import with_limit
from actors._base.signal_name import signal_name
from actors.nodes import process_figures
from actors.programs.checking import checked
from actors.programs.left_over import Ended, LeftOver, Sweep, pids_of
from actors.programs.limits import ProgramLimits
from actors.programs.options import ProgramOptions
from actors.programs.output import ProgramOutput
from actors.programs.ports import listens
from actors.programs.run_state import ProgramDied, RunState
from actors.programs.spawn import SpawnedProcess, spawn
from actors.programs.threads import ProgramThreads
from actors.supervisors import Exit

__all__ = ["ProgramHome", "ProgramProcess"]

_KILL_WAIT: Final = 5.0
"""Seconds that the end of a process is waited for which was killed while it started."""
_FIRST_CHECK, _SLOWEST_CHECK, _SLOWER = 0.02, 0.5, 1.5
"""Seconds between two checks of an instance that starts: the first, the most, and how they grow."""
_PASSES_BESIDE: Final = 8
"""Checks in a row that pass if another process listens on the same port: the kernel gives each connection to
one of the two, so that all of them were answered by the other one in one case of 256."""
_LAST_LINES: Final = 20


class ProgramHome(Protocol):
    """The system, as the processes of its programs see it."""

    loop: Loop
    threads: ProgramThreads
    sweep: Sweep
    limits: ProgramLimits

    def event(self, kind: str, facts: dict[str, Any]) -> None:
        """Publish an event."""


class ProgramProcess:
    """One run of an instance.

    Attributes:
        name: of the instance.
        port: of the instance.
        state: where it is in its life.
        pid: of its first process; None before it runs and when it has ended.
        health: why its last check failed; empty if it passed, or there is none.
    """

    def __init__(self, home: ProgramHome, options: ProgramOptions, slot: int) -> None:
        self.name: str = options.instance_name(slot)
        self.port: int | None = options.port_of(slot)
        self.state: RunState = RunState.STARTING
        self.pid: int | None = None
        self.health: str = ""
        self._home = home
        self._loop = home.loop
        self._options = options
        self._slot = slot
        self._mark = uuid4().hex
        self._process: SpawnedProcess | None = None
        self._outputs: list[ProgramOutput] = []
        self._completion = Completion(home.loop.waiter)
        self._starting: anyio.CancelScope | None = None
        """Cancels its start."""
        self._watching: Task | None = None
        self._deadline: Timer | None = None
        self._asked: Exit | None = None
        self._why = ""
        """Why the system ends it, if no supervisor asked for that."""
        self._failed = 0

    # -- start ------------------------------------------------------------------------------

    async def start(
        self, ended: Callable[[Exit], None], within: float | None = None, *, beside: bool = False
    ) -> None:
        """Start it, and return when it is ready.

        Args:
            ended: called with how it ended, once it has been ready.
            within: seconds it has to get ready; None is its `start_timeout`.
            beside: whether another process listens on its port, which so may answer in its place.

        Raises:
            StartFailed: it could not be started, ended before it was ready, or did not get ready in time.
        """
        seconds = self._options.start_timeout if within is None else within
        began = self._loop.now()
        try:
            await self._become_ready(seconds, beside=beside)
        except BaseException:
            self.kill()
            if self._process is not None:
                with anyio.move_on_after(_KILL_WAIT, shield=True):
                    await self.wait()
            raise
        self.state = RunState.READY
        self._completion.on_done = ended
        if self._options.health is not None:
            facts = {"seconds": round(self._loop.now() - began, 3)}
            self._event("program_ready", pid=self.pid, **facts)
            self._watching = self._loop.start(self._watch, name=f"{self.name}: health", fresh=True)

    async def _become_ready(self, seconds: float, *, beside: bool) -> None:
        with anyio.move_on_after(seconds), anyio.CancelScope() as starting:
            self._starting = starting
            await self._spawn()
            await self._first_checks(_PASSES_BESIDE if beside else 1)
            self._starting = None
            return
        self._starting = None
        if self._completion.exit is not None:
            raise StartFailed(f"{self.name} ended before it was ready: {self._how_it_ended()}")
        health = f": {self.health}" if self.health else ""
        raise StartFailed(f"{self.name} was not ready within {seconds:g} s{health}")

    async def _spawn(self) -> None:
        options, slot = self._options, self._slot
        if problem := options.problem(slot):
            raise StartFailed(f"{self.name} cannot be started: {problem}")
        try:
            process = await self._home.threads.run(self._spawn_confined, undo=SpawnedProcess.end)
        except OSError as error:
            raise StartFailed(f"{self.name} cannot be started: {with_limit(error)}") from error
        self._process = process
        self.pid = process.pid
        self._loop.watch_readable(process.pidfd, self._died)
        self._outputs = [
            ProgramOutput(self._loop, fd, self.name, stream)
            for fd, stream in ((process.stdout, "stdout"), (process.stderr, "stderr"))
        ]
        if self._asked is not None:
            process.kill()
        limits = self._home.limits.described(options.max_memory, options.max_cpus)
        self._event("program_started", pid=self.pid, port=self.port, limits=limits)

    def _spawn_confined(self) -> SpawnedProcess:
        """Start it within its limits; in one of the programs' threads."""
        options, slot, limits = self._options, self._slot, self._home.limits
        most = (options.max_memory, options.max_cpus)
        group = limits.group_for(self.name, *most)
        try:
            process = spawn(
                options.arguments(slot),
                options.environment(slot, self._mark),
                options.cwd,
                options.account,
                group,
            )
        except BaseException:
            if group is not None:
                group.remove()
            raise
        limits.confine(process.pid, slot, *most, grouped=process.group is not None)
        return process

    async def _first_checks(self, needed: int) -> None:
        """Ask for its health until so many checks in a row have passed."""
        passed, pause = 0, _FIRST_CHECK
        while passed < needed:
            self.health = await self._readiness(beside=needed > 1)
            if not self.health:
                passed += 1
                continue
            passed = 0
            await anyio.sleep(pause)
            pause = min(_SLOWEST_CHECK, pause * _SLOWER)

    async def _readiness(self, *, beside: bool) -> str:
        """Return why it is not ready, or an empty text."""
        if beside and not await self.listens():
            return f"it does not listen on port {self.port} yet"
        return "" if self._options.health is None else await self._checked()

    async def listens(self) -> bool:
        """Return whether it, or a process it has started, listens on its port."""
        process, port = self._process, self.port
        if process is None or port is None:
            return False
        return await self._home.threads.run(
            lambda: listens(port, pids_of(process.pid, process.group))
        )

    def usage(self) -> tuple[float, int] | None:
        """Return its CPU seconds and bytes of memory; in a control group, with those of all it has started."""
        if self.pid is None or self._process is None:
            return None
        try:
            seconds, size = process_figures(self.pid)
        except OSError:
            return None  # it has just ended
        group = self._process.group
        of_group = (None, None) if group is None else group.usage()
        return of_group[0] or seconds, of_group[1] or size

    # -- health -----------------------------------------------------------------------------

    async def _checked(self) -> str:
        health = self._options.health
        assert health is not None
        return await checked(
            health.target(self._slot, self.port),
            health.timeout,
            loop=self._loop,
            threads=self._home.threads,
            options=self._options,
            env=self._options.environment(self._slot, self._mark),
        )

    async def _watch(self) -> None:
        """Ask for its health until it has failed too often in a row."""
        health = self._options.health
        assert health is not None
        while self._failed < health.failures:
            await anyio.sleep(health.interval)
            try:
                self.health = await self._checked()
            except Exception as error:  # noqa: BLE001 - a check that cannot be made is one that failed
                self.health = f"{type(error).__name__}: {error}"
            self._failed = self._failed + 1 if self.health else 0
        if self.state is RunState.READY:
            self._event("program_unhealthy", pid=self.pid, failures=self._failed, why=self.health)
            self.state = RunState.UNHEALTHY
            self.end_because(f"unhealthy: {self.health}")

    # -- end --------------------------------------------------------------------------------

    async def wait(self) -> Exit:
        """Wait for its end, and return it."""
        return await self._completion.wait()

    def stop(self) -> None:
        """Ask it to end; asking twice changes nothing."""
        if self._asked is None:
            self._asked = Exit.SHUTDOWN
            self._ask()

    def _ask(self) -> None:
        if self.state is not RunState.ENDED:
            self.state = RunState.STOPPING
        if self._process is not None and self.pid is not None:
            self._process.signal(self._options.stop_signal)
            self._process.signal(signal.SIGCONT)  # a stopped process would not see it

    def end_because(self, why: str) -> None:
        """End it within its `shutdown` seconds, as a crash for that reason."""
        self._why = why
        self._ask()
        self._kill_later()

    def retire(self) -> None:
        """Ask it to end within its `shutdown` seconds, because another process has taken its place."""
        self.stop()
        self._kill_later()

    def _kill_later(self) -> None:
        if self._deadline is None:
            self._deadline = self._loop.call_later(self._options.shutdown, self._overdue)

    def _overdue(self) -> None:
        if self._process is not None and self.pid is not None:
            facts = {"child": self.name, "supervisor": self._options.name}
            self._home.event("shutdown_overrun", {**facts, "grace": self._options.shutdown})
            self._process.kill()

    def kill(self) -> None:
        """Kill its process group."""
        self._asked = Exit.KILLED
        if self._process is not None and self.pid is not None:
            self._process.kill()

    def crash(self, by: str) -> None:
        """Kill its process group, so that it is restarted."""
        self._why = f"killed by SIGKILL, as {by} asked"
        if self._process is not None and self.pid is not None:
            self._process.kill()

    def _died(self) -> None:
        """Reap it, and see to what it has left."""
        process = self._process
        assert process is not None
        self._loop.unwatch_readable(process.pidfd)
        if self._deadline is not None:
            self._deadline.cancel()
        if self._watching is not None:
            self._watching.cancel()
        code = process.reap()
        self._loop.start(self._finish, code, name=f"{self.name}: end", fresh=True)

    async def _finish(self, code: int | None) -> None:
        assert self._process is not None
        pid, self.pid = self._process.pid, None
        pipes = [output.pipe for output in self._outputs]
        run = LeftOver(self._mark, pid, pipes, self._process.group)
        try:
            if run.group is None:
                self._tell_left(await self._home.sweep.end_left_over(run))
            else:
                left = await self._home.sweep.end_group(run)
                self._tell_left(left)
                if left.out_of_memory and not self._why:
                    limit = self._options.max_memory
                    self._why = f"out of memory: it used more than its max_memory, {limit}"
        finally:
            for output in self._outputs:
                output.close()
            self._ended(pid, code)
        if run.group is not None and not self._process.born_in_group:
            # What it had started before it was put into its group; the next process does not wait for that.
            self._tell_left(await self._home.sweep.end_left_over(run))

    def _tell_left(self, left: Ended) -> None:
        if left.processes:
            shown = ", ".join(left.processes)
            self._event("program_left_processes", count=len(left.processes), ended=shown)

    def _ended(self, pid: int, code: int | None) -> None:
        self.state = RunState.ENDED
        how = self._why or described(code)
        asked = self._asked is not None
        self._event("program_ended", pid=pid, why=how, **_facts(code), asked=asked)
        if self._asked is not None:
            end = self._asked
        elif code == 0 and not self._why:
            end = Exit.NORMAL
        else:
            end = Exit.CRASHED(ProgramDied(f"{self.name}: {how}{self._last_lines()}"))
        self._completion.set(end)
        self._completion.announce()
        if self._starting is not None:
            self._starting.cancel()

    def _how_it_ended(self) -> str:
        end = self._completion.exit
        error = None if end is None else end.error
        return str(error).removeprefix(f"{self.name}: ") if error is not None else str(end)

    def _last_lines(self) -> str:
        lines = [line for output in reversed(self._outputs) for line in output.last]
        return "; its last lines:\n  " + "\n  ".join(lines[-_LAST_LINES:]) if lines else ""

    def _event(self, kind: str, **facts: Any) -> None:
        self._home.event(kind, {"program": self.name, **facts})


def described(code: int | None) -> str:
    """Return how a process ended, in words."""
    if code is None:
        return "ended; how is not known, as this program ignores SIGCHLD or reaps all its children"
    if code >= 0:
        return f"exit code {code}"
    name = signal_name(-code)
    return f"killed by {name}" + (", perhaps out of memory" if -code == signal.SIGKILL else "")


def _facts(code: int | None) -> dict[str, Any]:
    if code is None:
        return {}
    return {"exit_code": code} if code >= 0 else {"signal": signal_name(-code)}
