"""Answers clients of a listener that has had no ready node for a while, so that they do not wait for ever.

Rule 1: nothing that a client sends is looked at.
Rule 2: few clients at a time; the others wait in the kernel's backlog, for their turn or for a node.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from actors._base.loop import Loop, Timer
from actors.routing.balancer.acceptor import Acceptor
from actors.routing.balancer.records import Connection
from actors.routing.events import Available, Unavailable
from actors.routing.interfaces import Report
from actors.routing.listen.application import Asgi
from actors.routing.listen.listener import Listener

__all__ = ["UnavailableResponder"]

_MOST: Final = 100
_LINGER: Final = 1.0
"""Seconds that a client has to send its request, and again to take the answer."""
_BODY: Final = b"Service Unavailable"


class UnavailableResponder:
    """Takes the place of the nodes of one listener while there are none.

    An ASGI client is answered 503; other handlers and TLS have no answer that the parent could give
    without reading what the client sends, so their connections are closed.

    Args:
        spec: the listener.
        loop: the parent's event loop.
        report: takes the records of `actors.routing.events`.
        listening: returns the socket to accept from, None if there is none.
        accepted: returns a connection that was accepted before and waits for a node, if there is one.
    """

    def __init__(
        self,
        spec: Listener,
        loop: Loop,
        report: Report,
        *,
        listening: Callable[[], socket.socket | None],
        accepted: Callable[[], Connection | None] = lambda: None,
    ) -> None:
        self._spec = spec
        self._loop = loop
        self._report = report
        self._listening = listening
        self._accepted = accepted
        self._answers = isinstance(spec.handler, Asgi) and spec.tls is None
        self._timer: Timer | None = None
        self._acceptor: Acceptor | None = None
        self._open: dict[socket.socket, Timer] = {}
        self._count = 0
        self._closed = False

    def set_ready(self, ready: bool) -> None:  # noqa: FBT001 - the only argument
        """Set whether there is a ready node."""
        if ready:
            self._stop()
        elif self._timer is None and self._acceptor is None and not self._closed:
            after = self._spec.unavailable_after
            if after < math.inf:
                self._timer = self._loop.call_later(after, self._begin)

    def answer_waiting(self) -> None:
        """Answer the connections that wait for a node, as far as there is room."""
        while self._acceptor is not None and self._room() > 0:
            connection = self._accepted()
            if connection is None:
                break
            self._serve(connection.sock)
        self._update_accepting()

    def close(self) -> None:
        """Stop for good, and close what is open."""
        self._closed = True
        self._stop()
        for sock in list(self._open):
            self._end(sock)

    def _begin(self) -> None:
        self._timer = None
        listening = self._listening()
        if listening is None:
            return
        spec = self._spec
        self._count = 0
        self._report(Unavailable(spec.name, spec.nodes, spec.unavailable_after))
        self._acceptor = Acceptor(
            listening,
            self._loop,
            accepted=lambda sock, _client: self._serve(sock),
            room=self._room,
            report=self._report,
            listener=spec.name,
        )
        self.answer_waiting()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._acceptor is not None:
            self._acceptor.close()
            self._acceptor = None
            self._report(Available(self._spec.name, self._count))

    def _room(self) -> int:
        return _MOST - len(self._open)

    def _update_accepting(self) -> None:
        if self._acceptor is not None:
            self._acceptor.set_accepting(self._room() > 0)

    def _serve(self, sock: socket.socket) -> None:
        self._count += 1
        if not self._answers:
            sock.close()
            return
        self._open[sock] = self._loop.call_later(_LINGER, self._end, sock)
        self._loop.watch_readable(sock.fileno(), partial(self._answer, sock))
        self._update_accepting()

    def _answer(self, sock: socket.socket) -> None:
        """The client has sent something: answer, and let it take the answer before the end."""
        if not self._discard(sock):
            return
        with suppress(OSError):
            sock.send(self._response())
            sock.shutdown(socket.SHUT_WR)
        self._open[sock].cancel()
        self._open[sock] = self._loop.call_later(_LINGER, self._end, sock)
        self._loop.unwatch_readable(sock.fileno())
        self._loop.watch_readable(sock.fileno(), partial(self._discard, sock))

    def _discard(self, sock: socket.socket) -> bool:
        """Drop what the client has sent; return whether it is still there."""
        try:
            there = bool(sock.recv(65536))
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            there = False
        if not there:
            self._end(sock)
        return there

    def _end(self, sock: socket.socket) -> None:
        self._open.pop(sock).cancel()
        self._loop.unwatch_readable(sock.fileno())
        sock.close()
        self.answer_waiting()

    def _response(self) -> bytes:
        again = max(1, math.ceil(self._spec.unavailable_after))
        return (
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n"
            b"content-length: %d\r\nretry-after: %d\r\nconnection: close\r\n\r\n%b"
        ) % (len(_BODY), again, _BODY)
