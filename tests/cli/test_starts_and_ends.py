"""What a service says while it starts, and how long its requests have when it ends."""

from __future__ import annotations

import math
import os
import signal
import threading
from http.client import HTTPConnection
from pathlib import Path

import anyio
import pytest

from actors._base.cpus import cpu_quota, usable_cpus
from actors._system.cpu_budget import cpu_budget
from actors._system.pool_spec import pool
from actors._system.topology import Topology
from actors.cli._parser import parse
from actors.cli.server.serve import serve_topology
from actors.cli.server.sources import Sources
from actors.nodes import nodes
from actors.routing import Asgi
from tests.cli.running_command import Running, error_of, run_command, run_here, running
from tests.cli.topologies import Greeter
from tests.routing.serving_nodes import run


class Request(threading.Thread):
    """A request that takes *seconds*; it has begun when the constructor returns."""

    def __init__(self, system: Running, seconds: float, begun: Path) -> None:
        super().__init__()
        host, _, port = str(system.event("listening")["address"]).partition(":")
        self._client = HTTPConnection(host, int(port), timeout=30)
        self._client.request("GET", f"/?s={seconds}&begun={begun}")
        self.answer = b""
        while not begun.exists():
            pass
        self.start()

    def run(self) -> None:
        try:
            self.answer = self._client.getresponse().read()
        except OSError as error:
            self.answer = repr(error).encode()
        self._client.close()


@pytest.mark.parametrize(
    "command",
    [
        ("run", "serve_topologies:slow_end"),
        ("serve", "serve_apps:app", "--nodes", "1", "--bind", "127.0.0.1:0", "--shutdown", "20"),
    ],
)
def test_a_request_has_the_shutdown_of_its_nodes_to_finish_at_the_end(
    runtime: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    with running(runtime, *command) as system:
        request = Request(system, 6.5, tmp_path / "begun")  # longer than the default
        assert system.end(signal.SIGTERM) == 0
        request.join()
        assert request.answer == b"slept"


def test_the_end_of_a_request_that_takes_longer_is_not_waited_for(
    runtime: Path, tmp_path: Path
) -> None:
    command = (
        "serve",
        "serve_apps:app",
        "--nodes",
        "1",
        "--bind",
        "127.0.0.1:0",
        "--shutdown",
        "1",
    )
    with running(runtime, *command) as system:
        request = Request(system, 3600, tmp_path / "begun")
        assert system.end(signal.SIGTERM) == 0
        request.join()
        assert b"slept" not in request.answer
        assert not any("Exception in ASGI" in line for line in system.lines)


def test_a_lifespan_that_hangs_is_reported_and_ends_the_start_by_name(runtime: Path) -> None:
    ended = run_command(runtime, "run", "serve_topologies:never_starts")
    assert ended.returncode == 1
    assert error_of(ended.stderr, "actors run") == (
        "node web/0 was not ready after 6 s (its boot_timeout): it has not started "
        "'serve_apps:never_starts' yet, which may hang in its import or lifespan"
    )
    assert '"event": "still starting"' in ended.stderr


def test_a_task_of_a_lifespan_that_asks_for_what_waits_for_the_lifespan_is_named(
    runtime: Path,
) -> None:
    said = "start waits for the system"
    with running(runtime, "run", "serve_topologies:awaits_its_start", ready=said) as system:
        event = system.event(said)
        assert event["child"] == "room"
        assert event["node"] == "web/0"
        assert event["advice"] == (
            "a task that the lifespan of 'tests.system.starting_apps:awaited_task_app' has started asks for "
            "it: there it must not be awaited"
        )
        system.end(signal.SIGTERM)


def test_a_lifespan_that_fails_at_the_end_is_one_error(runtime: Path) -> None:
    command = ("serve", "serve_apps:ends_badly", "--nodes", "1", "--bind", "127.0.0.1:0")
    with running(runtime, *command) as system:
        assert system.end(signal.SIGTERM) == 0
        failed = system.event("shutdown failed")
        assert "cannot close the pool" in failed["error"]
        assert not any("never retrieved" in line for line in system.lines)
        assert len([one for one in system.events if one["level"] == "error"]) == 1


def test_a_hangup_reloads_a_topology(runtime: Path) -> None:
    with running(runtime, "run", "topologies:good", ready="system ready") as system:
        system.event("control socket")
        system.process.send_signal(signal.SIGHUP)
        assert system.event("reload done", by="SIGHUP")["nodes"] == ["web/0", "web/1"]
        assert system.end(signal.SIGTERM) == 0


def test_a_group_can_have_as_many_nodes_as_there_are_cpus(runtime: Path) -> None:
    with running(runtime, "run", "topologies:small", "--nodes", "web=max") as system:
        assert system.event("system ready")["nodes"] == usable_cpus()


@pytest.mark.parametrize("path", ["/no/such/folder/s", "/proc/s"])
def test_a_bad_socket_path_is_told_before_nodes_boot(runtime: Path, path: str) -> None:
    ended = run_command(runtime, "serve", "serve_apps:app", "--bind", f"unix:{path}")
    assert ended.returncode == 1
    assert f"cannot listen on unix:{path}: " in error_of(ended.stderr, "actors serve")
    assert "node ready" not in ended.stderr


def test_an_application_that_writes_a_source_file_at_start_does_not_loop(
    runtime: Path, tmp_path: Path
) -> None:
    generated = tmp_path / "generated.py"
    (tmp_path / "shop.py").write_text("from serve_apps import generates as app\n")
    command = ("serve", "shop:app", "--nodes", "1", "--bind", "127.0.0.1:0", "--reload")
    with running(runtime, *command, env={"GENERATED": str(generated)}, cwd=tmp_path) as system:
        system.line("--reload: generated.py is written when the application starts; not followed")
        (tmp_path / "shop.py").write_text("from serve_apps import app\n")
        system.event("reload done", by="--reload (shop.py)")


def test_looking_for_changed_files_uses_at_most_two_percent_of_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    clock = iter(range(1000))
    monkeypatch.setattr("actors.cli.server.sources.time.thread_time", lambda: next(clock) / 10)

    def move_on_after(seconds: float) -> anyio.CancelScope:
        waited.append(seconds)
        (tmp_path / "a.py").touch()
        return anyio.CancelScope(deadline=-math.inf)

    monkeypatch.setattr("actors.cli.server.sources.anyio.move_on_after", move_on_after)

    async def test(_: object) -> None:
        assert await Sources([tmp_path]).changed() == [str(tmp_path / "a.py")]

    run("asyncio", test)
    assert waited == [pytest.approx(0.1 / 0.02)]  # a look took 0.1 s


def quota_file(root: Path, group: str, name: str, text: str) -> None:
    folder = root / "sys/fs/cgroup" / group
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def version_1(group: str, quota: str) -> dict[str, str]:
    return {f"{group}cpu.cfs_quota_us": quota, f"{group}cpu.cfs_period_us": "100000"}


@pytest.mark.parametrize(
    "lines, files, cpus",
    [
        ("0::/a/b", {}, float("inf")),
        ("0::/a/b", {"a/b/cpu.max": "max 100000"}, float("inf")),
        ("0::/a/b", {"a/b/cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, 0.5),
        ("0::/a/b", {"cpu.max": "200000 100000", "a/cpu.max": "300000 100000"}, 2.0),
        ("0::/of/the/host", {"cpu.max": "200000 100000"}, 2.0),
        ("2:cpu,cpuacct:/a", version_1("cpu,cpuacct/a/", "50000"), 0.5),
        ("2:cpu,cpuacct:/a", version_1("cpu/", "400000"), 4.0),
        ("2:cpu,cpuacct:/a", version_1("cpu/a/", "-1"), float("inf")),
        ("3:cpuset:/a\n0::/b", {"b/cpu.max": "100000 100000", "a/cpu.max": "1 100000"}, 1.0),
        ("0::/a", {"a/cpu.max": "nonsense"}, float("inf")),
        pytest.param("0::/\udcff\u2028b", {"\udcff\u2028b/cpu.max": "1 1"}, 1.0, id="any bytes"),
    ],
)  # fmt: skip
def test_the_quota_of_the_own_control_group_and_of_those_above_counts(
    tmp_path: Path, lines: str, files: dict[str, str], cpus: float
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_bytes(os.fsencode(lines + "\n"))
    for path, text in files.items():
        group, _, name = path.rpartition("/")
        quota_file(tmp_path, group, name, text)
    assert cpu_quota(tmp_path) == cpus


def test_threads_and_pools_count_for_the_budget() -> None:
    many = 2 * usable_cpus() + 1
    assert cpu_budget([nodes("web", count=1)]) is None
    threads = cpu_budget([nodes("thr", kind="thread", count=many)])
    assert threads is not None
    assert threads["groups"] == f"thr={many}"
    topology = Topology(children=[pool(Greeter, size=many)])
    pools = cpu_budget([], topology.pools)
    assert pools is not None
    assert pools["pools"] == f"greeter={many}"


def test_serve_gives_its_shutdown_to_its_nodes() -> None:
    made = serve_topology(parse(["serve", "p:a", "--shutdown", "12.5"]))
    assert made.nodes[0].shutdown == 12.5


def test_serve_passes_on_what_it_is_told_of_proxies() -> None:
    arguments = ["p:a", "--uds", "/run/s", "--uds-permissions", "660"]
    arguments += ["--forwarded-allow-ips", "unix"]
    made = serve_topology(parse(["serve", *arguments]))
    (listener,) = made.listeners
    assert listener.uds_permissions == 0o660
    assert isinstance(listener.handler, Asgi)
    assert (listener.path, listener.handler.forwarded_allow_ips) == ("p:a", "unix")


def test_the_mode_of_a_socket_is_octal(runtime: Path) -> None:
    wrong = run_here(runtime, "serve", "p:a", "--bind", "unix:/run/s", "--uds-permissions", "888")
    assert wrong[0] == 2
    assert "argument --uds-permissions: invalid mode value: '888'" in wrong[2]
