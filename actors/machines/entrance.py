"""Where other programs connect to: TLS, then a hello with a ticket that this program gave out.

Rule: a stranger, who has not shown its ticket, gets 5 s and a hello of 4 KiB; there are 64 of them at most,
and nothing is decoded but the hello. Others wait in the kernel's queue; while somebody waits, a stranger who
has been quiet for too long makes room, and may come again.
"""

from __future__ import annotations

import errno
import secrets
import select
import socket
import ssl
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from actors._base.addresses import addresses_of
from actors._base.errors import InvalidSpec
from actors.machines.hello import JOIN, LARGEST, REFUSED, WELCOME, HelloReader
from actors.transport.channels.tls_session import LEASE, TlsSession, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop, Timer
    from actors.machines.join_secret import JoinSecret
    from actors.machines.material import Material

__all__ = ["Came", "Entrance"]

_SECONDS: Final = 5.0
_STRANGERS: Final = 64
_QUIET: Final = 0.05
"""Seconds without a byte after which a stranger makes room for the next one."""
_QUIET_LATER: Final = 1.0
"""The same for one who began a handshake as it should be: that took work, and a busy machine takes its time."""
_BACKLOG: Final = 1024
_REPORT_EVERY: Final = 1.0
"""Seconds between two reports of strangers that were turned away."""
_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

if TYPE_CHECKING:
    Came = Callable[[TlsSession, dict[str, Any]], object]
    """Is given the session of who came in, which it then owns, and the hello, without its ticket."""


class _Expected(NamedTuple):
    purpose: str
    came: Came
    once: bool
    answer: bytes


class _Stranger:
    """A connection whose ticket is not known yet."""

    def __init__(self, session: TlsSession, largest: int, now: float) -> None:
        self.session = session
        self.hello = HelloReader(largest)
        self.heard = now
        """When something of it was last read."""
        self.quiet = _QUIET
        """Seconds of silence after which it makes room."""
        self.writing = False
        self.timer: Timer | None = None


class Entrance:
    """Accepts connections on the event loop.

    Args:
        loop: the event loop.
        material: what we show; None is plain TCP, on the loopback addresses alone.
        host: the address to listen on.
        port: its port; 0 for any.
        largest: bytes that a hello may have.
        lease: seconds after which a connection ends whose other end does not answer.
        turned_away: called with how many strangers were turned away since the last call, and the address of
            the last one and why; once a second at most.

    Raises:
        InvalidSpec: plain TCP on an address that other machines reach; or it cannot listen there.

    Attributes:
        address: host and port on which it listens.
        refused: how many strangers were turned away, or went by themselves.
    """

    def __init__(
        self,
        loop: Loop,
        material: Material | None,
        host: str = "127.0.0.1",
        port: int = 0,
        largest: int = LARGEST,
        *,
        lease: float = LEASE,
        turned_away: Callable[[int, str, str], object] | None = None,
    ) -> None:
        self._loop = loop
        self._largest = largest
        self._lease = lease
        self._turned_away = turned_away
        self._context: ssl.SSLContext | None = (
            None if material is None else material.context(server=True)
        )
        self._certificate = b"" if material is None else material.der
        self._expected: dict[bytes, _Expected] = {}
        self._secret: JoinSecret | None = None
        self._joined: Came | None = None
        self._strangers: dict[int, _Stranger] = {}
        self.refused: int = 0
        self._unreported = 0
        self._last_refused = ("", "")
        self._report_timer: Timer | None = None
        self._pause: Timer | None = None
        self._closed = False
        self._socket = _listen(host, port, plain=material is None)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        loop.watch_readable(self._socket.fileno(), self._accept)

    # -- tickets -------------------------------------------------------------------------

    def expect(
        self, purpose: str, came: Came, *, once: bool = True, answer: bytes = WELCOME
    ) -> str:
        """Return a new ticket, by which one connection comes in.

        Args:
            purpose: what for; a hello whose `purpose` is another is refused.
            came: is called with the session and the hello.
            once: whether no second one comes in by it.
            answer: what is answered before; empty if *came* answers `WELCOME` itself, now or later.
        """
        ticket = f"{purpose}.{secrets.token_hex(16)}"
        self._expected[_digest(ticket)] = _Expected(purpose, came, once=once, answer=answer)
        return ticket

    def forget(self, ticket: str) -> None:
        """Let nobody in any more by that ticket, which may be used already."""
        self._expected.pop(_digest(ticket), None)

    def standing(self, secret: JoinSecret, came: Came, *, anonymous: bool) -> None:
        """Let in everybody who proves to have *secret*, for the purpose `join`; who is let in gets our proof.

        Args:
            secret: of the cluster.
            came: is called with the session and the hello.
            anonymous: whether they need no certificate, as the authority has given them none.
        """
        self._secret, self._joined = secret, came
        if anonymous and self._context is not None:
            self._context.verify_mode = ssl.CERT_OPTIONAL

    # -- strangers -----------------------------------------------------------------------

    def _accept(self) -> None:
        while len(self._strangers) < _STRANGERS or self._make_room():
            try:
                sock, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in _NO_DESCRIPTORS:
                    self._pause_for(_QUIET)
                return
            self._take(sock)

    def _take(self, sock: socket.socket) -> None:
        try:
            session = TlsSession(sock, self._context, server=True, lease=self._lease)
        except OSError:
            return  # it has gone already
        fd = session.fileno()
        stranger = _Stranger(session, self._largest, self._loop.now())
        self._strangers[fd] = stranger
        stranger.timer = self._loop.call_later(_SECONDS, self._drop, fd, "it took too long")
        self._loop.watch_readable(fd, lambda: self._step(fd))

    def _make_room(self) -> bool:
        """Turn away a stranger who has been quiet for too long, or pause; returns whether there is room."""
        now = self._loop.now()
        poll = select.poll()
        for fd in self._strangers:
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(0):
            self._strangers[fd].heard = now  # it was not quiet, it was not heard
        fd, quiet = min(self._strangers.items(), key=lambda item: item[1].heard + item[1].quiet)
        left = quiet.heard + quiet.quiet - now
        if left > 0:
            self._pause_for(min(left, _QUIET))
            return False
        self._drop(fd, "it was quiet, and others waited")
        return True

    def _pause_for(self, seconds: float) -> None:
        if self._pause is None:
            self._loop.unwatch_readable(self._socket.fileno())
            self._pause = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._pause = None
        if not self._closed:
            self._loop.watch_readable(self._socket.fileno(), self._accept)

    def _step(self, fd: int) -> None:
        """Go on with the handshake or the hello of a stranger."""
        stranger = self._strangers[fd]
        stranger.heard = self._loop.now()
        session = stranger.session
        try:
            session.push()
            hello = stranger.hello.read(session) if session.shake() else None
            if session.answered:
                stranger.quiet = _QUIET_LATER
            self._watch_writable(fd, stranger, wanted=session.owes)
            if hello is None:
                return
            came, answer = self._known(hello, session)
            if answer:
                session.send(answer)
        except OSError as error:
            self._drop(fd, str(error))
            return
        except ValueError as error:
            with suppress(OSError):
                session.send(REFUSED)
            self._drop(fd, str(error))
            return
        self._forget(fd, stranger)
        came(session, hello)

    def _watch_writable(self, fd: int, stranger: _Stranger, *, wanted: bool) -> None:
        if wanted != stranger.writing:
            stranger.writing = wanted
            if wanted:
                self._loop.watch_writable(fd, lambda: self._step(fd))
            else:
                self._loop.unwatch_writable(fd)

    def _known(self, hello: dict[str, Any], session: TlsSession) -> tuple[Came, bytes]:
        """Return who takes the session, and what the stranger is answered; a ticket is used up.

        Raises:
            ValueError: its ticket is not known, or for something else.
        """
        ticket = hello.pop("ticket", None)
        if hello.get("purpose") == JOIN:
            return self._joining(hello, ticket)
        if not (session.certificate or session.plain):
            raise ValueError("it has no certificate, and wants more than to join")
        digest = _digest(ticket) if type(ticket) is str else b""
        expected = self._expected.get(digest)
        if expected is None:
            raise ValueError("its ticket is unknown, or was used before")
        purpose = hello.get("purpose", expected.purpose)
        if purpose != expected.purpose:
            raise ValueError(f"its ticket is for {expected.purpose!r}, not for {purpose!r:.40}")
        if expected.once:
            del self._expected[digest]
        return expected.came, expected.answer

    def _joining(self, hello: dict[str, Any], proof: object) -> tuple[Came, bytes]:
        nonce = hello.pop("nonce", None)
        if self._secret is None or self._joined is None:
            raise ValueError("it wants to join, and nobody is let in by a secret here")
        if not self._secret.lets_in(proof, nonce, self._certificate):
            raise ValueError("it wants to join, and its secret is another one")
        return self._joined, WELCOME + self._secret.proof_of_parent(str(nonce), self._certificate)

    def _forget(self, fd: int, stranger: _Stranger) -> None:
        del self._strangers[fd]
        if stranger.timer is not None:
            stranger.timer.cancel()
        self._loop.unwatch_readable(fd)
        self._watch_writable(fd, stranger, wanted=False)

    def _drop(self, fd: int, why: str) -> None:
        stranger = self._strangers[fd]
        self._forget(fd, stranger)
        stranger.session.close()
        self.refused += 1
        self._unreported += 1
        self._last_refused = (stranger.session.peer, why)
        if self._report_timer is None:
            self._report()

    def _report(self) -> None:
        """Tell how many were turned away, and then no more for a second."""
        self._report_timer = None
        if self._unreported and self._turned_away is not None and not self._closed:
            count, self._unreported = self._unreported, 0
            self._report_timer = self._loop.call_later(_REPORT_EVERY, self._report)
            self._turned_away(count, *self._last_refused)

    def close(self) -> None:
        """Stop listening, and turn away every stranger; a second call does nothing."""
        if self._closed:
            return
        for fd in list(self._strangers):
            self._drop(fd, "the entrance was closed")
        self._closed = True
        for timer in (self._pause, self._report_timer):
            if timer is not None:
                timer.cancel()
        if self._pause is None:
            self._loop.unwatch_readable(self._socket.fileno())
        self._socket.close()
        self._expected.clear()


def _digest(ticket: str) -> bytes:
    """What a ticket is found by: how long the search takes says nothing of those that are good."""
    return sha256(ticket.encode("utf-8", "surrogatepass")).digest()


def _listen(host: str, port: int, *, plain: bool) -> socket.socket:
    try:
        family, kind, proto, _, address = addresses_of(
            host, port, socket.SOCK_STREAM, socket.AI_PASSIVE
        )[0]
        if plain and not is_loopback(str(address[0])):
            raise InvalidSpec(
                f"plain TCP is for 127.0.0.1 and ::1, not for {host}: other machines need TLS"
            )
        sock = socket.socket(family, kind, proto)
    except OSError as error:
        raise InvalidSpec(f"cannot listen on {host}:{port}: {error}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setblocking(False)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise InvalidSpec(f"cannot listen on {host}:{port}: {error}") from error
    return sock
