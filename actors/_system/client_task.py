"""The task in which the connection of a client lives, from its start to its end."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import to_thread

from actors._base.control_folder import control_folder
from actors._base.control_search import FoundSystem, NoneRuns, SeveralRun, find_system
from actors._base.errors import ActorsError, InvalidSpec, NoSystem, SystemStopped
from actors._base.run_loop import open_own_loop
from actors._base.version import installed_version
from actors._system.client_access import ClientAccess
from actors._system.client_process import ClientProcess
from actors._system.own_task import OwnTask
from actors._system.running_systems import enter_context, on_this_loop

if TYPE_CHECKING:
    from actors._base.loop import Loop

__all__ = ["ClientTask", "Which"]

Which = str | int | os.PathLike[str] | None
"""A system: the number of its process, its name, both as "4711-orders", or the folder of its control socket."""

_REPLY_WITHIN: Final = 5.0
"""Seconds."""
_LONGEST_REPLY: Final = 64 * 1024
"""Bytes."""


class ClientTask(OwnTask):
    """Connects to a running system, waits for its end or for the request to leave, and leaves.

    Args:
        system: the `System` that it belongs to.
        which: the system that is meant.
    """

    def __init__(self, system: Any, which: Which) -> None:
        super().__init__(system)
        self._which = which
        self._label = ""
        self._found: FoundSystem | None = None
        self._admitted: dict[str, Any] = {}
        self._access: ClientAccess | None = None

    def stopped(self) -> SystemStopped:
        """Return the error of a call that came after the end."""
        if self.failure is None:
            return SystemStopped(f"the connection to system {self._label} is closed")
        return SystemStopped(str(self.failure))

    async def _live(self) -> None:
        async with open_own_loop() as (loop, tasks):
            self.loop = loop
            try:
                with self._starting:
                    await self._connect(loop)
            except ActorsError as error:
                self._start_error = self.failure = error
            if self._starting.cancelled_caught:
                self._start_error = SystemStopped("it was told to stop before it was connected")
            try:
                if self._start_error is None:
                    await self._serve()
            finally:
                self._leave()
                tasks.cancel_scope.cancel()

    async def _connect(self, loop: Loop) -> None:
        """Connect, and get to know what there is in the system."""
        await to_thread.run_sync(self._ask_to_connect)
        assert self._found is not None
        self._label = self._found.at.label
        client = ClientProcess(self._admitted, self._found.sock, loop, self._system_ended)
        self._access = ClientAccess(client)
        client.host.system = self.place.system
        try:
            with anyio.fail_after(_REPLY_WITHIN):
                await client.open()
        except TimeoutError as error:
            raise ActorsError(
                f"system {self._label} did not say within {_REPLY_WITHIN:g} s what there is"
            ) from error

    async def _serve(self) -> None:
        """Be connected until the system has ended, or somebody leaves it."""
        access = self._access
        assert access is not None
        self._made(access)
        self.check_process = access.client.check_process
        enter_context(self.place)
        with on_this_loop(self.place.system, access.client.host.loop, lambda: None):
            self._ready.set()
            await self._stop_asked.wait()

    def _leave(self) -> None:
        """Let go of everything; whoever waits is told."""
        if self._access is not None:
            self._access.threads.close()
            self._access.client.close(self.stopped)
        elif self._found is not None:
            self._found.sock.close()

    def _ask_to_connect(self) -> None:
        """Find the system and ask it for a connection; in a worker thread.

        Raises:
            NoSystem: there is no such system, or there are several.
            InvalidSpec: *which* can mean none.
            ActorsError: it refused, or did not answer.
        """
        found = self._found = _find(self._which)
        found.sock.settimeout(_REPLY_WITHIN)
        request = {"op": "connect", "version": installed_version()}
        try:
            found.sock.sendall(json.dumps(request).encode() + b"\n")
            reply = json.loads(_reply(found.sock))
        except (OSError, ValueError) as error:
            why = f"{_REPLY_WITHIN:g} s are over" if isinstance(error, TimeoutError) else error
            raise ActorsError(f"system {found.at.label} did not answer: {why}") from error
        if not reply["ok"]:
            raise ActorsError(f"system {found.at.label} refused: {reply['error']}")
        self._admitted = reply["result"]

    def _system_ended(self) -> None:
        """The connection has ended, and not because this program asked for it."""
        if not self._stop_asked.is_set():
            self.failure = self.failure or SystemStopped(
                f"system {self._label} has ended, or this program's connection to it"
            )
            self.end()


def _reply(sock: socket.socket) -> bytes:
    """Read one line, and nothing behind it: what follows belongs to the link."""
    line = b""
    while not line.endswith(b"\n"):
        there = sock.recv(_LONGEST_REPLY, socket.MSG_PEEK)
        if not there:
            raise OSError("it closed the connection")
        line += sock.recv(there.index(b"\n") + 1 if b"\n" in there else len(there))
        if len(line) > _LONGEST_REPLY:
            raise OSError("its answer has no end")
    return line


def _find(which: Which) -> FoundSystem:
    name, folder = _meant(which)
    try:
        return find_system(name, folder)
    except SeveralRun as error:
        lines = "".join(f"\n  connect({label!r})   {command}" for label, command in error.choices)
        raise NoSystem(f"{error}:{lines}") from error
    except NoneRuns as error:
        raise NoSystem(
            f"{error}; `actors run` and `System(control=True)` make one that can be connected to"
        ) from error


def _meant(which: Which) -> tuple[str | None, Path]:
    """Return the name of a system, None for any, and the folder to look in.

    Raises:
        InvalidSpec: it is neither.
    """
    if which is None:
        return None, control_folder()
    if isinstance(which, os.PathLike) or (isinstance(which, str) and "/" in which):
        return None, Path(which)
    given: object = which
    if isinstance(given, bool) or not isinstance(given, str | int) or given == "":
        raise InvalidSpec(
            "connect takes the name of a system, the number of its process, or the folder of its control "
            f"socket; got {which!r}"
        )
    return str(which), control_folder()
