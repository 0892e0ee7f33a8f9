"""`actors serve`: an ASGI application over nodes, without a topology of one's own."""

import os
import signal
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest

from actors._base.cpus import usable_cpus
from actors._system.topology import Topology
from actors.cli import main
from actors.cli._parser import parse
from actors.cli.server.serve import serve_topology
from actors.routing import Asgi, LeastConnections, RoundRobin, Sticky, key_from
from tests.cli.running_command import ROOT, running, sockets


def test_an_application_is_served_by_as_many_nodes_as_asked_for(
    runtime: Path, no_leaks: None
) -> None:
    arguments = ("--bind", "127.0.0.1:0", "--nodes", "2", "--sticky", "query:room|ip")
    with running(runtime, "serve", "topologies:app", *arguments) as system:
        listening = system.event("listening")
        assert "room" in listening["policy"]
        assert (listening["nodes"], listening["count"]) == ("web", 2)
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


def test_without_process_nodes_it_serves_in_one_thread_and_says_so(
    runtime: Path, no_leaks: None
) -> None:
    arguments = ("--bind", "127.0.0.1:0", "--nodes", "2")
    with running(runtime, "serve", "topologies:app", *arguments, env={"NO_PIDFDS": "1"}) as system:
        address = system.event("listening")["address"]
        assert system.event("system ready")["nodes"] == 1
        (warning,) = [
            line for line in system.lines if "warning: there are no process nodes" in line
        ]
        assert "untested" in warning
        host, _, port = address.partition(":")
        client = HTTPConnection(host, int(port), timeout=10)
        client.request("GET", "/")
        assert client.getresponse().read() == b"web/0"
        client.close()
        assert system.end(signal.SIGTERM) == 0


def test_a_socket_given_as_a_descriptor_is_served_and_stays_open(runtime: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        host, port = given.getsockname()
        options = ("--nodes", "1", "--fd", str(given.fileno()), "--policy", "round-robin")
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


def topology_of(*arguments: str) -> Topology:
    return serve_topology(parse(["serve", *arguments]))


def test_max_is_the_cpus_this_process_may_use_and_least_connections_the_policy() -> None:
    made = topology_of("pkg:app", "--uds", "/run/app")
    assert [group.count for group in made.nodes] == [usable_cpus()]
    assert made.listeners[0].policy == LeastConnections()
    assert made.listeners[0].address == "unix:/run/app"


def test_processes_are_recycled_by_the_options_of_either_server() -> None:
    ours = ("--max-requests=9", "--max-requests-jitter=2", "--lifetime=60", "--max-rss=300")
    theirs = (
        "--limit-max-requests=9",
        "--limit-max-requests-jitter=2",
        "--workers-lifetime=60",
        "--workers-max-rss=300",
    )
    for options in (ours, theirs):
        [group] = topology_of("p:a", *options).nodes
        assert (group.max_requests, group.max_requests_jitter) == (9, 2)
        assert (group.lifetime, group.max_rss) == (60, 300 * 2**20)


def test_a_factory_is_called_on_the_nodes() -> None:
    made = topology_of("p:a", "--factory")
    assert made.listeners[0].handler == Asgi(app="p:a", interface="auto", factory=True)


def test_a_policy_can_be_named_and_a_sticky_key_chained() -> None:
    made = topology_of("pkg:app", "--policy", "round-robin")
    assert made.listeners[0].policy == RoundRobin()
    made = topology_of("pkg:app", "--sticky", "cookie:sid|ip")
    assert made.listeners[0].policy == Sticky(key_from("cookie:sid|ip"))
    made = topology_of("pkg:app", "--sticky", "cookie:sid", "--sticky-learn", "0")
    assert made.listeners[0].policy == Sticky(key_from("cookie:sid"), learn=0)


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
            ["p:a", "--sticky", "cookie:sid", "--sticky-learn=-1"],
            "learn must be a number of keys from 0 to 16,777,216, got -1",
        ),
        (
            ["p:a", "--policy", "rond-robin"],
            (
                "a policy is least-connections, round-robin, reuse-port or "
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
            "argument --bind/-b: not allowed with argument --fd (see `actors serve --help`)",
        ),
        (
            ["p:a", "--worker-class", "gevent"],
            (
                "`actors serve` does not take '--worker-class gevent'; here that is --interface asgi, "
                "on asyncio, or wsgi, with --threads N (see `actors serve --help`)"
            ),
        ),
        (
            ["p:a", "--port=80", "--bind", "localhost:81"],
            "--port goes with a host and a port, not with localhost:81",
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
        "actors serve: error: actors serve needs httptools: pip install 'actors-framework[web]'\n"
    )


@pytest.mark.parametrize(
    "arguments, address",
    [
        ([], "127.0.0.1:8000"),
        (["--host", "localhost"], "localhost:8000"),
        (["--port", "81"], "127.0.0.1:81"),
        (["--host", "::", "--port", "0"], "[::]:0"),
        (["--uds", "/run/app.sock"], "unix:/run/app.sock"),
        (["-b", "localhost:9"], "localhost:9"),
    ],
)
def test_an_address_is_given_in_whichever_way_one_is_used_to(
    arguments: list[str], address: str
) -> None:
    (listener,) = topology_of("p:a", *arguments).listeners
    assert listener.address == address


def test_options_that_uvicorn_and_gunicorn_users_type_are_understood() -> None:
    made = topology_of(
        *("p:a", "-w", "3", "--root-path", "/api", "--lifespan", "on", "--backlog", "77"),
        *("--timeout-keep-alive", "7", "--graceful-timeout", "9", "--limit-concurrency", "50"),
        *("--ws-ping-interval", "0", "--ws-max-size", "99", "--no-proxy-headers", "--access-log"),
    )
    assert [(group.count, group.shutdown) for group in made.nodes] == [(3, 9)]
    (listener,) = made.listeners
    assert listener.backlog == 77
    assert listener.handler == Asgi(
        app="p:a",
        interface="auto",
        root_path="/api",
        lifespan="on",
        keep_alive=7,
        limit_concurrency=50,
        ws_ping_interval=None,
        ws_max_size=99,
        proxy_headers=False,
        access_log=True,
    )


def test_options_come_from_the_environment_and_the_command_line_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ACTORS_SERVE_WORKERS", "5")
    monkeypatch.setenv("ACTORS_SERVE_ACCESS_LOG", "yes")
    monkeypatch.setenv("ACTORS_SERVE_SHUTDOWN", "2.5")
    monkeypatch.setenv("ACTORS_SERVE_BIND", "127.0.0.1:77")
    made = topology_of("p:a")
    assert [(group.count, group.shutdown) for group in made.nodes] == [(5, 2.5)]
    (listener,) = made.listeners
    assert listener.address == "127.0.0.1:77"
    assert listener.handler == Asgi(app="p:a", interface="auto", access_log=True)
    made = topology_of("p:a", "--nodes", "2", "--no-access-log", "--bind", "127.0.0.1:78")
    assert made.nodes[0].count == 2
    assert made.listeners[0].address == "127.0.0.1:78"
    assert made.listeners[0].handler == Asgi(app="p:a", interface="auto")


def test_web_concurrency_is_the_number_of_processes_unless_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "6")
    assert topology_of("p:a").nodes[0].count == 6
    assert topology_of("p:a", "--workers", "2").nodes[0].count == 2


@pytest.mark.parametrize(
    "variable, value, message",
    [
        ("SHUTDOWN", "soon", "ACTORS_SERVE_SHUTDOWN: invalid float value: 'soon'"),
        ("FACTORY", "perhaps", "ACTORS_SERVE_FACTORY must be 1 or 0, got 'perhaps'"),
        ("LIFESPAN", "of", "ACTORS_SERVE_LIFESPAN must be one of auto, on, off, got 'of'"),
    ],
)
def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    message: str,
) -> None:
    monkeypatch.setenv(f"ACTORS_SERVE_{variable}", value)
    assert main(["serve", "p:a"]) == 2
    assert message in capsys.readouterr().err
    assert parse(["ps"]).command == "ps"  # which it does not concern


def test_a_folder_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "p:a", "--app-dir", "/no/such/folder"]) == 2
    assert "--app-dir /no/such/folder: there is no such folder" in capsys.readouterr().err
