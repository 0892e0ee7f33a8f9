"""Finds the running system, and asks it over its control socket.

Rule 1: synchronous, so that a command needs no event loop.
Rule 2: every wait has a limit, and its error says what was waited for.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from actors._base.control_folder import BadFolder, ControlSocket, control_folder
from actors._base.control_search import NoneRuns, SeveralRun, find_system
from actors.cli._failure import FAILED, NOT_RUNNING, WRONG, CommandFailed

__all__ = ["REPLY_TIMEOUT", "ControlConnection", "connect"]

REPLY_TIMEOUT: Final = 10.0
"""Seconds that a reply may take; the system has shorter limits for what it asks its nodes."""
_STOP_POLL: Final = 0.05
_CHUNK: Final = 256 * 1024
_GO_ON: Final = frozenset({"reload", "restart", "scale", "spawn", "stop_any"})
"""What the system goes on with when nobody waits for its answer any more."""
_EXIT_CODES: Final = {"wrong": WRONG, "failed": FAILED}
"""The exit code by the `why` of a refusal."""


class ControlConnection:
    """A connection to a running system, for one request."""

    def __init__(self, found: ControlSocket, sock: socket.socket) -> None:
        self.pid: int = found.pid
        self.label: str = found.label
        self._socket_file = found.path
        self._sock = sock
        self._unread = b""

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def abort(self) -> None:
        """End the connection, also while another thread waits for an answer: it gets `CommandFailed`."""
        with suppress(OSError):  # it has ended already
            self._sock.shutdown(socket.SHUT_RDWR)

    def ask(self, op: str, *, timeout: float = REPLY_TIMEOUT, **arguments: Any) -> Any:
        """Send one request and return its result.

        Args:
            op: the operation, one of the names in `actors._system.control.operations`.
            timeout: how many seconds the reply may take.
            **arguments: those of the operation.

        Raises:
            CommandFailed: the system refused, failed, or did not answer in time.
        """
        self._sock.settimeout(timeout)
        try:
            request = {"op": op, **_as_typed(arguments)}
            self._sock.sendall(json.dumps(request).encode() + b"\n")
            reply = json.loads(self._read_line())
        except TimeoutError as error:
            raise CommandFailed(f"system {self.label} {_late(op, timeout)}") from error
        except (OSError, ValueError) as error:
            raise CommandFailed(f"system {self.label} broke off its answer: {error}") from error
        if reply["ok"]:
            return reply["result"]
        raise self._failed(reply)

    def lines(self, op: str, *, wait: float | None, **arguments: Any) -> Iterator[Any]:
        """Send a request that is answered by a result and items behind it; give all of them.

        Args:
            op: the operation.
            wait: how many seconds each of them may take; None is any time for what follows the result.
            **arguments: those of the operation.

        Raises:
            CommandFailed: the system refused, failed, or did not answer in time.
        """
        yield self.ask(op, timeout=REPLY_TIMEOUT if wait is None else wait, **arguments)
        self._sock.settimeout(wait)
        while True:
            try:
                reply = json.loads(self._read_line())
            except TimeoutError as error:
                raise CommandFailed(f"system {self.label} said nothing for {wait:g} s") from error
            except (OSError, ValueError):
                return
            if "item" not in reply:
                raise self._failed(reply)
            yield reply["item"]

    def converse(self, op: str, typed: int, **arguments: Any) -> Iterator[Any]:
        """Send a request, then what is typed; give the result, and what is answered until the system closes.

        Args:
            op: the operation.
            typed: the descriptor of what is typed.
            **arguments: those of the operation.

        Raises:
            CommandFailed: the system refused, failed, or did not answer the request in time.
        """
        yield self.ask(op, **arguments)
        self._sock.settimeout(None)
        watched: list[Any] = [self._sock, typed]
        while True:
            if b"\n" not in self._unread:
                ready, _, _ = select.select(watched, [], [])
                if typed in ready and not self._type(typed):
                    watched.remove(typed)
                if self._sock not in ready:
                    continue
            try:
                reply = json.loads(self._read_line())
            except (OSError, ValueError):
                return
            yield reply["item"]

    def _type(self, typed: int) -> bool:
        """Send what was typed; return whether there may be more."""
        data = os.read(typed, _CHUNK)
        with suppress(OSError):  # it has closed, which is read next
            if data:
                self._sock.sendall(data)
            else:
                self._sock.shutdown(socket.SHUT_WR)
        return bool(data)

    def _failed(self, reply: dict[str, str]) -> CommandFailed:
        if "why" in reply:
            return CommandFailed(reply["error"], _EXIT_CODES[reply["why"]])
        return CommandFailed(f"system {self.label} refused: {reply['error']}")

    def follow(self, op: str, **arguments: Any) -> Iterator[Any]:
        """Send a request that is answered by many lines; return them until the system has ended.

        Raises:
            CommandFailed: the system refused, or did not answer in time.
        """
        self.ask(
            op, **arguments
        )  # now, not when the first line is asked for: nothing after it is missed
        self._sock.settimeout(None)
        return self._lines()

    def _lines(self) -> Iterator[Any]:
        while True:
            try:
                line = self._read_line()
            except OSError:
                return
            yield json.loads(line)

    def _read_line(self) -> bytes:
        """Read one line; keep what arrived after it for the next call."""
        parts = [self._unread]
        while b"\n" not in parts[-1]:
            part = self._sock.recv(_CHUNK)
            if not part:
                raise OSError("it closed the connection")
            parts.append(part)
        line, _, self._unread = b"".join(parts).partition(b"\n")
        return line

    def stop(self, timeout: float) -> None:
        """Ask the system to stop, and wait until it has: if it has a process of its own, until that has ended.

        Raises:
            CommandFailed: it has not ended after *timeout* seconds.
        """
        try:
            process = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            facts = self.ask("stop")
            ended = self._process_ended if facts.get("ends_process", True) else self._left
            until = time.monotonic() + timeout
            while not ended(process, _STOP_POLL):
                if time.monotonic() >= until:
                    raise CommandFailed(
                        f"system {self.label} is still stopping after {timeout:g} s: "
                        f"`kill -9 {self.pid}` ends it and its nodes at once"
                    )
        finally:
            os.close(process)

    def _process_ended(self, process: int, seconds: float) -> bool:
        return bool(select.select([process], [], [], seconds)[0])

    def _left(self, process: int, seconds: float) -> bool:
        """Whether the system has ended in its program, which may go on."""
        return self._process_ended(process, seconds) or not self._socket_file.exists()


def _late(op: str, seconds: float) -> str:
    if op in _GO_ON:
        return f"goes on with it after {seconds:g} s: `actors ps` shows what it waits for"
    return f"did not answer within {seconds:g} s"


def _as_typed(value: Any) -> Any:
    """Return arguments of a command with their letters, which in some locales were read byte by byte."""
    if isinstance(value, str):
        with suppress(UnicodeError):  # they are no text, and the system has nothing of that name
            return os.fsencode(value).decode()
        return value
    if isinstance(value, dict):
        return {_as_typed(key): _as_typed(item) for key, item in value.items()}
    return [_as_typed(item) for item in value] if isinstance(value, list | tuple) else value


def connect(which: int | str | None) -> ControlConnection:
    """Connect to a system of this user; without a choice, to the only one that runs.

    Args:
        which: the number of its process, its name, or both as "4711-orders".

    Raises:
        CommandFailed: it does not run, or several run and none was chosen.
    """
    try:
        found = find_system(None if which is None else str(which), control_folder())
    except BadFolder as error:
        raise CommandFailed(str(error)) from error
    except SeveralRun as error:
        lines = "".join(f"\n  --pid {label}   {command}" for label, command in error.choices)
        raise CommandFailed(f"{error}:{lines}", WRONG) from error
    except NoneRuns as error:
        raise CommandFailed(str(error), NOT_RUNNING) from error
    return ControlConnection(*found)
