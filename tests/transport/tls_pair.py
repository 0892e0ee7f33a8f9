"""Two connected sessions over TCP of this machine, with TLS or without."""

import socket
from functools import cache

from actors.machines.authority import Authority, Material
from actors.transport.channels.tls_session import TlsSession

__all__ = ["material", "tcp_pair", "tls_pair"]


@cache
def material() -> Material:
    return Authority.new().issue("run 1")


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """The end that dialled, and the end that accepted."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dialled = socket.create_connection(listener.getsockname())
        return dialled, listener.accept()[0]


def tls_pair(*, plain: bool = False, lease: float = 10.0) -> tuple[TlsSession, TlsSession]:
    """Two sessions that have shaken hands: that of the client, and that of the server."""
    ours, theirs = tcp_pair()
    contexts = [None if plain else material().context(server=server) for server in (False, True)]
    client = TlsSession(ours, contexts[0], server=False, name=material().server, lease=lease)
    server = TlsSession(theirs, contexts[1], server=True, lease=lease)
    while not client.shake() & server.shake():
        pass
    return client, server
