"""Connects to an entrance: TCP, TLS, the hello with its ticket, and the entrance's answer.

One generator has the steps. It yields what it waits for, and is driven by a task or by a thread.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from anyio import fail_after, getaddrinfo, wait_readable, wait_writable

from actors.machines.hello import WELCOME, pack_hello, read_exactly
from actors.transport.channels.tls_session import LEASE, TlsSession

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from ssl import SSLContext

    from actors.machines.material import Material

__all__ = ["WITHIN", "dial", "dial_waiting"]

WITHIN: Final = 10.0
"""Seconds for all of it."""

_CLOSED: Final = "it closed the connection: the ticket is unknown, used, or for something else"


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
    host, port = address
    said = pack_hello(ticket, hello)
    try:
        with fail_after(within):
            found = await getaddrinfo(host, port, type=socket.SOCK_STREAM)
            steps = _first_of(found, host, material, said, lease)
            try:
                return await _drive(steps)
            finally:
                steps.close()
    except OSError as error:
        raise _failed(address, error, within) from error


async def _drive(steps: Generator[tuple[socket.socket, bool], None, TlsSession]) -> TlsSession:
    while True:
        try:
            sock, writable = next(steps)
        except StopIteration as end:
            session: TlsSession = end.value
            return session
        await (wait_writable if writable else wait_readable)(sock)


def dial_waiting(
    address: tuple[str, int],
    material: Material | None,
    ticket: str,
    hello: Mapping[str, Any],
    *,
    within: float = WITHIN,
    lease: float = LEASE,
) -> TlsSession:
    """As `dial`, for a thread of one's own: it blocks."""
    host, port = address
    until = time.monotonic() + within
    said = pack_hello(ticket, hello)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        steps = _first_of(found, host, material, said, lease)
        try:
            return _drive_waiting(steps, until)
        finally:
            steps.close()
    except OSError as error:
        raise _failed(address, error, within) from error


def _drive_waiting(
    steps: Generator[tuple[socket.socket, bool], None, TlsSession], until: float
) -> TlsSession:
    while True:
        try:
            sock, writable = next(steps)
        except StopIteration as end:
            session: TlsSession = end.value
            return session
        poll = select.poll()
        poll.register(sock, select.POLLOUT if writable else select.POLLIN)
        left = until - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise TimeoutError


def _failed(address: tuple[str, int], error: OSError, within: float) -> ConnectionError:
    why = (
        f"no answer within {within:g} s"
        if isinstance(error, TimeoutError)
        else error.strerror or str(error)
    )
    return ConnectionError(f"{address[0]}:{address[1]} did not let us in: {why}")


# ------------------------------------------------------------ the steps


def _first_of(
    found: list[Any], host: str, material: Material | None, said: bytes, lease: float
) -> Generator[tuple[socket.socket, bool], None, TlsSession]:
    """Connect to the first of the addresses *found* that takes it, and go on from there."""
    for at, (family, kind, proto, _, address) in enumerate(found, 1):
        sock = socket.socket(family, kind, proto)
        try:
            yield from _connect(sock, address)
        except OSError:
            sock.close()
            if at == len(found):
                raise
            continue
        except BaseException:
            sock.close()
            raise
        break
    return (yield from _enter(sock, host, material, said, lease))


def _connect(
    sock: socket.socket, address: Any
) -> Generator[tuple[socket.socket, bool], None, None]:
    sock.setblocking(False)
    code = sock.connect_ex(address)
    if code in {errno.EINPROGRESS, errno.EAGAIN, errno.EINTR}:
        yield sock, True
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _enter(
    sock: socket.socket, host: str, material: Material | None, said: bytes, lease: float
) -> Generator[tuple[socket.socket, bool], None, TlsSession]:
    """Shake hands, say hello, and wait for the answer."""
    context: SSLContext | None = None
    try:
        context = None if material is None else material.context(server=False)
    except BaseException:
        sock.close()
        raise
    name = None if material is None else material.server or host
    session = TlsSession(sock, context, server=False, name=name, lease=lease)
    try:
        yield from _until(sock, session, session.shake)
        yield from _until(sock, session, lambda: not session.owes)
        session.send(said)
        answer = bytearray()
        yield from _until(
            sock, session, lambda: read_exactly(session, answer, len(WELCOME), _CLOSED)
        )
        _check(answer)
    except BaseException:
        session.close()
        raise
    return session


def _check(answer: bytearray) -> None:
    if answer != WELCOME:
        raise ConnectionRefusedError(f"it answered {bytes(answer)!r}")


def _until(
    sock: socket.socket, session: TlsSession, done: Callable[[], bool]
) -> Generator[tuple[socket.socket, bool], None, None]:
    """Wait until *done* returns true, and write meanwhile what the session owes."""
    while True:
        session.push()
        if done():
            return
        yield sock, session.owes
