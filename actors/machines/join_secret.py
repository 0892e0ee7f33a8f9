"""The secret of a cluster: who has it may join, and who has it is the parent; neither tells it to the other.

Each end shows an HMAC of the certificate that the parent has shown on this very connection, so that somebody
between them, who has another certificate, gains nothing by passing it on. Bootstrap tokens of kubeadm sign
the authority of a cluster in the same way.

Rule: the secret comes from a file, and is never in an argument, a variable, a log or a `repr`.
"""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from hashlib import scrypt, sha256
from hmac import compare_digest, digest
from typing import Final

from actors._base.errors import InvalidSpec
from actors.machines.private_file import read_private

__all__ = ["JoinSecret"]

_LEAST: Final = 16
_MOST: Final = 4096


class JoinSecret:
    """Proves that one has the secret, and checks the proof of another.

    Args:
        text: the secret; white space around it is none of it, nor what editors of Windows put before a text.
        where: where it is from, for errors.

    Raises:
        InvalidSpec: it is too short to be one.
    """

    def __init__(self, text: bytes, where: str) -> None:
        secret = text.removeprefix(BOM_UTF8).strip()
        if not _LEAST <= len(secret) <= _MOST:
            raise InvalidSpec(
                f"{where} must hold {_LEAST} to {_MOST} bytes, it has {len(secret)}: "
                "`openssl rand -hex 32` makes a good one"
            )
        # A proof that was given to a wrong parent lets it guess: each guess is to cost 50 ms.
        self._key = scrypt(secret, salt=b"actors join", n=1 << 14, r=8, p=1, dklen=32)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], option: str = "join_secret") -> JoinSecret:
        """Read it from a file that others cannot read.

        Args:
            path: of the file.
            option: what the file was given as, for errors.

        Raises:
            InvalidSpec: it cannot be read, others can read it, or it is too short.
        """
        return cls(read_private(path, option), f"{option}={os.fspath(path)!r}")

    def proof_of_joiner(self, nonce: str, certificate: bytes) -> bytes:
        """Return what an agent shows to the owner of *certificate*."""
        return self._proof(b"joiner", nonce, certificate)

    def proof_of_parent(self, nonce: str, certificate: bytes) -> bytes:
        """Return what the owner of *certificate* shows to the agent that has made up *nonce*."""
        return self._proof(b"parent", nonce, certificate)

    def _proof(self, who: bytes, nonce: str, certificate: bytes) -> bytes:
        said = nonce.encode("utf-8", "surrogatepass")
        return digest(
            self._key,
            b"".join((who, sha256(certificate).digest(), sha256(said).digest())),
            "sha256",
        )

    def lets_in(self, shown: object, nonce: object, certificate: bytes) -> bool:
        """Whether *shown*, as hexadecimal text, is the proof of an agent that has the secret."""
        if type(shown) is not str or type(nonce) is not str:
            return False
        wanted = self.proof_of_joiner(nonce, certificate).hex()
        return compare_digest(wanted, shown.encode("ascii", "replace").decode("ascii"))
