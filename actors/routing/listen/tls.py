"""TLS of a listener: the certificate files, checked when described and reloaded on the nodes.

Rule 1: the handshake happens on the node; the parent reads the key only to check it.
Rule 2: changed files are read again when a client connects, at most once a second. If the new pair
cannot be used, the old one stays in use, and that is reported once.
Rule 3: an error names the file that is wrong.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import anyio
from anyio.abc import ByteStream
from anyio.streams.tls import TLSStream

from actors._base.options import absolute_path
from actors._base.regular_file import open_regular
from actors.routing.errors import BadListener
from actors.routing.events import TlsReloaded, TlsReloadFailed
from actors.routing.interfaces import Report

__all__ = ["Certificate", "ClientCerts", "Tls", "checked_tls", "close_tls", "start_tls"]

_CHECK_EVERY: Final = 1.0
"""Seconds between two checks of the files."""
_CLOSE_TIMEOUT: Final = 1.0
"""Seconds a client has to answer the close of its TLS connection."""
_CLIENT_GONE: Final = (
    anyio.EndOfStream,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    OSError,
)

ClientCerts: TypeAlias = Literal["required", "optional"]
Version: TypeAlias = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, kw_only=True)
class Tls:
    """A certificate and its key, as files. Checked by `checked_tls`."""

    certfile: str
    """PEM: the certificate, then the intermediate ones."""
    keyfile: str
    """PEM: the private key; the same file as `certfile` if it holds both."""
    password: str | None = field(default=None, repr=False)
    """The password of an encrypted key."""
    handshake_timeout: float = 10.0
    """Seconds a client may take for the handshake."""
    client_ca: str | None = None
    """PEM: the authorities whose certificates clients show."""
    client_certs: ClientCerts = "required"
    ciphers: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The files, each once."""
        files = (self.certfile, self.keyfile, self.client_ca)
        return tuple(dict.fromkeys(path for path in files if path is not None))

    def context(self, protocols: tuple[str, ...] = ()) -> ssl.SSLContext:
        """Read the files.

        Args:
            protocols: protocols offered by ALPN.

        Raises:
            BadListener: a file cannot be read or used; it is named.
        """
        for name, path in (("certfile", self.certfile), ("keyfile", self.keyfile)):
            _check_readable(name, path)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # Where Python is built with the system's defaults (as Debian's is), these may be older.
        context.minimum_version = max(context.minimum_version, ssl.TLSVersion.TLSv1_2)
        try:
            # A function, even for no password: without a function OpenSSL asks at the terminal.
            context.load_cert_chain(
                self.certfile, self.keyfile, password=lambda: self.password or ""
            )
        except (ssl.SSLError, ValueError) as error:
            raise BadListener(self._reason(error)) from error
        self._set_options(context)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def _set_options(self, context: ssl.SSLContext) -> None:
        if self.client_ca is not None:
            _check_readable("client_ca", self.client_ca)
            try:
                context.load_verify_locations(self.client_ca)
            except ssl.SSLError as error:
                why = f"client_ca {self.client_ca!r} holds no certificate in PEM form"
                raise BadListener(why) from error
            required = self.client_certs == "required"
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        if self.ciphers is not None:
            try:
                context.set_ciphers(self.ciphers)
            except ssl.SSLError as error:
                raise BadListener(f"ciphers: OpenSSL knows none of {self.ciphers!r}") from error

    def version(self) -> Version:
        """Return a value that changes when the files change."""
        return tuple(_version(path) for path in self.files)

    def _reason(self, error: Exception) -> str:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            return f"keyfile {self.keyfile!r} is not the key of certfile {self.certfile!r}"
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self.certfile)
        except ssl.SSLError:
            return f"certfile {self.certfile!r} holds no certificate in PEM form"
        encrypted = b"ENCRYPTED" in Path(self.keyfile).read_bytes()
        hint = ": is it encrypted, and the password right?" if encrypted else ""
        return f"keyfile {self.keyfile!r} holds no usable private key in PEM form{hint}"


def checked_tls(
    certfile: str | None,
    keyfile: str | None,
    password: str | None,
    handshake_timeout: float,
    *,
    client_ca: str | None = None,
    client_certs: ClientCerts = "required",
    ciphers: str | None = None,
) -> Tls | None:
    """Make the TLS options of a listener and check its files; None without a certificate.

    Raises:
        BadListener: a file cannot be read or used, or there is a key without a certificate.
    """
    if certfile is None:
        if keyfile is not None or password is not None:
            raise BadListener(f"a keyfile needs a certfile as well, got keyfile={keyfile!r} only")
        if client_ca is not None or ciphers is not None:
            raise BadListener("client_ca and ciphers need a certfile: they are options of TLS")
        return None
    for name, given in (("certfile", certfile), ("keyfile", keyfile or certfile)):
        if not isinstance(given, str):
            raise BadListener(f"{name} must be the path of a file, got {given!r}")
    _check_types(client_ca, password, ciphers)
    if client_certs not in get_args(ClientCerts):
        raise BadListener(f"client_certs must be required or optional, got {client_certs!r}")
    made = Tls(
        certfile=absolute_path(certfile),
        keyfile=absolute_path(keyfile or certfile),
        password=password,
        handshake_timeout=handshake_timeout,
        client_ca=None if client_ca is None else absolute_path(client_ca),
        client_certs=client_certs,
        ciphers=ciphers,
    )
    made.context()
    return made


def _check_types(client_ca: object, password: object, ciphers: object) -> None:
    if not isinstance(client_ca, str | PathLike | None):
        raise BadListener(f"client_ca must be the path of a file, got {client_ca!r}")
    if not isinstance(ciphers, str | None):
        raise BadListener(f"ciphers must be a text, got {ciphers!r}")
    if not isinstance(password, str | None):  # which is not shown
        raise BadListener(f"keyfile_password must be a text, got {type(password).__name__}")


class Certificate:
    """The certificate of a listener on one node, reloaded when its files change.

    Args:
        tls: the files.
        protocols: protocols offered by ALPN.
        listener: the listener's name, for reports.
        report: takes the records of `actors.routing.events`.
        now: a monotonic clock, in seconds.

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
        self.handshake_timeout: float = tls.handshake_timeout
        self._protocols = protocols
        self._listener = listener
        self._report = report
        self._now = now
        self._version = tls.version()
        self._context = tls.context(protocols)
        self._checked = now()
        self._unusable: Version | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context for the next handshake; open connections keep theirs."""
        now = self._now()
        if now - self._checked >= _CHECK_EVERY:
            self._checked = now
            version = self._tls.version()
            if version != self._version:
                self._reload(version)
        return self._context

    def _reload(self, version: Version) -> None:
        try:
            self._context = self._tls.context(self._protocols)
        except BadListener as error:
            # Files are replaced one after the other, so a pair that does not match may be half replaced:
            # it is reported only if it is still there at the next check.
            if self._unusable == version:
                self._version = version
                self._report(TlsReloadFailed(self._listener, self._tls.certfile, error))
            self._unusable = version
        else:
            self._version = version
            self._report(TlsReloaded(self._listener, self._tls.certfile))


async def start_tls(stream: ByteStream, certificate: Certificate) -> TLSStream | None:
    """Do the handshake; None if the client fails it. The caller still owns *stream*."""
    context = certificate.context()
    try:
        with anyio.fail_after(certificate.handshake_timeout):
            return await TLSStream.wrap(
                stream, server_side=True, ssl_context=context, standard_compatible=False
            )
    except _CLIENT_GONE:  # a TimeoutError is an OSError
        return None


async def close_tls(stream: TLSStream) -> None:
    """Send the TLS close, so that the client knows that nothing was truncated."""
    try:
        with anyio.move_on_after(_CLOSE_TIMEOUT):
            await stream.unwrap()
    except _CLIENT_GONE:
        return


def _check_readable(name: str, path: str) -> None:
    try:
        open_regular(path).close()
    except (OSError, ValueError) as error:  # ValueError: no file can be called that
        reason = getattr(error, "strerror", None) or error
        raise BadListener(f"{name} {path!r} cannot be read: {reason}") from error


def _version(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
