"""`actors run`: starts in the foreground, says what runs, and ends cleanly by signals."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from actors._base.event_log import LogSubscriber
from actors._base.events import Event
from tests.cli.running_command import (
    HERE,
    PATIENCE,
    command,
    environment,
    error_of,
    run_command,
    running,
    sockets,
)

pytestmark = pytest.mark.usefixtures("no_leaks")


def test_start_up_says_each_fact_in_one_line_and_sigterm_drains_and_exits_0(runtime: Path) -> None:
    with running(runtime, "run", "topologies:good", "--nodes", "web=1") as system:
        assert [event["event"] for event in system.events] == [
            "node ready",
            "listening",
            "system ready",
            "control socket",
        ]
        ready, listening, _, control = system.events
        assert ready["node"] == "web/0"
        assert ready["pid"] != system.pid
        assert (listening["policy"], listening["nodes"]) == ("least-connections", "web")
        assert control["path"] == str(system.socket)
        host, _, port = listening["address"].partition(":")
        with socket.create_connection((host, int(port)), PATIENCE) as client:
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
        assert system.end(signal.SIGTERM) == 0
        assert system.event("node ended")["why"] == "exit code 0"
        assert system.events[-1]["event"] == "system stopped"
        assert system.nodes_have_ended()
        assert sockets(runtime) == []


def test_sigint_ends_cleanly_with_130_and_unplaced_actors_had_a_node_of_their_own(
    runtime: Path,
) -> None:
    with running(runtime, "run", "topologies:unplaced") as system:
        assert system.event("node ready")["node"] == "main/0"
        assert system.end(signal.SIGINT) == 130
        assert system.event("node ended")["why"] == "exit code 0"
        assert system.nodes_have_ended()
        assert sockets(runtime) == []


def test_a_second_sigint_ends_at_once_and_takes_the_nodes_along(runtime: Path) -> None:
    with running(runtime, "run", "topologies:small") as system:
        node = system.events[0]["pid"]
        os.kill(node, signal.SIGSTOP)  # it cannot drain: an orderly end would wait for it
        system.process.send_signal(signal.SIGINT)
        while system.socket.exists():  # the first signal has been heard
            with pytest.raises(subprocess.TimeoutExpired):
                system.process.wait(0.01)
        assert system.end(signal.SIGINT) == -signal.SIGINT
        assert system.nodes_have_ended()


def test_sigterm_while_nodes_boot_exits_0_and_leaves_nothing(runtime: Path) -> None:
    with running(runtime, "run", "topologies:good", ready="node ready") as system:
        assert system.end(signal.SIGTERM) == 0
        assert system.nodes_have_ended()
        assert sockets(runtime) == []


def test_the_console_script_finds_modules_in_the_current_folder(runtime: Path) -> None:
    env = environment(runtime)
    env["PYTHONPATH"] = env["PYTHONPATH"].removeprefix(f"{HERE}{os.pathsep}")
    script = "import sys; from actors.cli import main; sys.exit(main(['run', 'topologies:goood']))"
    argv = [command()[0], "-P", "-c", script]
    run = subprocess.run(
        argv, cwd=HERE, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert run.returncode == 2
    assert error_of(run.stderr, "actors run") == (
        "topologies has no attribute 'goood'; did you mean 'topologies:good'?"
    )


def line_of(text: str) -> int:
    """Return where *text* is in the topologies."""
    lines = (HERE / "topologies.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


@pytest.mark.parametrize(
    "target,message",
    [
        (
            "no_handler",
            (
                "cannot import handler 'topologies:ecko': module 'topologies' has no attribute "
                "'ecko'; did you mean 'echo'?"
            ),
        ),
        (
            "runs_a_program",
            (
                "cannot import handler 'runs_on_import:handle': RuntimeError: asyncio.run() cannot be "
                "called from a running event loop; what runs a program belongs under "
                f"`if __name__ == '__main__'`\n  at {HERE}/runs_on_import.py:8 in <module>"
            ),
        ),
        (
            "homeless",
            (
                "homeless (Homeless) failed to start: ValueError: no database at /nowhere\n"
                f"  at {HERE}/topologies.py:{line_of('no database')} in __init__"
            ),
        ),
        (
            "dies_at_boot",
            (
                "node web/0 failed to boot: exit code 3; its last lines:\n"
                "  this machine has no licence"
            ),
        ),
        (
            "dies_at_import",
            (
                "node web/0 ended while it imported 'exits_on_import:handle': exit code 3; its last lines:\n"
                "  this machine has no licence"
            ),
        ),
    ],
)
def test_what_fails_at_start_is_one_error_that_names_it_with_exit_code_1(
    runtime: Path, target: str, message: str
) -> None:
    run = run_command(runtime, "run", f"topologies:{target}")
    assert run.returncode == 1
    assert error_of(run.stderr, "actors run") == message
    assert "Traceback" not in run.stderr
    assert sockets(runtime) == []


def test_a_port_in_use_is_named_before_any_node_boots(runtime: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        run = run_command(runtime, "run", "topologies:busy", env={"PORT": port})
    assert run.returncode == 1
    assert error_of(run.stderr, "actors run") == (
        f"cannot listen on 127.0.0.1:{port}: Address already in use (EADDRINUSE)"
    )
    assert run.stderr.count("\n") == 1


def test_a_system_that_gives_up_exits_1_and_says_what_needed_too_many_restarts(
    runtime: Path,
) -> None:
    run = run_command(runtime, "run", "topologies:crashes")
    assert run.returncode == 1
    assert error_of(run.stderr, "actors run").splitlines() == [
        (
            "the system ended by itself: supervisor 'system' gave up: "
            "'crasher' needs more than 3 restarts within 5 s"
        ),
        f"  at {HERE}/topologies.py:{line_of('no more paper')} in boom",
    ]
    assert sockets(runtime) == []


def test_an_address_beyond_loopback_is_a_loud_line(capfd: pytest.CaptureFixture[str]) -> None:
    log = LogSubscriber(lambda: 0.0)
    facts = {"address": "0.0.0.0:80", "policy": "RoundRobin()", "beyond_loopback": True}
    log(Event("listening", facts))
    line = capfd.readouterr().err
    assert '"level": "warning"' in line
    assert "other machines can reach this address, and it has no TLS" in line
