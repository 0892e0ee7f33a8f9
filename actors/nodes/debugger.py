"""`breakpoint()` on a process node: pdb, which somebody talks to by `actors debug NODE`.

Rule 1: it waits for somebody, for a limited time, and only where somebody may come.
Rule 2: whoever leaves lets the program continue; nothing that a debugger does raises in it.
Rule 3: the parent is told not to expect heartbeats while the loop's thread stands still here.
"""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

from actors._base.errors import ActorsError
from actors._messaging.turn import TURN
from actors._remoting import debug_operations as ops, operations

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop
    from actors._remoting.link import Link
    from actors.nodes.health.heartbeat import Heartbeat

__all__ = ["Debugger", "refuse"]

_WAITS: Final = 60.0
"""Seconds that `breakpoint()` waits for somebody."""


def refuse(*_args: object, **_options: object) -> None:
    """Stand for `breakpoint` where nobody can come: pdb would end the handler by BdbQuit at its empty input.

    Raises:
        ActorsError: always.
    """
    raise ActorsError(
        "breakpoint() needs a terminal, and a process node has none: with a control socket (`actors run`, "
        "System(control=True)) `actors debug NODE` gives it one; or run the actor on the local node, or set "
        "PYTHONBREAKPOINT to a debugger that listens on a socket"
    )


class Debugger:
    """The `sys.breakpointhook` of a process node.

    Args:
        name: of the node.
        loop: of the node; this is made in its thread.
        parent: the link to the parent.
        heartbeat: of the node.

    Attributes:
        waits: seconds that it waits for somebody.
    """

    def __init__(self, name: str, loop: Loop, parent: Link, heartbeat: Heartbeat) -> None:
        self.waits: float = _WAITS
        self._name = name
        self._loop = loop
        self._parent = parent
        self._heartbeat = heartbeat
        self._thread = threading.get_ident()

    def __call__(self, *_args: object, **_options: object) -> None:
        """Wait for somebody, and hand the caller's frame to pdb.

        Raises:
            ActorsError: nobody can come: the system has no control socket.
        """
        frame = sys._getframe(1)  # noqa: SLF001 - documented, and what pdb does
        turn = TURN.get()
        actor = "" if turn is None else turn.sender.ref.name
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        ours, theirs = socket.socketpair()
        self._in_loop(self._tell, theirs.detach(), actor, place)
        from actors.nodes.remote_pdb import RemotePdb, Terminal  # noqa: PLC0415 - only where one is reached

        terminal = Terminal(ours)
        with self._still():
            come = terminal.wait(self.waits)
        if come is None:
            terminal.close()
            refuse()
        elif come:
            RemotePdb(terminal, self._still).set_trace(frame)
        else:
            terminal.close()
            facts = {"node": self._name, "place": place, "seconds": self.waits}
            self._in_loop(self._parent.note, operations.event, "breakpoint_passed", facts)

    def _tell(self, fd: int, actor: str, place: str) -> None:
        with suppress(ActorsError, OSError):  # the parent has ended, and this node soon does
            self._parent.note_fds(ops.breakpoint_reached, (fd,), actor, place)
            self._parent.flush()

    def _in_loop(self, fn: Callable[..., object], *args: Any) -> None:
        if threading.get_ident() == self._thread:
            fn(*args)
        else:
            self._loop.call_threadsafe(fn, *args)

    def _still(self) -> AbstractContextManager[None]:
        """Return what has the parent expect no heartbeats, where this is the thread of the loop."""
        here = threading.get_ident() == self._thread
        return self._heartbeat.paused() if here else nullcontext()
