"""An instance of a program, from one start by its supervisor to the end: a `supervisors.Child`.

It is one process, or two while one replaces the other.

Rule 1: where two may run beside each other, the old process is asked to end when the new one is ready; if that
never gets ready, the old one goes on.
Rule 2: where both would need the same port and do not share it, the old one ends first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import anyio

from actors._base.errors import ActorsError
from actors.programs.options import ProgramOptions
from actors.programs.ports import is_shared
from actors.programs.process import ProgramHome, ProgramProcess
from actors.programs.run_state import RunState
from actors.supervisors import Exit

__all__ = ["ProgramInstance"]

_BEYOND: Final = 5.0
"""Seconds that a killed process may take to end."""


class ProgramInstance:
    """What the supervisor of a program starts in one slot.

    Attributes:
        slot: its number.
        main: the process that counts.
    """

    def __init__(self, home: ProgramHome, options: ProgramOptions, slot: int) -> None:
        self.slot = slot
        self._home = home
        self._options = options
        self.main: ProgramProcess = self._new_process()
        self._next: ProgramProcess | None = None
        self._old: ProgramProcess | None = None
        self._ended: Callable[[Exit], None] | None = None
        self._exit: Exit | None = None
        self._done = anyio.Event()
        self._stopping = False

    @property
    def name(self) -> str:
        """Its name, ``program/slot``."""
        return self.main.name

    @property
    def pids(self) -> list[int]:
        """The numbers of its first processes."""
        every = (self.main, self._next, self._old)
        return [item.pid for item in every if item is not None and item.pid is not None]

    def _new_process(self) -> ProgramProcess:
        return ProgramProcess(self._home, self._options, self.slot)

    # -- what the supervisor does ---------------------------------------------------------------

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Start its first process; see `ProgramProcess.start`."""
        self._ended = ended
        await self.main.start(partial(self._process_ended, self.main))

    async def wait(self) -> Exit:
        """Wait until nothing of it runs; return how it ended."""
        await self._done.wait()
        assert self._exit is not None
        return self._exit

    def stop(self) -> None:
        """Ask its processes to end; one that starts is killed."""
        self._stopping = True
        if self._next is not None:
            self._next.kill()
        self.main.stop()

    def kill(self) -> None:
        """Kill its processes."""
        self._stopping = True
        for process in (self._next, self._old, self.main):
            if process is not None:
                process.kill()

    # -- what a reload does -----------------------------------------------------------------------

    async def replace(self, within: float | None = None) -> None:
        """Have another process take the place of the one that runs.

        Args:
            within: seconds it has to get ready; None is the program's `start_timeout`.

        Raises:
            ActorsError: it does not run, or another process is taking its place already.
            StartFailed: the new process did not get ready.
        """
        if self._stopping or self._exit is not None or self.main.state is not RunState.READY:
            state = "STOPPING" if self._stopping else self.main.state.value
            raise ActorsError(f"{self.name} is {state}, not READY")
        if self._next is not None or self._old is not None:
            raise ActorsError(f"{self.name} is being replaced already")
        port = self.main.port
        shares = port is not None and await self.main.listens()
        if not shares or await self._home.threads.run(is_shared, port):
            await self._replace_beside(within, shares=shares)
        else:
            await self._replace_after(within)

    async def _replace_beside(self, within: float | None, *, shares: bool) -> None:
        old, new = self.main, self._new_process()
        self._next = new
        try:
            await new.start(partial(self._process_ended, new), within, beside=shares)
        except BaseException:
            self._next = None
            self._announce()
            raise
        if self._exit is not None or self._stopping:
            new.kill()
            await new.wait()
            raise ActorsError(f"{self.name} ended meanwhile: {self._exit or 'it was stopped'}")
        self.main, self._old, self._next = new, old, None
        old.retire()
        await old.wait()

    async def _replace_after(self, within: float | None) -> None:
        old, new = self.main, self._new_process()
        self.main, self._old = new, old
        old.retire()
        try:
            await old.wait()
            self._check_running()
            await new.start(partial(self._process_ended, new), within)
        except BaseException as error:
            self._end(Exit.SHUTDOWN if self._stopping else Exit.CRASHED(error))
            raise

    def _check_running(self) -> None:
        if self._stopping:
            raise ActorsError(f"{self.name} was stopped meanwhile")

    # -- steps -----------------------------------------------------------------------------------

    def _process_ended(self, process: ProgramProcess, end: Exit) -> None:
        if process is self._old:
            self._old = None
        if process is self._next:
            self._next = None
        if process is self.main:
            self._end(end)
        self._announce()

    def _end(self, end: Exit) -> None:
        """Note how it ends, and end what is left of it."""
        if self._exit is None:
            self._exit = end
        for process in (self._next, self._old):
            if process is not None:
                process.kill()
        self._announce()

    def _announce(self) -> None:
        """Tell that it has ended, when all its processes have."""
        alone = self._next is None and self._old is None
        if self._exit is not None and alone and not self._done.is_set():
            self._done.set()
            if self._ended is not None:
                self._ended(self._exit)
