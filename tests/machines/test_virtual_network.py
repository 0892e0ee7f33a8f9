"""The switch between the hosts of the tests loses and delays what it is told to, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.machines.virtual_network import VirtualNetwork, needs_namespaces

pytestmark = needs_namespaces

ECHO = """
import socket
with socket.create_server(("", 7000)) as server:
    print("listens", flush=True)
    connection, _ = server.accept()
    while data := connection.recv(65536):
        connection.sendall(data)
"""
CLIENT = """
import socket, sys, time
sock = socket.create_connection((sys.argv[1], 7000), timeout=20)
for line in sys.stdin:
    sock.settimeout(float(line))
    began = time.monotonic()
    sock.sendall(b"x" * 100_000)
    left = 100_000
    try:
        while left:
            left -= len(sock.recv(left))
        print(time.monotonic() - began, flush=True)
    except TimeoutError:
        print("lost", flush=True)
        break
"""


@pytest.fixture
def network() -> Iterator[VirtualNetwork]:
    with VirtualNetwork(2) as network:
        yield network


def _piped(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def client(network: VirtualNetwork) -> Iterator[subprocess.Popen[str]]:
    """A program on host 2 that sends 100 kB to host 1, and back, within the seconds that it is given."""
    with _piped([*network.on(1), sys.executable, "-c", ECHO]) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == "listens\n"
        command = [*network.on(2), sys.executable, "-c", CLIENT, network.address(1)]
        with _piped(command) as client:
            yield client
            client.kill()
        server.kill()


def sent(client: subprocess.Popen[str], within: float) -> str:
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(f"{within}\n")
    client.stdin.flush()
    return client.stdout.readline().strip()


def test_hosts_reach_each_other(client: subprocess.Popen[str]) -> None:
    assert float(sent(client, 20)) < 20


def test_a_delay_takes_each_way(network: VirtualNetwork, client: subprocess.Popen[str]) -> None:
    network.delay(0.1)
    assert float(sent(client, 20)) >= 0.2


@pytest.mark.parametrize("way", [(1, 2), (2, 1)])
def test_one_way_that_is_cut_stops_all(
    network: VirtualNetwork, client: subprocess.Popen[str], way: tuple[int, int]
) -> None:
    sent(client, 20)
    network.cut(way)
    assert sent(client, 1) == "lost"


def test_what_is_healed_goes_on(network: VirtualNetwork, client: subprocess.Popen[str]) -> None:
    sent(client, 20)
    network.part(1, 2)
    assert client.stdin is not None
    client.stdin.write("30\n")
    client.stdin.flush()
    time.sleep(0.5)  # for what is lost to be lost
    network.heal()
    assert client.stdout is not None
    assert float(client.stdout.readline()) >= 0.5
