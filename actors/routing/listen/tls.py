"""TLS of a listener: the certificate as data, checked at the door, and its life on a node.

Rule 1: the handshake happens on the node; the parent never holds a key in use.
Rule 2: files that change are read again when a client comes, at most once a second. A pair that
cannot be used leaves the one before in use, and is told once.
Rule 3: an error names the file that is to blame.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from actors.routing.errors import BadListener
from actors.routing.events import TlsReloaded, TlsReloadFailed
from actors.routing.interfaces import Report

__all__ = ["Certificate", "Tls", "checked_tls", "farewell", "secured"]

_EVERY: Final = 1.0
"""Seconds between two looks at the files."""
_FAREWELL: Final = 1.0
"""Seconds a client has to answer that the connection is over."""
_BROKEN: Final = (
    anyio.EndOfStream,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    OSError,
)

Version: TypeAlias = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, kw_only=True)
class Tls:
    """A certificate and its key, as files. Checked by `checked_tls`."""

    certfile: str
    """PEM: the certificate, then those between it and the root."""
    keyfile: str
    """PEM: the private key; the same file as `certfile` if it holds both."""
    password: str | None = field(default=None, repr=False)
    """Of an encrypted key."""
    handshake_timeout: float = 10.0
    """Seconds a client may take for the handshake."""

    @property
    def files(self) -> tuple[str, ...]:
        """The files, each once."""
        return tuple(dict.fromkeys((self.certfile, self.keyfile)))

    def context(self, protocols: tuple[str, ...] = ()) -> ssl.SSLContext:
        """Read the files.

        Args:
            protocols: what the server speaks inside, for clients that ask (ALPN).

        Raises:
            BadListener: a file cannot be read or used; it is named.
        """
        for name, path in (("certfile", self.certfile), ("keyfile", self.keyfile)):
            _check_readable(name, path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            # A function, even for no password: without one OpenSSL asks at the terminal.
            context.load_cert_chain(
                self.certfile, self.keyfile, password=lambda: self.password or ""
            )
        except (ssl.SSLError, ValueError) as error:
            raise BadListener(self._complaint(error)) from error
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def version(self) -> Version:
        """Return what tells whether the files are the same as before."""
        return tuple(_version(path) for path in self.files)

    def _complaint(self, error: Exception) -> str:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            return f"keyfile {self.keyfile!r} is not the key of certfile {self.certfile!r}"
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self.certfile)
        except ssl.SSLError:
            return f"certfile {self.certfile!r} holds no certificate in PEM form"
        hint = "is it encrypted, and the password right?" if self._encrypted() else ""
        return f"keyfile {self.keyfile!r} holds no usable private key in PEM form" + (
            f": {hint}" if hint else ""
        )

    def _encrypted(self) -> bool:
        return b"ENCRYPTED" in Path(self.keyfile).read_bytes()


def checked_tls(
    certfile: str | None,
    keyfile: str | None,
    password: str | None,
    handshake_timeout: float,
) -> Tls | None:
    """Make the TLS of a listener and try its files; None if there is to be none.

    Raises:
        BadListener: a file cannot be read or used, or there is a key without a certificate.
    """
    if certfile is None:
        if keyfile is not None or password is not None:
            raise BadListener(f"a keyfile needs a certfile beside it, got keyfile={keyfile!r} only")
        return None
    for name, given in (("certfile", certfile), ("keyfile", keyfile or certfile)):
        if not isinstance(given, str):
            raise BadListener(f"{name} must be the path of a file, got {given!r}")
    made = Tls(
        certfile=str(Path(certfile).absolute()),
        keyfile=str(Path(keyfile or certfile).absolute()),
        password=password,
        handshake_timeout=handshake_timeout,
    )
    made.context()
    return made


class Certificate:
    """The certificate of a listener on one node, as it is in its files.

    Args:
        tls: the files.
        protocols: what the server speaks inside, for clients that ask (ALPN).
        listener: the listener's name, for facts.
        report: takes facts.
        now: seconds that only grow.

    Raises:
        BadListener: a file cannot be read or used; it is named.
    """

    def __init__(
        self,
        tls: Tls,
        protocols: tuple[str, ...],
        *,
        listener: str,
        report: Report,
        now: Callable[[], float],
    ) -> None:
        self._tls = tls
        self._protocols = protocols
        self._listener = listener
        self._report = report
        self._now = now
        self._version = tls.version()
        self._context = tls.context(protocols)
        self._looked = now()
        self._doubted: Version | None = None

    def context(self) -> ssl.SSLContext:
        """Return what the next handshake uses; connections made before keep theirs."""
        now = self._now()
        if now - self._looked >= _EVERY:
            self._looked = now
            version = self._tls.version()
            if version != self._version:
                self._renew(version)
        return self._context

    def _renew(self, version: Version) -> None:
        try:
            self._context = self._tls.context(self._protocols)
        except BadListener as error:
            # Files are replaced one after the other: what does not fit may be half of a new pair.
            if self._doubted == version:
                self._version = version
                self._report(TlsReloadFailed(self._listener, self._tls.certfile, error))
            self._doubted = version
        else:
            self._version = version
            self._report(TlsReloaded(self._listener, self._tls.certfile))


async def secured(stream: ByteStream, context: ssl.SSLContext, seconds: float) -> TLSStream | None:
    """Do the handshake of a server; None if the client spoils it. Who opened *stream* closes it."""
    try:
        with anyio.fail_after(seconds):
            return await TLSStream.wrap(
                stream, server_side=True, ssl_context=context, standard_compatible=False
            )
    except _BROKEN:  # a TimeoutError is an OSError
        return None


async def farewell(stream: TLSStream) -> None:
    """Tell the client that all has been sent, so that it need not fear a cut."""
    try:
        with anyio.move_on_after(_FAREWELL):
            await stream.unwrap()
    except _BROKEN:
        return  # it has gone already


def _check_readable(name: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            return
    except OSError as error:
        raise BadListener(f"{name} {path!r} cannot be read: {error.strerror}") from error


def _version(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
