"""The authority of one system: made when it starts, kept in memory, and gone with it.

The one file that imports `cryptography`, of the extra `machines`.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Final, Self

from actors.machines.material import Material

try:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import (
        SECP256R1,
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
        generate_private_key,
    )
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "nodes on other machines need cryptography, of the extra `machines`:"
        " pip install 'actors-framework[machines]'"
    ) from error

__all__ = ["Authority", "Material"]

# The clocks of machines are not compared: whatever they say, a certificate is valid.
_BEGIN: Final = datetime(2000, 1, 1, tzinfo=UTC)
_END: Final = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_LONGEST_NAME: Final = 64


class Authority:
    """Signs the certificates of one system; `new` makes one.

    Attributes:
        ca: its own certificate, as a PEM text.
        server: the name that all its certificates are for.
    """

    issues = True
    """Whether each process gets a certificate of its own."""

    def __init__(
        self, key: EllipticCurvePrivateKey, certificate: x509.Certificate, server: str
    ) -> None:
        self._key = key
        self._certificate = certificate
        self.server: str = server
        self.ca: str = certificate.public_bytes(Encoding.PEM).decode("ascii")

    @classmethod
    def new(cls) -> Self:
        """Make a key and a certificate for it, in about a millisecond."""
        key = generate_private_key(SECP256R1())
        server = f"{secrets.token_hex(8)}.actors"
        name = _name(f"authority of {server}")
        builder = _builder(name, name, key.public_key(), key.public_key(), signs=True)
        return cls(key, builder.sign(key, SHA256()), server)

    def issue(self, name: str, /) -> Material:
        """Make a key, and a certificate for it whose common name is *name*, in about a millisecond.

        Of a longer name it is the last 64 characters, which is as much as there may be: the number of the run
        is at its end, and nobody is let in by it.

        Raises:
            ValueError: the name is empty.
        """
        if not name:
            raise ValueError("a certificate is for a name, got ''")
        key = generate_private_key(SECP256R1())
        builder = _builder(
            _name(name[-_LONGEST_NAME:]),
            self._certificate.subject,
            key.public_key(),
            self._key.public_key(),
            signs=False,
        )
        names = x509.SubjectAlternativeName([x509.DNSName(self.server)])
        certificate = builder.add_extension(names, critical=False).sign(self._key, SHA256())
        plain_key = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Material(
            ca=self.ca,
            certificate=certificate.public_bytes(Encoding.PEM).decode("ascii"),
            key=plain_key.decode("ascii"),
            server=self.server,
        )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: EllipticCurvePublicKey,
    issuer_key: EllipticCurvePublicKey,
    *,
    signs: bool,
) -> x509.CertificateBuilder:
    """All of a certificate but its names; *signs* is whether it is the authority's."""
    usage = x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
    ends = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGIN)
        .not_valid_after(_END)
        .add_extension(
            x509.BasicConstraints(ca=signs, path_length=0 if signs else None), critical=True
        )
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
        )
    )
    return builder if signs else builder.add_extension(ends, critical=False)
