"""Connects to an entrance: TCP, TLS, the hello with its ticket, and the entrance's answer.

An entrance that is crowded may turn away somebody before the hello, who then comes again.
"""

from __future__ import annotations

import errno
import os
import socket
from functools import lru_cache
from hmac import compare_digest
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final, NoReturn

from anyio import fail_after, getaddrinfo, sleep, wait_readable, wait_writable

from actors._base.addresses import no_host
from actors.machines.hello import JOIN, REFUSED, WELCOME, pack_hello, read_exactly
from actors.machines.material import stranger_context
from actors.machines.pauses import Pauses
from actors.transport.channels.tls_session import LEASE, TlsSession

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from ssl import SSLContext

    from actors.machines.join_secret import JoinSecret
    from actors.machines.material import Material

__all__ = ["WITHIN", "OtherSecret", "dial", "dial_to_join"]

WITHIN: Final = 10.0
"""Seconds for all of it."""

_PAUSE: Final = 0.05
"""Seconds until somebody who was turned away comes again for the first time."""
_LONGEST_PAUSE: Final = 1.0
_REFUSED: Final = "the ticket is unknown, used, or for something else"
_ANOTHER: Final = "it has another join secret, or none"
_NO_PARENT: Final = "it let us in without having the join secret: it is not the parent"
_CLOSED: Final = "it closed the connection"


class OtherSecret(ConnectionRefusedError):
    """The two ends have not the same join secret: to try again changes nothing."""


async def dial(
    address: tuple[str, int],
    material: Material | None,
    ticket: str,
    hello: Mapping[str, Any],
    *,
    within: float = WITHIN,
    lease: float = LEASE,
) -> TlsSession:
    """Connect to the entrance at *address*, and return the session when it has let us in.

    Args:
        address: host and port.
        material: what we show; None for plain TCP, on one machine.
        ticket: which the entrance gave out, or the secret of those who join.
        hello: what the other end is told: anything that JSON has, 4 KiB at most.
        within: seconds for all of it.
        lease: seconds after which a connection ends whose other end does not answer.

    Raises:
        ConnectionError: nobody let us in; it says where and why.
        ValueError: the hello is too large; or plain TCP with another machine.
    """
    # Made before there is a connection: a crowded entrance does not wait for who is slow.
    said = pack_hello(ticket, hello)
    context = None if material is None else _context(material)
    name = None if material is None else material.server or address[0]
    call = _Call(context, name, lambda _session: (said, b""), lease)
    return await _call(address, call, within)


async def dial_to_join(
    address: tuple[str, int],
    material: Material | None,
    secret: JoinSecret,
    hello: Mapping[str, Any],
    *,
    within: float = WITHIN,
) -> TlsSession:
    """As `dial`, by the secret of the cluster; the other end has proved that it has the secret, too.

    Args:
        address: host and port.
        material: what we show, of the users' own authority; None is nothing.
        secret: of the cluster.
        hello: what the other end is told, before it has proved anything.
        within: seconds for all of it.

    Raises:
        OtherSecret: the other end has another secret, or none; the error says which.
        ConnectionError: nobody let us in; it says where and why.
        ValueError: the hello is too large.
    """
    nonce = token_hex(16)

    def say(session: TlsSession) -> tuple[bytes, bytes]:
        shown = session.certificate
        proof = secret.proof_of_joiner(nonce, shown).hex()
        said = pack_hello(proof, {**hello, "purpose": JOIN, "nonce": nonce})
        return said, secret.proof_of_parent(nonce, shown)

    context = stranger_context() if material is None else _context(material)
    name = None if material is None else material.server or address[0]
    return await _call(address, _Call(context, name, say, LEASE), within)


@lru_cache(maxsize=4)
def _context(material: Material) -> SSLContext:
    """Return what a client shows, made once: who passes connections on dials for each of them."""
    return material.context(server=False)


async def _call(address: tuple[str, int], call: _Call, within: float) -> TlsSession:
    host, port = address
    try:
        with fail_after(within):
            found = await _addresses_of(host, port)
            pauses = Pauses(_PAUSE, _LONGEST_PAUSE)
            while True:
                try:
                    return await _first_of(found, call)
                except _TurnedAway as error:
                    call.turned_away = error
                await sleep(pauses.next())
    except OSError as error:
        raise call.failed(address, error, within) from error


async def _addresses_of(host: str, port: int) -> list[Any]:
    try:
        return await getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise no_host(host) from error


# ------------------------------------------------------------ the steps


class _TurnedAway(ConnectionResetError):
    """The entrance closed the connection before the hello: the ticket is still good."""


class _Call:
    """What is said, and to whom."""

    def __init__(
        self,
        context: SSLContext | None,
        name: str | None,
        say: Callable[[TlsSession], tuple[bytes, bytes]],
        lease: float,
    ) -> None:
        self.context = context
        self.name = name
        self.say = say
        """Returns what is said on a session, and what the other end has to prove, if anything."""
        self.lease = lease
        self.turned_away: OSError | None = None
        """Why the last try failed, of those after which another one follows."""

    def failed(self, address: tuple[str, int], error: OSError, within: float) -> ConnectionError:
        """Return the error for the caller."""
        if isinstance(error, TimeoutError) and self.turned_away is not None:
            why = f"{self.turned_away}, again and again for {within:g} s"
        elif isinstance(error, TimeoutError):
            why = f"no answer within {within:g} s"
        else:
            why = error.strerror or str(error)
        kind = OtherSecret if isinstance(error, OtherSecret) else ConnectionError
        return kind(f"{address[0]}:{address[1]} did not let us in: {why}")


async def _first_of(found: list[Any], call: _Call) -> TlsSession:
    """Connect to the first of the addresses *found* that takes it, and go on from there."""
    for at, (family, kind, proto, _, address) in enumerate(found, 1):
        sock = socket.socket(family, kind, proto)
        try:
            await _connect(sock, address)
        except OSError:
            sock.close()
            if at == len(found):
                raise
            continue
        except BaseException:
            sock.close()
            raise
        break
    return await _enter(sock, call)


async def _connect(sock: socket.socket, address: Any) -> None:
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code in {errno.EINPROGRESS, errno.EAGAIN, errno.EINTR}:
        await wait_writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


async def _enter(sock: socket.socket, call: _Call) -> TlsSession:
    """Shake hands, say hello, and wait for the answer."""
    session = TlsSession(sock, call.context, server=False, name=call.name, lease=call.lease)
    try:
        await _say(sock, session, call.say)
    except (ConnectionResetError, BrokenPipeError) as error:
        session.close()
        raise _TurnedAway(error.strerror or str(error)) from error
    except BaseException:
        session.close()
        raise
    return session


async def _say(
    sock: socket.socket, session: TlsSession, say: Callable[[TlsSession], tuple[bytes, bytes]]
) -> None:
    """Say hello, and take the answer."""
    await _until(sock, session, session.shake)
    await _until(sock, session, lambda: not session.owes)
    said, proof = say(session)
    session.send(said)
    answer = bytearray()
    await _until(sock, session, lambda: read_exactly(session, answer, len(WELCOME), _CLOSED))
    if answer != WELCOME:
        _refuse(bytes(answer), joins=bool(proof))
    shown = bytearray()
    await _until(sock, session, lambda: read_exactly(session, shown, len(proof), _CLOSED))
    if not compare_digest(shown, proof):
        raise OtherSecret(_NO_PARENT)


def _refuse(answer: bytes, *, joins: bool) -> NoReturn:
    if answer != REFUSED:
        raise ConnectionRefusedError(f"it answered {answer!r}, which is no answer of an entrance")
    if joins:
        raise OtherSecret(_ANOTHER)
    raise ConnectionRefusedError(_REFUSED)


async def _until(sock: socket.socket, session: TlsSession, done: Callable[[], bool]) -> None:
    """Wait until *done* returns true, and write meanwhile what the session owes."""
    while True:
        session.push()
        if done():
            return
        await (wait_writable if session.owes else wait_readable)(sock)
