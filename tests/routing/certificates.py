"""Certificates that tests serve with, and clients that trust them."""

import functools
import os
import ssl
from pathlib import Path
from typing import TypedDict

import trustme

NAME = "chat.example"


@functools.cache
def authority() -> trustme.CA:
    """Return the authority that signs all of them; making one is slow."""
    return trustme.CA()


class Files(TypedDict):
    """The arguments `certfile` and `keyfile` of `listen`."""

    certfile: str
    keyfile: str


class Certified:
    """A pair of files in a folder, and what a client needs to trust them."""

    def __init__(self, folder: Path) -> None:
        self.cert = folder / "cert.pem"
        self.key = folder / "key.pem"
        self.renew()

    @property
    def certfile(self) -> str:
        """One file with both, as `listen` takes it without a keyfile."""
        both = self.cert.with_name("both.pem")
        both.write_bytes(self.key.read_bytes() + self.cert.read_bytes())
        return str(both)

    @property
    def files(self) -> Files:
        """Both files, as `listen` takes them."""
        return {"certfile": str(self.cert), "keyfile": str(self.key)}

    def renew(self) -> None:
        """Write a new pair, each file at once."""
        made = authority().issue_cert(NAME, "127.0.0.1")
        _replace(self.key, made.private_key_pem.bytes())
        _replace(self.cert, b"".join(blob.bytes() for blob in made.cert_chain_pems))

    def spoil(self) -> None:
        """Write a key that does not belong to the certificate."""
        _replace(self.key, authority().issue_cert(NAME).private_key_pem.bytes())

    @staticmethod
    def client() -> ssl.SSLContext:
        """Return the TLS context of a client that trusts them."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority().configure_trust(context)
        return context


def _replace(path: Path, data: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(data)
    os.replace(new, path)  # noqa: PTH105 - one call, as certbot does it
