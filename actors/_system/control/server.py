"""The control socket of a running system: one request line of JSON, one reply line, and events for a follower.

Rule 1: the user of a connection is checked before a byte is read; a request is limited in size and time.
Rule 2: a bad request causes one reply and one event, and nothing else.
Rule 3: a limited number of connections is served at a time; the others wait in the kernel's queue, but not for
one that says nothing: its first byte comes at once, or it is closed.
Rule 4: a system without a control socket works: where none can be made, that is one event.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskGroup

from actors._base.control_folder import (
    NAME,
    NoFolder,
    control_folder,
    is_listened_on,
    make_folder,
    remove_stale_sockets,
    socket_path,
)
from actors._base.errors import ActorsError, InvalidSpec
from actors._base.loop import Waiter
from actors._base.suggestions import did_you_mean
from actors._system.control.followers import EventFollowers, cancel_when_closed
from actors._system.control.operations import OPERATIONS, ControlOperation, Refused, refusal
from actors._system.coordinator import Coordinator
from actors.supervisors import shown

__all__ = ["control_name", "control_socket", "serve_until_stop"]

_LONGEST_REQUEST: Final = 64 * 1024
"""Bytes."""
_CLIENT_GONE: Final = (anyio.BrokenResourceError, anyio.ClosedResourceError)
_MOST_CONNECTIONS: Final = 64
_FIRST_BYTE: Final = 0.5
"""Seconds."""
_ACCEPT_PAUSE: Final = 1.0
"""Seconds to wait after `accept` has failed: the process is out of descriptors."""


def control_name(control: object) -> str | None:
    """Return the name that *control* gives a system, "" for none; None is no control socket.

    Raises:
        InvalidSpec: it is neither True nor False nor a name.
    """
    if isinstance(control, bool):
        return "" if control else None
    if isinstance(control, str) and NAME.fullmatch(control):
        return control
    raise InvalidSpec(
        "control must be True, False or a name: a letter, and up to 31 letters, digits and _ behind it; "
        f"got {control!r}"
    )


async def serve_until_stop(core: Coordinator, name: str) -> None:
    """Serve the control socket of a system of a user's program until the system has stopped.

    Args:
        core: of the running system.
        name: its name; "" gives it none but the number of its process.

    Raises:
        BadFolder: the control folder may not be used.
        InvalidSpec: another system of this process has that name.
    """
    opened = core.loop.waiter()
    core.tasks.start_soon(_serve_until_stop, core, name, opened)
    await opened


async def _serve_until_stop(core: Coordinator, name: str, opened: Waiter) -> None:
    try:
        async with control_socket(core, control_folder(), name=name):
            if not opened.done():
                opened.set_result(None)
            await anyio.sleep_forever()
    except ActorsError as error:
        if not opened.done():  # its start has not been cancelled meanwhile
            opened.set_exception(error)


@asynccontextmanager
async def control_socket(
    core: Coordinator, folder: Path, *, name: str = "", time_limit: float = 5.0
) -> AsyncIterator[Path]:
    """Serve the control socket of a system in *folder* while the block runs.

    Args:
        core: of a running system of this process.
        folder: where; it is made if need be.
        name: of the system; "" gives it none but the number of its process.
        time_limit: seconds for a request to arrive, and for a reply to be read.

    Raises:
        BadFolder: the control folder may not be used.
        InvalidSpec: another system of this process has that name.
    """
    path = socket_path(folder, os.getpid(), name)
    try:
        make_folder(folder)
        remove_stale_sockets(folder)
        path = _free_path(folder, name)
        listener = await anyio.create_unix_listener(path, mode=0o600)
    except (NoFolder, OSError) as error:  # a read-only or full file system, no descriptors
        core.event("no_control_socket", {"path": str(path), "why": shown(error)})
        yield path
        return
    try:
        async with listener, anyio.create_task_group() as tasks:
            control = _Control(core, time_limit)
            tasks.start_soon(control.accept, listener, tasks)
            core.event("control_socket", {"path": str(path)})
            core.breakpoints.sockets += 1
            try:
                yield path
            finally:
                core.breakpoints.sockets -= 1
            tasks.cancel_scope.cancel()
    finally:
        with suppress(OSError):  # the file system has become read-only
            path.unlink()


def _free_path(folder: Path, name: str) -> Path:
    """Return where no other system of this process listens."""
    path = socket_path(folder, os.getpid(), name)
    if name and is_listened_on(path):
        raise InvalidSpec(f"control={name!r}: another system of this process has that name")
    number = 1
    while is_listened_on(path):
        number += 1
        path = socket_path(folder, os.getpid(), str(number))
    return path


class _Control:
    """Serves the connections of one control socket."""

    def __init__(self, core: Coordinator, time_limit: float) -> None:
        self._core = core
        self._time_limit = time_limit
        self._followers = EventFollowers(core)
        self._free = anyio.Semaphore(_MOST_CONNECTIONS)

    async def accept(self, listener: Any, tasks: TaskGroup) -> None:
        """Accept connections, and serve each in a task of its own."""
        while True:
            await self._free.acquire()
            try:
                stream = await listener.accept()
            except OSError as error:
                self._free.release()
                self._report(error, {})
                await anyio.sleep(_ACCEPT_PAUSE)
            else:
                tasks.start_soon(self._serve, stream)

    async def _serve(self, stream: SocketStream) -> None:
        peer: dict[str, Any] = {}
        operation = None
        try:
            async with AsyncExitStack() as held:
                await held.enter_async_context(stream)
                try:
                    peer = _check_peer(stream)
                    operation, arguments = await self._receive(stream)
                    reply = await self._carry_out(held, stream, operation, arguments, peer)
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return  # the client has closed its end
                except Exception as error:  # noqa: BLE001 - a request must never end the system
                    reply = _encoded({"ok": False, **self._report(error, peer)})
                if reply is None:
                    return
                await self._reply(stream, reply)
        except (anyio.BrokenResourceError, OSError):
            pass  # the client has closed its end
        finally:
            self._free.release()
        if operation is not None and operation.after_reply is not None:
            operation.after_reply(self._core)

    async def _send_lines(self, stream: SocketStream, lines: AsyncIterator[Any]) -> None:
        """Send the result, then a line for each item, as fast as they are read, until the client closes."""
        begun, failed = False, None
        async with aclosing(lines), anyio.create_task_group() as tasks:  # type: ignore[type-var] # generators
            tasks.start_soon(cancel_when_closed, stream, tasks.cancel_scope)
            try:
                async for item in lines:
                    await stream.send(_encoded({"item": item} if begun else _ok(item)))
                    begun = True
            except _CLIENT_GONE:
                pass
            except Exception as error:  # noqa: BLE001 - the client is told
                failed = error
            tasks.cancel_scope.cancel()
        if failed is not None:
            await self._reply(stream, _encoded({"ok": False, **self._report(failed, {})}))

    async def _carry_out(
        self,
        held: AsyncExitStack,
        stream: SocketStream,
        operation: ControlOperation,
        arguments: dict[str, Any],
        peer: dict[str, Any],
    ) -> bytes | None:
        """Do what is asked; return the reply, or None if the operation has made its own."""
        if operation.follows:
            # A task of the system, because events must be sent after this control socket is closed.
            held.pop_all()
            self._core.tasks.start_soon(self._followers.serve, stream, arguments)
        elif operation.talks is not None:
            await operation.talks(self._core, stream, **arguments)
        elif operation.lines is not None:
            await self._send_lines(stream, operation.lines(self._core, **arguments))
        else:
            result = await operation.run(self._core, **arguments)
            reply = _encoded(_ok(result))
            if not operation.connects:
                return reply
            await self._connect(stream, reply, result, peer["peer_pid"])
        return None

    async def _connect(
        self, stream: SocketStream, reply: bytes, admitted: dict[str, Any], pid: int
    ) -> None:
        """Make the connection the link to a client of the system, which outlives this task."""
        with anyio.fail_after(self._time_limit):
            await stream.send(reply)
        raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - anyio's, not Django's
        own = socket.socket(fileno=os.dup(raw.fileno()))
        self._core.clients.attach(own, admitted, pid)

    def _report(self, error: Exception, peer: dict[str, Any]) -> dict[str, str]:
        reply = refusal(error)
        self._core.event("control_refused", {"why": reply["error"], **peer})
        return reply

    async def _receive(self, stream: SocketStream) -> tuple[ControlOperation, dict[str, Any]]:
        try:
            with anyio.fail_after(self._time_limit):
                line = await _read_line(stream, _FIRST_BYTE)
        except TimeoutError as error:
            raise Refused(f"the request did not arrive within {self._time_limit:g} s") from error
        return _parse(line)

    async def _reply(self, stream: SocketStream, reply: bytes) -> None:
        with anyio.move_on_after(self._time_limit):
            await stream.send(reply)


def _ok(result: Any) -> dict[str, Any]:
    return {"ok": True, "result": result}


def _encoded(reply: dict[str, Any]) -> bytes:
    """Return *reply* as a line; half a surrogate pair, which a client may have sent, as JSON escapes it."""
    return (
        json.dumps(reply, ensure_ascii=False, default=str).encode(errors="backslashreplace") + b"\n"
    )


def _check_peer(stream: SocketStream) -> dict[str, Any]:
    """Return the pid of the process at the other end, as facts of an event.

    Raises:
        Refused: it belongs to another user.
    """
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - anyio's, not Django's
    given = raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", given)
    if uid != os.geteuid():
        raise Refused(f"uid {uid} may not control a system of uid {os.geteuid()}")
    return {"peer_pid": pid}


async def _read_line(stream: SocketStream, patience: float) -> bytes:
    """Read up to the first newline; the first bytes must come within *patience* seconds.

    Raises:
        EndOfStream: the connection was closed before the first byte, or that did not come in time.
        Refused: the line is too long, or has no newline.
    """
    with anyio.move_on_after(patience) as waiting:
        part = await stream.receive(_LONGEST_REQUEST)
    if waiting.cancelled_caught:
        raise anyio.EndOfStream
    data = bytearray(part)
    while b"\n" not in part:
        if len(data) > _LONGEST_REQUEST:
            raise Refused(f"a request has at most {_LONGEST_REQUEST} bytes, this one has more")
        try:
            part = await stream.receive(_LONGEST_REQUEST)
        except anyio.EndOfStream:
            raise Refused(f"the request ended without a newline, after {len(data)} bytes") from None
        data += part
    line, _, _ = bytes(data).partition(b"\n")
    if len(line) > _LONGEST_REQUEST:
        raise Refused(f"a request has at most {_LONGEST_REQUEST} bytes, this one has {len(line)}")
    return line


def _parse(line: bytes) -> tuple[ControlOperation, dict[str, Any]]:
    """Return the operation of a request, and its arguments.

    Raises:
        Refused: it is not JSON, or names an unknown operation or argument.
    """
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refused(f"a request is one line of JSON, got {_shown(line)}") from error
    name = request.get("op") if isinstance(request, dict) else None
    if not isinstance(name, str):
        raise Refused(f'a request is like {{"op": "ps"}}, got {_shown(line)}')
    if name not in OPERATIONS:
        raise Refused(
            f"there is no op {_shown(name.encode('utf-8', 'backslashreplace'))}{did_you_mean(name, OPERATIONS)}"
        )
    operation = OPERATIONS[name]
    arguments = {key: value for key, value in request.items() if key != "op"}
    if not arguments.keys() <= operation.arguments:
        takes = ", ".join(sorted(operation.arguments)) or "nothing else"
        raise Refused(f"op {name!r} takes {takes}, got {_shown(line)}")
    return operation, arguments


def _shown(data: bytes) -> str:
    text = data[:60].decode("utf-8", "backslashreplace")
    return repr(text + ("..." if len(data) > len(text) else ""))
