"""Where the code of nodes stands at a `breakpoint()`, until somebody comes by `actors debug`."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors._remoting import debug_operations as ops

if TYPE_CHECKING:
    from actors._system.system_state import SystemState
    from actors.nodes import Link, RemoteRun

__all__ = ["Breakpoint", "Breakpoints"]

_LONGEST = 512
"""Letters of what a node says about one."""


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """One that was reached.

    Attributes:
        sock: to the debugger; whoever has this closes it.
        actor: whose code it is, "" if no actor's.
        place: the file and line.
    """

    sock: socket.socket
    actor: str
    place: str

    @property
    def over(self) -> bool:
        """Whether the node does not wait there any more."""
        try:
            return not self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True


class Breakpoints:
    """Those of all nodes.

    Attributes:
        sockets: how many control sockets the system has: without one nobody can come.
    """

    def __init__(self, state: SystemState) -> None:
        self._state = state
        self._reached: dict[str, list[Breakpoint]] = {}
        self.sockets = 0
        state.host.handlers.on_fd_note(
            ops.breakpoint_reached, self._note, lost=lambda _link, _actor, _place: None
        )

    def _note(self, link: Link, fds: list[int], actor: str, place: str) -> None:
        found = Breakpoint(
            socket.socket(fileno=fds[0]), str(actor)[:_LONGEST], str(place)[:_LONGEST]
        )
        run = self._state.runs.get(link.peer)
        if run is None or not self.sockets:
            found.sock.close()
            return
        self._forget_over(link.peer)
        self._reached.setdefault(link.peer, []).append(found)
        node = run.node.name
        facts = {"node": node, "actor": found.actor, "place": found.place}
        self._state.event("breakpoint_reached", {**facts, "command": f"actors debug {node}"})

    def _forget_over(self, address: str) -> None:
        waiting = self._reached.pop(address, [])
        for one in waiting:
            if one.over:
                one.sock.close()
            else:
                self._reached.setdefault(address, []).append(one)

    def take(self, run: RemoteRun) -> Breakpoint | None:
        """Return the first one that a node waits at, and let its debugger know; None if there is none."""
        self._forget_over(run.address)
        waiting = self._reached.get(run.address, [])
        while waiting:
            found = waiting.pop(0)
            with suppress(OSError):  # its wait is over just now
                found.sock.send(b"\n")
                return found
            found.sock.close()
        return None

    def node_ended(self, address: str) -> None:
        """Forget those of a node that has ended."""
        for one in self._reached.pop(address, []):
            one.sock.close()

    def close(self) -> None:
        """Forget all: the system ends."""
        for address in list(self._reached):
            self.node_ended(address)
