"""The first bytes of clients: TLS ClientHellos as OpenSSL makes them, PROXY headers of both versions."""

import ipaddress
import ssl
import struct

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def client_hello(name: str | None) -> bytes:
    """Return the ClientHello of a client that asks for *name*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = name is not None
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("the handshake was over before it began")


def in_records(hello: bytes, size: int) -> bytes:
    """Return the same ClientHello in records of at most *size* bytes."""
    message = hello[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(hello[:3] + struct.pack("!H", len(piece)) + piece for piece in pieces)


def version_2(
    source: str,
    port: int,
    *,
    command: int = 0x21,
    family: int | None = None,
    extra: bytes = b"",
) -> bytes:
    """Return a binary PROXY header; *extra* stands after the addresses."""
    host = ipaddress.ip_address(source)
    body = host.packed + host.packed + struct.pack("!HH", port, 443) + extra
    kind = (0x11 if host.version == 4 else 0x21) if family is None else family
    return SIGNATURE + struct.pack("!BBH", command, kind, len(body)) + body
