"""`actors debug NODE`: the connection of a command, and a debugger that waits on a node.

What is typed comes as it is; what the debugger writes goes as items, and last how it ended.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Final

import anyio
from anyio.abc import SocketStream

from actors._base.errors import ActorsError, InvalidSpec
from actors._system.control.ended_nodes import not_running
from actors._system.control.ps import node_identity, node_named
from actors._system.coordinator import Coordinator

__all__ = ["debug"]

_CHUNK: Final = 64 * 1024
_ENDS_WITHIN: Final = 0.5
"""Seconds after which a node whose debugger has closed goes on, and has not ended."""


async def debug(core: Coordinator, stream: SocketStream, node: str) -> None:
    """Let whoever is at *stream* talk to the debugger of a node, until one of them leaves.

    Raises:
        InvalidSpec: there is no such node, or it has no debugger of its own.
        ActorsError: it stands at no breakpoint.
    """
    if core.local is not None and node == core.local.name:
        raise InvalidSpec(
            f"{node} is the program itself: breakpoint() opens pdb in its own terminal"
        )
    found = node_named(core, node)
    if found.kind != "process":
        raise InvalidSpec(
            f"{node} is a {found.kind} of the program: breakpoint() opens pdb in the program's own terminal"
        )
    run = found.run
    if run is None:
        raise not_running(found)
    stop = core.breakpoints.take(run)
    if stop is None:
        raise ActorsError(
            f"node {node} stands at no breakpoint(); `actors stack {node}` shows what it does"
        )
    facts = {**node_identity(found), "node": node, "actor": stop.actor, "place": stop.place}
    with stop.sock as sock:
        sock.setblocking(False)
        await _send(stream, {"ok": True, "result": facts})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_to_debugger, stream, sock)
            await _from_debugger(stream, sock)
            tasks.cancel_scope.cancel()
    with anyio.move_on_after(_ENDS_WITHIN):
        await run.wait()
    ended = {"died": bool(run.last_end), "how": run.last_end or f"node {node} continues"}
    await _send(stream, {"item": ended})


async def _to_debugger(stream: SocketStream, sock: socket.socket) -> None:
    try:
        while True:
            data = await stream.receive(_CHUNK)
            while data:
                await anyio.wait_writable(sock)
                data = data[sock.send(data) :]
    except (anyio.EndOfStream, anyio.BrokenResourceError, OSError):
        pass
    try:
        sock.shutdown(socket.SHUT_WR)  # the debugger reads the end of its input
    except OSError:
        return


async def _from_debugger(stream: SocketStream, sock: socket.socket) -> None:
    try:
        while True:
            await anyio.wait_readable(sock)
            data = sock.recv(_CHUNK)
            if not data:
                return
            await _send(stream, {"item": {"text": data.decode("utf-8", "replace")}})
    except (anyio.BrokenResourceError, OSError):
        return


async def _send(stream: SocketStream, facts: dict[str, Any]) -> None:
    await stream.send(json.dumps(facts).encode() + b"\n")
