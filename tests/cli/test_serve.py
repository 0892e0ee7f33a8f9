"""`actors serve`: an ASGI application over nodes, without a topology of one's own."""

import os
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from actors._system.cpu_budget import usable_cpus
from actors.cli import main
from actors.cli.server.serve import serve_topology
from actors.routing import LeastConnections, RoundRobin, Sticky, asgi, key_from
from tests.cli.running_command import ROOT, running, sockets


def test_an_application_is_served_by_as_many_nodes_as_asked_for(
    runtime: Path, no_leaks: None
) -> None:
    arguments = ("--bind", "127.0.0.1:0", "--nodes", "2", "--sticky", "query:room|ip")
    with running(runtime, "serve", "topologies:app", *arguments) as system:
        listening = system.event("listening")
        assert "room" in listening["policy"]
        host, _, port = listening["address"].partition(":")
        answers = set()
        for room in range(12):
            client = HTTPConnection(host, int(port), timeout=10)
            client.request("GET", f"/?room={room}")
            answers.add(client.getresponse().read())
            client.close()
        assert answers == {b"web/0", b"web/1"}
        assert system.end(signal.SIGTERM) == 0
        assert system.nodes_have_ended()
        assert sockets(runtime) == []


def test_a_socket_given_as_a_descriptor_is_served_and_stays_open(runtime: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        host, port = given.getsockname()
        options = ("--nodes", "1", "--fd", str(given.fileno()), "--policy", "shared-listener")
        served = subprocess.Popen(
            [sys.executable, "-m", "actors", "serve", "tests.cli.topologies:app", *options],
            cwd=ROOT,
            env={**os.environ, "XDG_RUNTIME_DIR": str(runtime), "ACTORS_LOG": "critical"},
            pass_fds=(given.fileno(),),
        )
        try:
            client = HTTPConnection(host, port, timeout=30)  # it waits in the backlog
            client.request("GET", "/?room=1")
            assert client.getresponse().read() == b"web/0"
            client.close()
            served.send_signal(signal.SIGTERM)
            assert served.wait(30) == 0
        finally:
            served.kill()
            served.wait()
        socket.create_connection((host, port), timeout=10).close()  # whoever gave it has it still


def test_max_is_the_cpus_this_process_may_use_and_least_connections_the_policy() -> None:
    made = serve_topology("pkg:app", bind="unix:/run/app", count="max", sticky=None, policy=None)
    assert [group.count for group in made.nodes] == [usable_cpus()]
    assert made.listeners[0].policy == LeastConnections()
    assert made.listeners[0].address == "unix:/run/app"


def test_a_factory_is_called_on_the_nodes() -> None:
    made = serve_topology("p:a", bind="[::1]:0", count="1", sticky=None, policy=None, factory=True)
    assert made.listeners[0].handler == asgi("p:a", factory=True)


def test_a_policy_can_be_named_and_a_sticky_key_chained() -> None:
    made = serve_topology("pkg:app", bind="[::1]:0", count="3", sticky=None, policy="round-robin")
    assert made.listeners[0].policy == RoundRobin()
    made = serve_topology("pkg:app", bind="[::1]:0", count="3", sticky="cookie:sid|ip", policy=None)
    assert made.listeners[0].policy == Sticky(key_from("cookie:sid|ip"))


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["app"], "app must be an import path such as \"pkg.mod:attr\", got 'app'"),
        (
            ["p:a", "--bind", "8000"],
            'address must be "HOST:PORT" or "unix:/path", got \'8000\'',
        ),
        (["p:a", "--nodes", "many"], "--nodes must be a number from 1 up, or max, got 'many'"),
        (["p:a", "--nodes", "0"], "nodes('web'): count must be 1 to 1024, got 0"),
        (
            ["p:a", "--sticky", "cokie:sid"],
            (
                "a sticky key is ip, proxy, sni, cookie:NAME[:set], query:NAME, header:NAME or "
                "path:SEGMENTS, got 'cokie:sid'; "
                "did you mean 'cookie'?"
            ),
        ),
        (
            ["p:a", "--policy", "rond-robin"],
            (
                "a policy is least-connections, round-robin, reuse-port, shared-listener or "
                "sticky=KEY, got 'rond-robin'; did you mean 'round-robin'?"
            ),
        ),
        (
            ["p:a", "--fd", "1"],
            (
                'an inherited socket is "fd://3" (a descriptor from 3 up) or "fd://NAME" (of '
                "LISTEN_FDNAMES), got 'fd://1'"
            ),
        ),
        (
            ["p:a", "--fd", "3", "--policy", "reuse-port"],
            "reuse-port binds one TCP socket for each node, got 'fd://3'",
        ),
        (
            ["p:a", "--fd", "3", "--bind", "127.0.0.1:0"],
            "argument --bind: not allowed with argument --fd (see `actors serve --help`)",
        ),
        (
            ["p:a", "--workers", "4"],
            (
                "`actors serve` does not take '--workers 4'; here that is --nodes COUNT "
                "(see `actors serve --help`)"
            ),
        ),
        (
            ["p:a", "--port=80"],
            (
                "`actors serve` does not take '--port=80'; here that is --bind HOST:PORT "
                "(see `actors serve --help`)"
            ),
        ),
        (
            ["p:a", "--sticky", "ip", "--policy", "round-robin"],
            ("argument --policy: not allowed with argument --sticky (see `actors serve --help`)"),
        ),
    ],
)
def test_a_wrong_option_is_a_usage_mistake_that_shows_the_value(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["serve", *arguments]) == 2
    assert capsys.readouterr().err == f"actors serve: error: {message}\n"


def test_without_httptools_it_names_the_extra_to_install() -> None:
    code = (
        "import sys; sys.modules['httptools'] = None\n"
        "from actors.cli import main; sys.exit(main(['serve', 'pkg:app']))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr == (
        "actors serve: error: actors serve needs httptools: pip install actors-framework[web]\n"
    )
