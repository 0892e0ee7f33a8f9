"""The control socket of a running system: one JSON line in, one JSON line out, or more for who follows.

Rule 1: who connects is checked before a byte is read; what is read is bounded in size and time.
Rule 2: whatever comes, the system goes on: a bad request costs one reply and one event.
Rule 3: few at a time; the others wait in the kernel's queue.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskGroup

from actors._system.coordinator import Coordinator
from actors._system.system import System, core_of
from actors.cli._failure import did_you_mean
from actors.cli.server.folder import remove_stale, socket_path
from actors.cli.server.follow import Followers
from actors.cli.server.ops import OPS, Op, Refused, refusal

__all__ = ["control_socket"]

_LONGEST: Final = 64 * 1024
"""Bytes of a request."""
_CONNECTIONS: Final = 16
_PAUSE: Final = 1.0
"""Seconds without accepting when the process is out of descriptors."""


@asynccontextmanager
async def control_socket(
    system: System, folder: Path, *, patience: float = 5.0
) -> AsyncIterator[Path]:
    """Serve requests about *system* on a socket in *folder* while the block runs.

    Args:
        system: a running system of this process.
        folder: as `make_folder` made it.
        patience: seconds a request may take to arrive, and a reply to be taken.
    """
    remove_stale(folder)
    path = socket_path(folder, os.getpid())
    core = core_of(system)
    listener = await anyio.create_unix_listener(path, mode=0o600)
    try:
        async with listener, anyio.create_task_group() as tasks:
            control = _Control(core, patience)
            tasks.start_soon(control.accept, listener, tasks)
            core.event("control_socket", {"path": str(path)})
            yield path
            tasks.cancel_scope.cancel()
    finally:
        path.unlink(missing_ok=True)


class _Control:
    """Serves the connections of one control socket."""

    def __init__(self, core: Coordinator, patience: float) -> None:
        self._core = core
        self._patience = patience
        self._followers = Followers(core)
        self._room = anyio.Semaphore(_CONNECTIONS)

    async def accept(self, listener: Any, tasks: TaskGroup) -> None:
        """Take connections, as many at a time as there is room for."""
        while True:
            await self._room.acquire()
            try:
                stream = await listener.accept()
            except OSError as error:
                self._room.release()
                self._refused(error, {})
                await anyio.sleep(_PAUSE)
            else:
                tasks.start_soon(self._serve, stream)

    async def _serve(self, stream: SocketStream) -> None:
        peer: dict[str, Any] = {}
        op = None
        try:
            async with AsyncExitStack() as held:
                await held.enter_async_context(stream)
                try:
                    peer = _peer(stream)
                    op, details = await self._request(stream)
                    if op.follows:
                        # Of the system itself, because it has things to tell when this is closed.
                        held.pop_all()
                        self._core.tasks.start_soon(self._followers.serve, stream, details)
                        return
                    reply = {"ok": True, "result": await op.answer(self._core, **details)}
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return  # whoever asked has gone
                except Exception as error:  # noqa: BLE001 - a question must never end the system
                    reply = {"ok": False, **self._refused(error, peer)}
                await self._reply(stream, reply)
        except (anyio.BrokenResourceError, OSError):
            pass  # whoever asked has gone
        finally:
            self._room.release()
        if op is not None and op.afterwards is not None:
            op.afterwards(self._core)

    def _refused(self, error: Exception, peer: dict[str, Any]) -> dict[str, str]:
        told = refusal(error)
        self._core.event("control_refused", {"why": told["error"], **peer})
        return told

    async def _request(self, stream: SocketStream) -> tuple[Op, dict[str, Any]]:
        try:
            with anyio.fail_after(self._patience):
                line = await _line(stream)
        except TimeoutError as error:
            raise Refused(f"the request did not arrive within {self._patience:g} s") from error
        return _asked(line)

    async def _reply(self, stream: SocketStream, reply: dict[str, Any]) -> None:
        data = json.dumps(reply, ensure_ascii=False, default=str).encode() + b"\n"
        with anyio.move_on_after(self._patience):
            await stream.send(data)


def _peer(stream: SocketStream) -> dict[str, Any]:
    """Return who is at the other end.

    Raises:
        Refused: another user than the one this system belongs to.
    """
    raw = stream.extra(SocketAttribute.raw_socket)  # noqa: S610 - anyio's, not Django's
    given = raw.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", given)
    if uid != os.geteuid():
        raise Refused(f"uid {uid} may not control a system of uid {os.geteuid()}")
    return {"peer_pid": pid}


async def _line(stream: SocketStream) -> bytes:
    """Read up to the first newline.

    Raises:
        EndOfStream: nothing was said at all.
        Refused: it is too long, or ends before the newline.
    """
    got = bytearray()
    while b"\n" not in got:
        if len(got) > _LONGEST:
            raise Refused(f"a request has at most {_LONGEST} bytes, this one has more")
        try:
            got += await stream.receive(_LONGEST)
        except anyio.EndOfStream:
            if not got:
                raise
            raise Refused(f"the request ended without a newline, after {len(got)} bytes") from None
    line, _, _ = bytes(got).partition(b"\n")
    if len(line) > _LONGEST:
        raise Refused(f"a request has at most {_LONGEST} bytes, this one has {len(line)}")
    return line


def _asked(line: bytes) -> tuple[Op, dict[str, Any]]:
    """Return what is asked for, and what else the request says."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Refused(f"a request is one line of JSON, got {_shown(line)}") from error
    name = request.get("op") if isinstance(request, dict) else None
    if not isinstance(name, str):
        raise Refused(f'a request is like {{"op": "ps"}}, got {_shown(line)}')
    if name not in OPS:
        raise Refused(f"there is no op {_shown(name.encode())}{did_you_mean(name, OPS)}")
    op = OPS[name]
    details = {key: value for key, value in request.items() if key != "op"}
    if not details.keys() <= op.takes:
        takes = ", ".join(sorted(op.takes)) or "nothing else"
        raise Refused(f"op {name!r} takes {takes}, got {_shown(line)}")
    return op, details


def _shown(data: bytes) -> str:
    text = data[:60].decode("utf-8", "backslashreplace")
    return repr(text + ("..." if len(data) > len(text) else ""))
