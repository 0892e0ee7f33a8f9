"""How a node knows a connection that came to another machine, and whose client it is."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from actors.routing import passed_pair, proxy_header_of
from actors.routing.listen.passed_socket import is_passed_on
from actors.routing.sticky.proxy_protocol import ProxyHeader, proxy_header


def test_it_is_known_by_its_other_end_alone() -> None:
    ours, theirs = passed_pair()
    one, other = socket.socketpair()
    with ours, theirs, one, other, socket.socket() as fresh:
        assert is_passed_on(theirs)
        assert not any(map(is_passed_on, (ours, one, other, fresh)))


@pytest.mark.parametrize("path", ["/own.sock", "\0actors test of names"])
def test_a_client_of_a_unix_listener_cannot_pass_for_one(tmp_path: Path, path: str) -> None:
    where = f"{tmp_path}{path}" if path.startswith("/") else path
    with (
        socket.socket(socket.AF_UNIX) as server,
        socket.socket(socket.AF_UNIX) as client,
    ):
        server.bind(where)
        server.listen()
        client.bind(b"\0actors passed on forged")
        client.connect(where)
        with server.accept()[0] as accepted:
            assert not is_passed_on(accepted)


@pytest.mark.parametrize("host, more", [("127.0.0.1", ()), ("::1", (0, 0))])
def test_its_header_names_the_client(host: str, more: tuple[int, ...]) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, 0), family=family) as server,
        socket.create_connection(server.getsockname()[:2]) as client,
        server.accept()[0] as accepted,
    ):
        data = proxy_header_of(accepted)
        port = client.getsockname()[1]
    assert proxy_header(data) == ProxyHeader(len(data), (host, port, *more))


def test_without_a_client_the_header_names_none() -> None:
    with socket.socket() as nobody:
        data = proxy_header_of(nobody)
    assert proxy_header(data + b"GET") == ProxyHeader(len(data), None)
