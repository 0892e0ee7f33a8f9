"""Listening sockets that this process inherited, and addresses that name them."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.routing import BadListener, ListenFailed, Listening, ReusePort, RoundRobin, listen
from actors.routing.listen.inherited import inherited_socket
from tests.routing.conftest import Rig
from tests.routing.serving_nodes import accepted

OURS = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "100", "LISTEN_FDNAMES": "a:b:web"}


@pytest.fixture
def given() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        os.set_inheritable(listening.fileno(), True)
        yield listening


def test_a_socket_given_by_number_is_served_and_stays_open(rig: Rig, given: socket.socket) -> None:
    spec = listen("app:handle", f"fd://{given.fileno()}")
    router = rig.router(spec=spec)
    (node,) = rig.join(router)
    port = given.getsockname()[1]
    assert router.address == f"127.0.0.1:{port}"
    rig.connect(router)
    accepted(rig.loop, router, 1)
    sock = node.socks[node.got[0]]
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert not os.get_inheritable(given.fileno())
    router.close()
    waits = socket.create_connection(("127.0.0.1", port))
    router = rig.router(spec=spec)  # a restart finds the port and whoever waits there
    rig.join(router)
    accepted(rig.loop, router, 1)
    waits.close()


def test_a_given_unix_socket_keeps_its_path(rig: Rig, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(f"{tmp_path}/s")
        given.listen()
        router = rig.router(spec=listen("app:handle", f"fd://{given.fileno()}"))
        assert router.address == f"unix:{tmp_path}/s"
        router.close()
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_whether_other_machines_reach_a_given_socket_is_seen_by_its_address(rig: Rig) -> None:
    with socket.create_server(("0.0.0.0", 0)) as given:  # noqa: S104 - that is the point
        rig.router(spec=listen("app:handle", f"fd://{given.fileno()}"))
    (reported,) = rig.reported(Listening)
    assert isinstance(reported, Listening)
    assert reported.beyond_loopback


def test_a_socket_given_by_name_is_the_one_of_its_place(given: socket.socket) -> None:
    names = ["other"] * (given.fileno() - 3) + ["web"]
    env = OURS | {"LISTEN_FDNAMES": ":".join(names)}
    with inherited_socket("web", env) as found:
        assert found.getsockname() == given.getsockname()


def test_without_listen_fds_any_listening_descriptor_can_be_given(given: socket.socket) -> None:
    with inherited_socket(str(given.fileno()), {}) as found:
        assert found.getsockname() == given.getsockname()


@pytest.mark.parametrize(
    "name, env, message",
    [
        (
            "9999",
            {},
            "cannot listen on fd://9999: there is no open descriptor 9999 (EBADF)",
        ),
        (
            "3",
            OURS | {"LISTEN_PID": "1"},
            "LISTEN_PID is 1, and this process is ",
        ),
        ("web", {"LISTEN_FDNAMES": "web", "LISTEN_FDS": "1"}, "LISTEN_PID is not set, and this"),
        ("api", OURS, "LISTEN_FDNAMES has no such name; it has a, b, web (EBADF)"),
        ("api", {}, "LISTEN_FDNAMES is not set: name the socket by its number, as in fd://3"),
        ("web", OURS | {"LISTEN_FDS": "2"}, "LISTEN_FDS is 2: descriptor 5 was not passed (EBADF)"),
        ("web", OURS | {"LISTEN_FDS": ""}, "LISTEN_FDS is not set: descriptor 5 was not passed"),
    ],
)
def test_a_descriptor_that_was_not_given_is_one_clear_error(
    name: str, env: dict[str, str], message: str
) -> None:
    with pytest.raises(ListenFailed) as caught:
        inherited_socket(name, env)
    assert message in str(caught.value)
    assert isinstance(caught.value, OSError)


def test_a_socket_that_nobody_can_listen_with_is_one_clear_error(tmp_path: Path) -> None:
    with socket.socket() as quiet, pytest.raises(ListenFailed, match="is not listening: call"):
        inherited_socket(str(quiet.fileno()), {})
    with (
        socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        pytest.raises(ListenFailed, match="must be a stream socket, got SOCK_DGRAM"),
    ):
        inherited_socket(str(datagrams.fileno()), {})
    with (
        (tmp_path / "file").open("w") as file,
        pytest.raises(ListenFailed, match=f"descriptor {file.fileno()} is not a socket"),
    ):
        inherited_socket(str(file.fileno()), {})


@pytest.mark.parametrize(
    "address", ["fd://3", "fd://web", "fd://web-1.socket", "udp://127.0.0.1:0", "udp://[::1]:53"]
)
def test_an_address_is_told_as_it_was_written(address: str) -> None:
    assert str(listen("app:handle", address).where) == address


@pytest.mark.parametrize("address", ["fd://", "fd://2", "fd://-1", "fd://a b", "fd://3:4"])
def test_what_names_no_descriptor_is_refused(address: str) -> None:
    with pytest.raises(BadListener, match='an inherited socket is "fd://3"') as caught:
        listen("app:handle", address)
    assert str(caught.value).endswith(f"got {address!r}")


def test_only_a_tcp_address_of_ones_own_has_a_socket_for_every_node() -> None:
    for address in ("fd://3", "unix:/run/s"):
        with pytest.raises(BadListener) as caught:
            listen("app:handle", address, policy=ReusePort())
        assert (
            str(caught.value) == f"reuse-port binds one TCP socket for each node, got {address!r}"
        )
        assert listen("app:handle", address, policy=RoundRobin()).address == address
