"""What one program shows to others, and knows them by: a certificate, its key, and the authority of all.

Rule: the key is never in a file of ours, in a log or in a `repr`.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actors._base.errors import InvalidSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Material"]


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
    ) -> Material:
        """Read a user's own authority, certificate and key, each a PEM file.

        Raises:
            InvalidSpec: a file cannot be read, or they do not fit each other; it says which.
        """
        texts = {}
        for name, path in {"ca": ca, "certificate": certificate, "key": key}.items():
            try:
                texts[name] = Path(path).read_text("ascii")
            except (OSError, ValueError) as error:
                raise InvalidSpec(
                    f"tls: {name}={os.fspath(path)!r} cannot be read: {error}"
                ) from error
        material = cls(**texts)
        material.context(server=True)
        return material

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
        with _file_of(f"{self.certificate}\n{self.key}\n") as path:
            try:
                context.load_cert_chain(path, password=_no_passphrase)
            except (ssl.SSLError, ValueError) as error:
                raise InvalidSpec(
                    f"tls: certificate and key are not a pair in PEM without a passphrase: {error}"
                ) from error
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
