"""`actors serve --certfile --keyfile`: TLS in real nodes, renewed while they serve."""

import ssl
import time
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from actors.cli import main
from tests.end_to_end.server_process import ServerProcess
from tests.routing.certificates import Certified

PATIENCE = 20.0
APP = "tests.end_to_end.session_app:app"


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    return Certified(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, certified: Certified
) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("served")
    options = ["--certfile", str(certified.cert), "--keyfile", str(certified.key)]
    with ServerProcess(
        "serve", APP, "--bind", "0.0.0.0:0", "--nodes", "2", *options, folder=folder, env={}
    ) as running:
        running.port = int(running.wait_for("listening")["address"].rpartition(":")[2])
        yield running


def connection(served: ServerProcess) -> HTTPSConnection:
    return HTTPSConnection("127.0.0.1", served.port, timeout=PATIENCE, context=Certified.client())


def asked(client: HTTPSConnection) -> tuple[str, str]:
    """Return which node answered, and what it took the scheme for."""
    client.request("GET", "/")
    response = client.getresponse()
    assert response.status == 200
    node, scheme, _ = response.read().decode().split(" ")
    return node, scheme


def serial(served: ServerProcess) -> tuple[str, str]:
    """Return which node answers a new connection, and the serial number it shows."""
    client = connection(served)
    node, _ = asked(client)
    assert isinstance(client.sock, ssl.SSLSocket)
    found = client.sock.getpeercert()
    client.close()
    assert found is not None
    return node, str(found["serialNumber"])


def test_every_node_serves_https_and_nobody_is_warned(served: ServerProcess) -> None:
    clients = [connection(served) for _ in range(4)]
    assert {asked(client) for client in clients} == {("web/0", "https"), ("web/1", "https")}
    for client in clients:
        client.close()
    listening = served.wait_for("listening")
    assert (listening["level"], listening["tls"]) == ("info", True)
    assert "warning" not in listening


def test_a_new_pair_is_used_by_every_node_and_old_connections_live_on(
    served: ServerProcess, certified: Certified
) -> None:
    old = [connection(served) for _ in range(2)]
    before = [asked(client) for client in old]
    (first,) = {serial(served)[1] for _ in range(4)}
    certified.renew()
    new: dict[str, str] = {}
    deadline = time.monotonic() + PATIENCE
    while len(new) < 2:
        node, shown = serial(served)
        if shown != first:
            new[node] = shown
        # Asked all the time: one that says nothing for `keep_alive` seconds is closed.
        assert [asked(client) for client in old] == before
        assert time.monotonic() < deadline
    assert len(set(new.values())) == 1
    assert [asked(client) for client in old] == before
    for client in old:
        client.close()


def test_a_pair_that_cannot_be_used_is_told_and_changes_nothing(
    served: ServerProcess, certified: Certified
) -> None:
    (first,) = {serial(served)[1] for _ in range(4)}
    certified.spoil()
    deadline = time.monotonic() + PATIENCE
    told: list[str] = []
    while len(told) < 2:
        assert serial(served)[1] == first
        told = [line for line in served.lines if '"event": "tls reload failed"' in line]
        assert time.monotonic() < deadline
    for _ in range(20):
        assert serial(served)[1] == first
    told = [line for line in served.lines if '"event": "tls reload failed"' in line]
    assert len(told) == 2  # one of each node
    assert all("is not the key of certfile" in line for line in told)


def test_files_that_cannot_be_used_are_a_mistake_of_usage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["serve", APP, "--certfile", f"{tmp_path}/none.pem"]) == 2
    assert capsys.readouterr().err == (
        f"actors serve: error: certfile '{tmp_path}/none.pem' cannot be read: "
        f"No such file or directory\n"
    )
    assert main(["serve", APP, "--keyfile", f"{tmp_path}/none.pem"]) == 2
    assert "a keyfile needs a certfile as well" in capsys.readouterr().err


def test_a_sticky_key_inside_tls_is_a_mistake_of_usage(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options = ["--certfile", Certified(tmp_path).certfile, "--sticky", "cookie:sid"]
    assert main(["serve", APP, *options]) == 2
    assert "cookie:sid of 127.0.0.1:8000 is encrypted by TLS" in capsys.readouterr().err
