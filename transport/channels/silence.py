"""How long the machine at the other end of a TCP connection has acknowledged nothing of what it was sent.

A peer that leaves bytes unread is not silent: its kernel answers whoever asks for room. The kernel's own
TCP_USER_TIMEOUT ends the connection to such a one, too, and with it what has not been read.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import Final

__all__ = ["Silence", "silent_since"]

_INFO: Final = struct.Struct("=3xB4x16xI28xI")
"""Of `struct tcp_info`: probes and segments that were not answered, milliseconds since the last answer."""


class Silence:
    """Measures it each time that it is asked.

    Args:
        sock: the connection.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._since: float | None = None

    def seconds(self) -> float:
        """Return for how long the peer's machine has not answered; 0 if it has nothing to answer.

        It may be less by the time between two questions, and is never more.
        """
        if not hasattr(socket, "TCP_INFO"):
            return 0.0
        info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
        if len(info) < _INFO.size:
            return 0.0
        probes, segments, heard_ago = _INFO.unpack(info)
        now = time.monotonic()
        owes = bool(probes or segments)
        self._since = silent_since(self._since, now, now - heard_ago / 1000, owes=owes)
        return 0.0 if self._since is None else now - self._since


def silent_since(before: float | None, now: float, heard: float, *, owes: bool) -> float | None:
    """Return since when a machine owes an answer, None if it owes none.

    Args:
        before: what this has returned the last time.
        now: the time.
        heard: when it last answered.
        owes: whether it has something to answer now.
    """
    if not owes:
        return None
    return max(now if before is None else before, heard)
