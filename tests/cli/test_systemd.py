"""What a system tells systemd over its notification socket, and what becomes of it without one that works."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.cli.server.systemd import ServiceManager
from tests.cli.running_command import PATIENCE, running

pytestmark = pytest.mark.usefixtures("no_leaks")


EXTEND = "EXTEND_TIMEOUT_USEC="


class Manager:
    """The end of the socket that is systemd's."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(PATIENCE)
        self.address = address
        self.extended: list[str] = []
        """What it was told of how long something may take."""

    def next(self, *, alive: bool = False) -> list[str]:
        """Return the lines of the next message, of those that say WATCHDOG=1 only if *alive*.

        How long something may take is left out, and so is a message about nothing else.
        """
        while True:
            lines = self.socket.recv(4096).decode().split("\n")
            self.extended += [line for line in lines if line.startswith(EXTEND)]
            lines = [line for line in lines if not line.startswith(EXTEND)]
            if lines and alive == (lines == ["WATCHDOG=1"]):
                return lines


@pytest.fixture(params=["a path", "abstract"])
def manager(request: pytest.FixtureRequest, runtime: Path) -> Iterator[Manager]:
    abstract = request.param == "abstract"
    made = Manager(f"@actors-{os.getpid()}" if abstract else str(runtime / "notify"))
    yield made
    made.socket.close()


def test_ready_reload_and_stop_are_said_in_their_order(runtime: Path, manager: Manager) -> None:
    env = {"NOTIFY_SOCKET": manager.address}
    with running(runtime, "run", "topologies:good", env=env) as system:
        assert manager.next() == ["STATUS=starting 2 nodes"]
        assert manager.extended == [f"{EXTEND}60000000"]  # as boot_timeout, and 30 s more
        ready = manager.next()
        assert ready[0] == "READY=1"
        assert ready[1].startswith("STATUS=ready: ")
        before = time.monotonic_ns() // 1000
        os.kill(system.pid, signal.SIGHUP)
        reloading, stamp, status = manager.next()
        assert (reloading, status) == ("RELOADING=1", "STATUS=reloading")
        assert before <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
        assert manager.next() == ready
        # The reload says it at its beginning, and for each of the two nodes.
        assert manager.extended[1:] == [f"{EXTEND}65000000"] * 3
        assert system.end(signal.SIGTERM) == 0
        assert manager.next() == ["STOPPING=1", "STATUS=stopping"]
        assert manager.extended[-1] == f"{EXTEND}50000000"  # four times shutdown, and 30 s more


def test_it_says_that_it_is_alive_twice_in_the_time_that_systemd_waits(
    runtime: Path, manager: Manager
) -> None:
    env = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"}
    with running(runtime, "run", "topologies:good", env=env):
        manager.next(alive=True)
        began = time.monotonic()
        for _ in range(5):
            manager.next(alive=True)
        # Five times 0.2 s, on a machine that may be slow but is never too fast.
        assert time.monotonic() - began >= 0.9


def test_no_process_of_the_system_inherits_the_socket(runtime: Path, manager: Manager) -> None:
    env = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "90000000", "WATCHDOG_PID": "1"}
    with running(runtime, "run", "topologies:good", env=env) as system:
        nodes = [event["pid"] for event in system.events if event["event"] == "node ready"]
        assert nodes
        for pid in nodes:
            inherited = Path(f"/proc/{pid}/environ").read_bytes()
            assert b"NOTIFY_SOCKET" not in inherited
            assert b"WATCHDOG" not in inherited


def test_a_socket_that_nobody_listens_on_is_one_warning(runtime: Path) -> None:
    gone = str(runtime / "gone")
    with running(runtime, "run", "topologies:good", env={"NOTIFY_SOCKET": gone}) as system:
        assert system.end(signal.SIGTERM) == 0
    (warning,) = [line for line in system.events if line["event"] == "systemd not notified"]
    assert warning["socket"] == gone


@pytest.mark.parametrize(
    "microseconds, pid, seconds",
    [
        ("3000000", "", 3.0),
        ("3000000", "us", 3.0),
        ("3000000", "1", None),
        ("0", "", None),
        ("-5", "", None),
        ("x", "", None),
        ("", "", None),
    ],
)
def test_the_watchdog_is_for_the_process_that_it_names(
    microseconds: str, pid: str, seconds: float | None
) -> None:
    pid = str(os.getpid()) if pid == "us" else pid
    env = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": microseconds, "WATCHDOG_PID": pid, "HOME": "/"}

    assert ServiceManager.from_environment(env)._watchdog == seconds
    assert env == {"HOME": "/"}
