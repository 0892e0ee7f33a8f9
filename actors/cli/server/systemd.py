"""Tells systemd that the system is ready, reloads, stops and is alive, as `sd_notify(3)` describes.

Rule 1: nothing is sent unless systemd asked for it by NOTIFY_SOCKET, and no child inherits that it did.
Rule 2: sending never waits and never fails; the first message that could not be sent is one warning.
Rule 3: whatever may take longer than systemd's patience says so beforehand, for as long as it is bounded here.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Final

from actors._base.log import system_logger

if TYPE_CHECKING:
    from actors._base.events import Event
    from actors._system.coordinator import Coordinator
    from actors._system.topology import Topology

__all__ = ["ServiceManager"]

_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_SPARE: Final = 30.0
"""Seconds for what has no bound of its own: the parent's own imports, the children's starts and ends."""
_TYPE: Final = socket.SOCK_DGRAM | getattr(socket, "SOCK_NONBLOCK", 0)


class ServiceManager:
    """The end of systemd's notification socket in this process; it does nothing where there is none.

    Args:
        address: the path of a datagram socket; one in the abstract namespace begins with ``@``.
        watchdog: seconds after which systemd ends a service that has sent no WATCHDOG=1; None for never.
    """

    def __init__(self, address: str | None = None, watchdog: float | None = None) -> None:
        self._address = address
        self._watchdog = watchdog
        self._core: Coordinator | None = None
        self._warned = False

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> ServiceManager:
        """Return the one that *environ* names, and remove its variables from there."""
        address, microseconds, pid = (environ.pop(name, "") for name in _VARIABLES)
        if not address:
            return cls()
        for_us = not pid or pid == str(os.getpid())
        asked = for_us and microseconds.isascii() and microseconds.isdigit()
        return cls(address, int(microseconds) / 1e6 if asked and int(microseconds) else None)

    def starts(self, topology: Topology) -> None:
        """Say that the nodes of *topology* are started, and how long they may take."""
        if self._address is not None:
            count = sum(group.count for group in topology.nodes)
            self._send(f"STATUS=starting {count} nodes", _extended(_boot_timeout(topology)))

    def follow(self, core: Coordinator) -> None:
        """Say that the system of *core* is ready, and from now on when it reloads, stops and is alive."""
        if self._address is None:
            return
        self._core = core
        core.bus.subscribe(self)
        self._say_ready()
        if self._watchdog is not None:
            self._keep_alive()

    def __call__(self, event: Event) -> None:
        """Pass on what *event* means to systemd."""
        assert self._core is not None
        topology = self._core.topology
        each = _extended(_boot_timeout(topology) + _longest_end(topology))
        if event.kind == "reload_started":
            now = time.monotonic_ns() // 1000
            self._send("RELOADING=1", f"MONOTONIC_USEC={now}", "STATUS=reloading", each)
        elif event.kind == "node_replaced":
            self._send(each)
        elif event.kind in {"reload_done", "reload_failed"}:
            self._say_ready()
        elif event.kind == "system_stopping":
            self._send("STOPPING=1", "STATUS=stopping", _extended(4 * _longest_end(topology)))

    def _say_ready(self) -> None:
        assert self._core is not None
        nodes, listeners = len(self._core.nodes), len(self._core.listeners)
        self._send("READY=1", f"STATUS=ready: {nodes} nodes, {listeners} listeners")

    def _keep_alive(self) -> None:
        """Send WATCHDOG=1 twice in the time that systemd waits for one, while the loop turns."""
        assert self._core is not None
        assert self._watchdog is not None
        self._send("WATCHDOG=1")
        self._core.loop.call_later(self._watchdog / 2, self._keep_alive)

    def _send(self, *lines: str) -> None:
        assert self._address is not None
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, _TYPE) as sender:
                sender.sendto("\n".join(lines).encode(), address)
        except (OSError, ValueError) as error:
            if not self._warned:
                self._warned = True
                system_logger().warning(
                    "systemd not notified", socket=self._address, error=str(error), message=lines[0]
                )


def _boot_timeout(topology: Topology) -> float:
    """Return the seconds that any node may take to get ready."""
    return max((group.boot_timeout for group in topology.nodes), default=0.0)


def _longest_end(topology: Topology) -> float:
    """Return the seconds that any node may take to end."""
    return max((group.shutdown for group in topology.nodes), default=0.0)


def _extended(seconds: float) -> str:
    """Return what has systemd wait so long, and a bit, if its own time is over by then."""
    return f"EXTEND_TIMEOUT_USEC={int((seconds + _SPARE) * 1e6)}"
