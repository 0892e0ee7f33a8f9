"""The units of the systemd guide, run by systemd itself: start, reload, watchdog, stop, restart."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cli.real_systemd import PATIENCE, Systemd, systemd, why_not
from tests.cli.running_command import HERE, environment
from tests.docs.pages import ROOT, blocks

WHY_NOT = why_not()
pytestmark = [
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "none"),
    pytest.mark.timeout(400),
]

UNITS = {
    block.title: block.text for block in blocks(ROOT / "docs/guides/systemd.md") if block.title
}
ACTORS = f"{sys.executable} -m actors"


def units(port: int, folder: Path, **changed: str) -> dict[str, str]:
    """Return the units of the guide, for this machine; lines of the service can be changed."""
    env = environment(Path("/run/shop"))
    given = "".join(f'Environment="{name}={env[name]}"\n' for name in ("PYTHONPATH", "PATH"))
    service, sock = UNITS["shop.service"], UNITS["shop.socket"]
    for old, new in {
        "/srv/shop/.venv/bin/actors": ACTORS,
        "shop:app": "systemd_apps:app",
        "WorkingDirectory=/srv/shop": f"WorkingDirectory={HERE}",
        "User=shop\n": f"StandardError=append:{folder}/log\n{given}",
        **changed,
    }.items():
        assert old in service, old
        service = service.replace(old, new)
    sock = sock.replace("0.0.0.0:80", f"127.0.0.1:{port}")
    # What else a machine starts before any service is not there.
    own = "[Unit]\nDefaultDependencies=no\n"
    return {
        "shop.service": service.replace("[Unit]\n", own),
        "shop.socket": sock.replace("[Unit]\n", own),
    }


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def get(port: int, path: str = "/") -> str:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        client.request("GET", path)
        answer = client.getresponse()
        assert answer.status == 200
        return answer.read().decode()
    finally:
        client.close()


def eventually(check: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := check()):
        assert time.monotonic() < deadline
    return found


@contextmanager
def load(port: int) -> Iterator[dict[str, int]]:
    """Send requests, each over a connection of its own, from two threads; count what becomes of them."""
    counts = {"answered": 0, "refused": 0, "failed": 0}
    over = threading.Event()

    def client() -> None:
        while not over.is_set():
            try:
                get(port)
                counts["answered"] += 1
            except ConnectionRefusedError:
                counts["refused"] += 1
            except (OSError, http.client.HTTPException, AssertionError):
                counts["failed"] += 1

    threads = [threading.Thread(target=client) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        over.set()
        for thread in threads:
            thread.join()


@contextmanager
def shop(folder: Path, **changed: str) -> Iterator[tuple[Systemd, int]]:
    """Run systemd with the units of the guide; the socket is started."""
    port = free_port()
    with systemd(units(port, folder, **changed)) as manager:
        manager.systemctl("start", "shop.socket")
        try:
            yield manager, port
        except BaseException as error:
            with suppress(OSError):
                error.add_note((folder / "log").read_text()[-4000:])
            raise


def state(manager: Systemd) -> tuple[str, ...]:
    names = ("ActiveState", "Result", "NRestarts", "StatusText")
    found = manager.show("shop.service", *names)
    return tuple(found[name] for name in names)


def test_the_first_client_starts_the_service_and_waits_until_it_is_ready(tmp_path: Path) -> None:
    with shop(tmp_path) as (manager, port):
        assert state(manager)[0] == "inactive"
        assert get(port).startswith("web/")
        ready = ("active", "success", "0", "ready: 2 nodes, 1 listeners")
        assert eventually(lambda: state(manager) == ready)
        manager.systemctl("stop", "shop.socket", "shop.service")
        assert state(manager) == ("inactive", "success", "0", "")
        with pytest.raises(ConnectionRefusedError):
            get(port)


@pytest.mark.parametrize("reload", ["actors reload", "SIGHUP"])
def test_a_reload_under_load_renews_all_nodes_and_fails_no_request(
    reload: str, tmp_path: Path
) -> None:
    changed = {f"{ACTORS} reload": "/bin/kill -HUP $MAINPID"} if reload == "SIGHUP" else {}
    with shop(tmp_path, **changed) as (manager, port):
        manager.systemctl("start", "shop.service")
        before = eventually(lambda: _pids(port))
        with load(port) as counts:
            eventually(lambda: counts["answered"] > 20)
            manager.systemctl("reload", "shop.service")
            eventually(lambda: (now := _pids(port)) and not before & now)
        assert counts["failed"] == counts["refused"] == 0
        assert counts["answered"] > 20
        assert eventually(lambda: state(manager)[:3] == ("active", "success", "0"))


def _pids(port: int) -> set[str]:
    """Return the processes that answer: both nodes, after some requests; none until then."""
    found = {get(port).split()[1] for _ in range(20)}
    return found if len(found) == 2 else set()


def test_a_reload_that_fails_is_an_error_and_the_old_nodes_serve(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    with shop(tmp_path, **{"KillMode=mixed": f"KillMode=mixed\nEnvironment=FLAG={flag}"}) as (
        manager,
        port,
    ):
        manager.systemctl("start", "shop.service")
        flag.touch()
        failed = manager.inside("systemctl", "reload", "shop.service")
        assert failed.returncode != 0
        assert get(port).startswith("web/")
        assert state(manager)[0] == "active"


def test_a_restart_lets_clients_wait_and_refuses_none(tmp_path: Path) -> None:
    with shop(tmp_path) as (manager, port):
        manager.systemctl("start", "shop.service")
        with load(port) as counts:
            eventually(lambda: counts["answered"] > 5)
            manager.systemctl("restart", "shop.service")
            answered = counts["answered"]
            eventually(lambda: counts["answered"] > answered + 5)
        # What comes in the moment in which the service ends may be reset, once for each of the clients.
        assert counts["refused"] == 0
        assert counts["failed"] <= 2


def test_a_system_that_hangs_is_killed_by_the_watchdog_and_restarted(tmp_path: Path) -> None:
    with shop(tmp_path, **{"WatchdogSec=30": "WatchdogSec=5"}) as (manager, port):
        manager.systemctl("start", "shop.service")
        pid = manager.show("shop.service", "MainPID")["MainPID"]
        assert manager.inside("kill", "-STOP", pid).returncode == 0
        assert eventually(lambda: state(manager)[2] == "1")
        assert get(port).startswith("web/")
        assert manager.show("shop.service", "MainPID")["MainPID"] != pid


def test_a_start_may_take_as_long_as_its_nodes_may(tmp_path: Path) -> None:
    slow = {
        "systemd_apps:app": "systemd_apps:slow_to_start",
        "TimeoutStopSec=60": "TimeoutStopSec=60\nTimeoutStartSec=2",
    }
    with shop(tmp_path, **slow) as (manager, _):
        manager.systemctl("start", "shop.service")
        assert state(manager)[:2] == ("active", "success")


def test_a_service_that_cannot_start_fails(tmp_path: Path) -> None:
    wrong = {"systemd_apps:app": "systemd_apps:nothing", "Restart=on-failure": "Restart=no"}
    with shop(tmp_path, **wrong) as (manager, _):
        assert manager.inside("systemctl", "start", "shop.service").returncode != 0
        assert state(manager)[:2] == ("failed", "exit-code")


def test_no_process_outlives_the_service(tmp_path: Path) -> None:
    with shop(tmp_path, **{"Restart=on-failure": "Restart=no"}) as (manager, port):
        manager.systemctl("start", "shop.service")
        assert get(port).startswith("web/")
        group = manager.show("shop.service", "ControlGroup")["ControlGroup"]
        pid = manager.show("shop.service", "MainPID")["MainPID"]
        assert manager.inside("kill", "-KILL", pid).returncode == 0
        assert eventually(lambda: state(manager)[:2] == ("failed", "signal"))
        left = manager.inside("sh", "-c", f"cat /sys/fs/cgroup{group}/cgroup.procs")
        assert left.stdout == ""


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
def test_systemd_finds_nothing_wrong_in_the_units(tmp_path: Path) -> None:
    for name, text in UNITS.items():
        here = text.replace("/srv/shop/.venv/bin/actors", sys.executable)
        (tmp_path / name).write_text(here.replace("/srv/shop", str(tmp_path)))
    paths = [str(tmp_path / name) for name in UNITS]
    done = subprocess.run(
        [shutil.which("systemd-analyze") or "", "verify", *paths],
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "shop" in line]
    assert said == []


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="not installed")
@pytest.mark.parametrize("bind", ["fd://http", "fd://3"])
def test_a_socket_that_systemd_socket_activate_passes_is_taken(bind: str) -> None:
    port = free_port()
    serve = [sys.executable, "-m", "actors", "serve", "systemd_apps:app", "--bind", bind]
    activate = shutil.which("systemd-socket-activate") or ""
    keep = [f"--setenv={name}" for name in ("PYTHONPATH", "XDG_RUNTIME_DIR", "PATH")]
    process = subprocess.Popen(
        [activate, f"--listen=127.0.0.1:{port}", "--fdname=http", *keep, *serve],
        cwd=HERE,
        env=environment(Path("/tmp")),
        stderr=subprocess.DEVNULL,
    )
    try:
        assert eventually(lambda: _listens(port))
        assert eventually(lambda: _answer(port)).startswith("web/")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


def _answer(port: int) -> str:
    """Return an answer; none if the connection is reset that has started the service."""
    try:
        return get(port)
    except OSError:
        return ""


def _listens(port: int) -> bool:
    hexed = f"0100007F:{port:04X} 00000000:0000 0A"
    return hexed in Path("/proc/net/tcp").read_text()
