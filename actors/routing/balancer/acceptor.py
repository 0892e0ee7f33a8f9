"""Accepting: in batches, only while there is room, and never in a spin.

Rule 1: nothing is known here of nodes or policies.
Rule 2: what the system runs out of (descriptors, memory) pauses accepting and is reported once,
not at every try; the kernel's backlog holds the clients meanwhile.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Final

from actors.routing.balancer.records import Connection
from actors.routing.events import AcceptPaused, AcceptResumed
from actors.routing.interfaces import Report, RouterLoop, RouterTimer
from actors.routing.listen.fd_limit import nearly_full, scarce

__all__ = ["Acceptor"]

_BATCH: Final = 64
_PAUSE: Final = 0.5
_CALM: Final = 5.0
"""Seconds without another pause after which it is told that there is room again."""
# The client of that one connection is to blame: accept(2) says to go on with the next.
_GONE: Final = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EPERM,
    }
)


class Acceptor:
    """Accepts from one listening socket.

    Args:
        listening: the socket, non-blocking; its owner closes it.
        loop: the event loop.
        accepted: takes each connection.
        room: how many more connections are welcome.
        report: takes facts.
        listener: the listener's name, for facts.
    """

    def __init__(
        self,
        listening: socket.socket,
        loop: RouterLoop,
        *,
        accepted: Callable[[Connection], None],
        room: Callable[[], int],
        report: Report,
        listener: str,
    ) -> None:
        self._listening = listening
        self._loop = loop
        self._accepted = accepted
        self._room = room
        self._report = report
        self._listener = listener
        self._fd = listening.fileno()
        self._watching = False
        self._wanted = False
        self._pause: RouterTimer | None = None
        self._calm: RouterTimer | None = None
        self._told = False
        self.total = 0

    @property
    def accepting(self) -> bool:
        """Whether the listening socket is being watched."""
        return self._watching

    def want(self, wanted: bool) -> None:  # noqa: FBT001 - the one thing to say
        """Accept from now on, or no more."""
        self._wanted = wanted
        self._obey()

    def drain(self) -> None:
        """Accept whatever has come so far, room or not: nobody will get it otherwise."""
        while self._accept():
            pass

    def close(self) -> None:
        """Stop for good."""
        self.want(False)
        for timer in (self._pause, self._calm):
            if timer is not None:
                timer.cancel()
        self._pause = self._calm = None

    def _obey(self) -> None:
        watch = self._wanted and self._pause is None
        if watch == self._watching:
            return
        self._watching = watch
        if watch:
            self._loop.watch_readable(self._fd, self._readable)
        else:
            self._loop.unwatch_readable(self._fd)

    def _readable(self) -> None:
        for _ in range(min(_BATCH, self._room())):
            if not self._watching or not self._accept():
                return

    def _accept(self) -> bool:
        """Accept one; return whether to go on."""
        try:
            sock, client = self._listening.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno not in _GONE:
                self._rest(error.errno or 0)
            return error.errno in _GONE
        last = nearly_full(sock.fileno())
        if self._told and not last and self._calm is None:
            self._calm = self._loop.call_later(_CALM, self._resumed)
        sock.setblocking(False)
        self.total += 1
        self._accepted(Connection(sock, client))
        if last:
            # Before the last is gone: without one left, not even a node's message can be taken.
            self._rest(errno.EMFILE)
        return not last

    def _resumed(self) -> None:
        self._calm = None
        self._told = False
        self._report(AcceptResumed(self._listener))

    def _rest(self, code: int) -> None:
        if self._calm is not None:
            self._calm.cancel()
            self._calm = None
        if self._pause is None:
            self._pause = self._loop.call_later(_PAUSE, self._again)
        self._obey()
        if not self._told:
            self._told = True
            self._report(AcceptPaused(self._listener, code, _PAUSE))

    def _again(self) -> None:
        self._pause = None
        if self._told and scarce():
            self._pause = self._loop.call_later(_PAUSE, self._again)
        self._obey()
