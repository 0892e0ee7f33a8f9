"""Accepting: in batches, only while there is room, and never in a busy loop.

Rule 1: nothing here knows nodes or policies.
Rule 2: when the system runs out of descriptors or memory, accepting pauses, which is reported once and
not at every retry; the clients wait in the kernel's backlog meanwhile.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any, Final

from actors._base.loop import Loop, Timer
from actors.routing.events import AcceptPaused, AcceptResumed
from actors.routing.interfaces import Report
from actors.routing.listen.accepted_socket import accept
from actors.routing.listen.fd_limit import nearly_full, scarce

__all__ = ["Acceptor"]

_BATCH: Final = 64
_PAUSE: Final = 0.5
_RECOVERED_AFTER: Final = 5.0
"""Seconds of accepting without another pause after which `AcceptResumed` is reported."""
# Errors of one client's connection; accept(2) advises to accept the next one after them.
_CLIENT_GONE: Final = frozenset(
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
        accepted: called with each connection and the address of its client.
        room: returns how many more connections may be accepted, each time that there are any.
        report: takes the records of `actors.routing.events`.
        listener: the listener's name, for reports.
        tried: called when as many have been accepted, or there are no more.
        paused: called when accepting pauses and when the pause is over.
        watch: called with whether to watch the socket, instead of the loop; then `readable` is to be called.
    """

    def __init__(
        self,
        listening: socket.socket,
        loop: Loop,
        *,
        accepted: Callable[[socket.socket, Any], None],
        room: Callable[[], int],
        report: Report,
        listener: str,
        tried: Callable[[], object] = lambda: None,
        paused: Callable[[], object] = lambda: None,
        watch: Callable[[bool], object] | None = None,
    ) -> None:
        self._listening = listening
        self._loop = loop
        self._accepted = accepted
        self._room = room
        self._report = report
        self._listener = listener
        self._tried = tried
        self._on_pause = paused
        self._watch = watch
        self._fd = listening.fileno()
        self._wanted = False
        self._pause: Timer | None = None
        self._recovery: Timer | None = None
        self._pause_reported = False
        self.accepting: bool = False
        """Whether the listening socket is being watched."""
        self.total: int = 0

    @property
    def paused(self) -> bool:
        """Whether it waits until there are descriptors and memory again."""
        return self._pause is not None

    def set_accepting(self, wanted: bool) -> None:  # noqa: FBT001 - the only argument
        """Start to accept, or stop."""
        self._wanted = wanted
        self._update_watch()

    def accept_all(self) -> None:
        """Accept every client in the backlog, room or not: the socket is about to be closed."""
        while self._accept():
            pass

    def close(self) -> None:
        """Stop for good."""
        self.set_accepting(False)
        for timer in (self._pause, self._recovery):
            if timer is not None:
                timer.cancel()
        self._pause = self._recovery = None

    def accept_rest(self, most: int) -> None:
        """Accept the clients that wait, whatever room there is: the socket is about to be closed."""
        for _ in range(most):
            if not self._accept():
                break

    def _update_watch(self) -> None:
        watch = self._wanted and self._pause is None
        if watch == self.accepting:
            return
        self.accepting = watch
        if self._watch is not None:
            self._watch(watch)
        elif watch:
            self._loop.watch_readable(self._fd, self.readable)
        else:
            self._loop.unwatch_readable(self._fd)

    def readable(self) -> None:
        """Accept: clients wait."""
        room = min(_BATCH, self._room())
        for _ in range(room):
            if not self.accepting or not self._accept():
                break
        if room > 0:
            self._tried()

    def _accept(self) -> bool:
        """Accept one client; return whether to accept another."""
        try:
            sock, client = accept(self._listening)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            if error.errno not in _CLIENT_GONE:
                self._pause_accepting(error.errno or 0)
            return error.errno in _CLIENT_GONE
        last = nearly_full(sock.fileno())
        if self._pause_reported and not last and self._recovery is None:
            self._recovery = self._loop.call_later(_RECOVERED_AFTER, self._recovered)
        sock.setblocking(False)
        self.total += 1
        self._accepted(sock, client)
        if last:
            # Pause before the last descriptor is used: a message from a node may need one.
            self._pause_accepting(errno.EMFILE)
        return not last

    def _recovered(self) -> None:
        self._recovery = None
        self._pause_reported = False
        self._report(AcceptResumed(self._listener))

    def _pause_accepting(self, code: int) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
            self._recovery = None
        if self._pause is None:
            self._pause = self._loop.call_later(_PAUSE, self._end_pause)
        self._update_watch()
        self._on_pause()
        if not self._pause_reported:
            self._pause_reported = True
            self._report(AcceptPaused(self._listener, code, _PAUSE))

    def _end_pause(self) -> None:
        """Accept again, unless descriptors are still short."""
        self._pause = None
        if self._pause_reported and scarce():
            self._pause = self._loop.call_later(_PAUSE, self._end_pause)
        self._update_watch()
        self._on_pause()
