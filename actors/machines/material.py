"""What one program shows to others, and knows them by: a certificate, its key, and the authority of all.

Rule: the key is never in a file of ours, in a log or in a `repr`.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.errors import InvalidSpec
from actors._base.regular_file import open_regular
from actors.machines.private_file import read_private

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Issuer", "Material", "stranger_context"]

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"
_LARGEST: Final = 1 << 20
"""Bytes of a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A certificate, its key, and the authority that every peer's certificate must be of; PEM texts.

    Attributes:
        ca: the certificates of the authority.
        certificate: our own, and those between it and the authority's.
        key: its private key, without a passphrase.
        server: the name that a server's certificate must be for; None is the host that was dialled.
    """

    ca: str
    certificate: str
    key: str = field(repr=False)
    server: str | None = None

    @classmethod
    def from_files(
        cls,
        ca: str | os.PathLike[str],
        certificate: str | os.PathLike[str],
        key: str | os.PathLike[str],
        *,
        server: str | None = None,
    ) -> Material:
        """Read a user's own authority, certificate and key, each a PEM file.

        Args:
            ca: the certificates of the authority.
            certificate: our own, and those between it and the authority's.
            key: its private key, which others cannot read.
            server: as the attribute.

        Raises:
            InvalidSpec: a file cannot be read, or they do not fit each other; it says which.
        """
        material = cls(
            ca=_certificates("ca", ca),
            certificate=_certificates("certificate", certificate),
            key=read_private(key, "tls: key").decode("ascii", "ignore"),
            server=server,
        )
        _check_key(material, key, certificate)
        try:
            _shake_hands(material.context(server=True), material.context(server=False))
        except ssl.SSLError as error:
            why = getattr(error, "verify_message", "") or error.reason or str(error)
            raise InvalidSpec(
                f"tls: certificate={os.fspath(certificate)!r} is not good for both ends of a connection, "
                f"by ca={os.fspath(ca)!r}: {why}"
            ) from error
        return material

    @property
    def der(self) -> bytes:
        """The own certificate, as it is shown to peers."""
        first = self.certificate.partition(_END)[0]
        return ssl.PEM_cert_to_DER_cert(first[first.index(_BEGIN) :] + _END)

    def to_plain(self) -> dict[str, str | None]:
        """Return it as a dictionary that JSON takes, for `from_plain`; it holds the key."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Material:
        """Return what `to_plain` made a dictionary of."""
        return cls(**plain)

    def context(self, *, server: bool) -> ssl.SSLContext:
        """Return a context for TLS 1.3 in which both ends show a certificate of the authority.

        Raises:
            InvalidSpec: a text is not what it is to be, or the key is another certificate's.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        if server:
            context.num_tickets = 0  # no session is resumed: each one shows its certificate
        try:
            context.load_verify_locations(cadata=self.ca)
        except (ssl.SSLError, ValueError) as error:
            raise InvalidSpec(f"tls: ca is no certificate in PEM: {error}") from error
        try:
            self.load_into(context)
        except (ssl.SSLError, ValueError) as error:
            raise InvalidSpec(
                f"tls: certificate and key are not a pair in PEM without a passphrase: {error}"
            ) from error
        return context

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have *context* show the certificate.

        Raises:
            ssl.SSLError: certificate and key are not a pair in PEM, or the key has a passphrase.
        """
        with _file_of(f"{self.certificate}\n{self.key}\n") as path:
            context.load_cert_chain(path, password=_no_passphrase)


class Issuer(Protocol):
    """Who gives the processes of a system what they show to each other.

    Attributes:
        issues: whether each gets a certificate of its own; otherwise machines bring theirs.
    """

    @property
    def issues(self) -> bool: ...
    def issue(self, name: str, /) -> Material: ...


def _certificates(name: str, path: str | os.PathLike[str]) -> str:
    where = f"tls: {name}={os.fspath(path)!r}"
    try:
        with open_regular(path) as file:
            data = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidSpec(f"{where} cannot be read: {reason}") from error
    if len(data) > _LARGEST:
        raise InvalidSpec(f"{where} has more than {_LARGEST} bytes")
    text = data.decode(
        "ascii", "ignore"
    )  # what it ignores is a comment, or the file is none in PEM
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
        text.index(_BEGIN)
    except (ssl.SSLError, ValueError) as error:
        raise InvalidSpec(f"{where} holds no certificate in PEM form") from error
    return text


def _check_key(
    material: Material, key: str | os.PathLike[str], certificate: str | os.PathLike[str]
) -> None:
    """Refuse a key that cannot be used; a file of certificates has been checked before."""
    where = f"tls: key={os.fspath(key)!r}"
    if "ENCRYPTED" in material.key:
        raise InvalidSpec(f"{where} is encrypted: the key must be without a passphrase")
    try:
        material.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    except (ssl.SSLError, ValueError) as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            why = f"is not the key of certificate={os.fspath(certificate)!r}"
        else:
            why = "holds no usable private key in PEM form"
        raise InvalidSpec(f"{where} {why}") from error


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """Have one end talk to the other, as it will when there is a network between them.

    Raises:
        ssl.SSLError: the one does not take the certificate of the other.
    """
    client.check_hostname = False
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        for end in list(ends):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
                ends.remove(end)


def stranger_context() -> ssl.SSLContext:
    """Return a context for TLS 1.3 in which a client has no certificate, and takes any of the server.

    It proves nothing of either: see `JoinSecret`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _no_passphrase() -> str:
    """Give none: asking for one on the terminal would wait for ever."""
    return ""


@contextmanager
def _file_of(text: str) -> Iterator[str]:
    """The path of a file with that text, in memory where there is such a thing: OpenSSL takes only files."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("material", os.MFD_CLOEXEC)
        try:
            os.write(fd, text.encode("ascii"))
            yield f"/proc/self/fd/{fd}"
        finally:
            os.close(fd)
        return
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(text)
        file.flush()
        yield file.name
