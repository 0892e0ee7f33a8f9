"""What the container guide says, in namespaces such as containers have: process 1, read-only files, limits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.cli import running_command
from tests.cli.running_command import HERE, Running, command, environment
from tests.namespaces import why_no_namespaces

READ_ONLY = (
    "for at in /tmp /var/tmp /run /dev/shm; do mount --bind $at $at; mount -o remount,ro,bind $at; done; "
    "mount -o remount,ro,bind /"
)
"""As with `docker run --read-only`: nothing can be written, not even in /tmp."""
RUN = "; mount -t tmpfs -o mode=755 none /run"
PATIENCE = 90.0
"""Nothing of what a container starts is in memory already."""
NOBODY = "65534"
AS_NOBODY = [
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    # The interpreter of a test may be in a folder of root's.
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
]


WHY_NOT = why_no_namespaces("--mount", "--pid", "--fork", "--mount-proc")
pytestmark = [
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "none"),
    pytest.mark.timeout(400),
]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_command, "PATIENCE", PATIENCE)


class Container(Running):
    """A command that is process 1 of a namespace."""

    def __init__(self, process: subprocess.Popen[bytes], runtime: Path) -> None:
        super().__init__(process, runtime)
        self.runtime = runtime

    @property
    def first(self) -> int:
        """The number of its process 1, as it is outside."""
        children = psutil.Process(self.process.pid).children()
        assert len(children) == 1, children
        return children[0].pid

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal to process 1, as `docker stop` does, and wait for the end; return the exit code."""
        if number is not None:
            os.kill(self.first, number)
        return super().end()

    def close(self) -> None:
        """End it; the kernel does not end with its parent what has become another user."""
        if self.process.poll() is None:
            for one in psutil.Process(self.process.pid).children():
                with suppress(psutil.NoSuchProcess):
                    one.kill()
        super().close()

    def inside(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a program in the container, as `docker exec` does."""
        return subprocess.run(
            [
                shutil.which("nsenter") or "",
                "--target",
                str(self.first),
                "--mount",
                "--pid",
                "--",
                "setsid",
                "--wait",
                *words,
            ],
            cwd=HERE,
            env={**environment(self.runtime), **env},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


@contextmanager
def container(
    *arguments: str,
    before: str = ":",
    wrap: tuple[str, ...] | list[str] = (),
    env: dict[str, str] | None = None,
    ready: str = "system ready",
) -> Iterator[Container]:
    """Run `actors` as process 1 of a container, after the shell commands *before*, by *wrap*."""
    runtime = Path("/run")
    given = {**environment(runtime), **(env or {})}
    given = {key: value for key, value in given.items() if value != "-"}
    process = subprocess.Popen(
        [
            *("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"),
            *("sh", "-c", f'{before}; exec setsid "$@"', "sh", *wrap, *command(*arguments)),
        ],
        cwd=HERE,
        env=given,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    made = Container(process, runtime)
    try:
        if ready:
            made.event(ready)
        yield made
    finally:
        made.close()


def port_of(system: Running) -> int:
    return int(system.event("listening")["address"].rpartition(":")[2])


# -- process 1 -------------------------------------------------------------------------------------


def test_process_1_hears_sigterm_and_exits_with_0() -> None:
    with container("run", "topologies:good") as system:
        assert psutil.Process(system.first).ppid() == system.process.pid
        assert system.end(signal.SIGTERM) == 0
        system.event("system stopped")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_process_1_at_once_with_its_code(number: signal.Signals) -> None:
    serve = ("serve", "container_apps:app", "--shutdown", "600", "--bind", "127.0.0.1:0")
    with (
        container(*serve) as system,
        socket.create_connection(("127.0.0.1", port_of(system))) as client,
    ):
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        system.line("slow request")
        os.kill(system.first, number)
        system.event("system stopping")
        assert system.end(number) in {128 + number, -number}


def test_what_strangers_leave_behind_does_not_stay_a_zombie() -> None:
    with container("run", "topologies:good") as system:
        left = system.inside("sh", "-c", "sh -c 'exit 0' & sleep 0.01 & exec true")
        assert left.returncode == 0
        deadline = time.monotonic() + PATIENCE
        while _zombies(system.first):
            assert time.monotonic() < deadline
        assert system.end(signal.SIGTERM) == 0


def _zombies(parent: int) -> list[int]:
    """Return the children of a process that have ended and were not reaped."""
    found = []
    for one in psutil.Process(parent).children():
        with suppress(psutil.NoSuchProcess):  # it was reaped meanwhile
            if one.status() == psutil.STATUS_ZOMBIE:
                found.append(one.pid)
    return found


def test_what_cannot_start_has_its_exit_code() -> None:
    with container("run", "topologies:nothing_of_that_name", ready="") as system:
        assert system.end() == 2


def test_a_request_that_does_not_end_is_ended_after_the_shutdown_seconds() -> None:
    serve = ("serve", "container_apps:app", "--shutdown", "1", "--bind", "127.0.0.1:0")
    with (
        container(*serve) as system,
        socket.create_connection(("127.0.0.1", port_of(system))) as client,
    ):
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        system.line("slow request")
        assert system.end(signal.SIGTERM) == 0


# -- files -----------------------------------------------------------------------------------------


def test_where_nothing_can_be_written_a_system_serves_and_says_what_is_missing() -> None:
    env = {"XDG_RUNTIME_DIR": "-", "HOME": "-"}
    serve = ("serve", "container_apps:app", "--bind", "127.0.0.1:0")
    with container(*serve, before=READ_ONLY, env=env, ready="no control socket") as system:
        missing = system.event("no control socket")
        assert missing["level"] == "warning"
        assert "Read-only file system" in missing["why"]
        with socket.create_connection(("127.0.0.1", port_of(system))) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.makefile("rb").read().endswith(b"hello")
        assert system.end(signal.SIGTERM) == 0


def test_with_a_run_folder_commands_work_in_a_container_with_read_only_files() -> None:
    with container(
        "run", "topologies:good", before=READ_ONLY + RUN, ready="control socket"
    ) as system:
        assert system.event("control socket")["path"] == "/run/actors/1.sock"
        listed = system.inside(*command("ps", "--json"))
        assert listed.returncode == 0, listed.stderr
        assert json.loads(listed.stdout)["pid"] == 1
        assert system.end(signal.SIGTERM) == 0


def test_a_socket_where_nothing_can_be_written_is_one_error() -> None:
    serve = ("serve", "container_apps:app", "--bind", "unix:/tmp/shop.sock")
    with container(*serve, before=READ_ONLY, ready="") as system:
        assert system.end() == 1
    errors = [line for line in system.lines if line.startswith("actors serve: error: ")]
    assert len(errors) == 1, system.lines
    assert "/tmp/shop.sock" in errors[0]
    assert "Read-only file system" in errors[0]


# -- shared memory ---------------------------------------------------------------------------------

SHM = {
    "none": "umount --lazy /dev/shm; mount -t tmpfs -o ro none /dev/shm",
    "full": "mount -t tmpfs -o size=64k none /dev/shm; head -c 65536 /dev/zero >/dev/shm/full",
}


@pytest.mark.parametrize("shm", SHM)
def test_big_messages_need_no_dev_shm(shm: str) -> None:
    with container("run", "container_apps:arrays", before=SHM[shm]) as system:
        assert system.event("sent")["sums"] == [4 << 20] * 3
        assert system.end(signal.SIGTERM) == 0
    assert not [event for event in system.events if event["event"] == "node died"]


def test_where_shared_memory_cannot_be_had_big_messages_are_copied() -> None:
    # A file, and memory that is shared is one, may not be larger than 1 MiB.
    limited = ["prlimit", "--fsize=1048576"]
    with container("run", "container_apps:arrays", wrap=limited) as system:
        assert system.event("sent")["sums"] == [4 << 20] * 3
        assert system.end(signal.SIGTERM) == 0
    assert not [event for event in system.events if event["event"] == "node died"]


# -- users -----------------------------------------------------------------------------------------


def test_a_user_without_a_home_and_a_name_runs_a_system() -> None:
    env = {"HOME": "-", "USER": "-", "LOGNAME": "-", "XDG_RUNTIME_DIR": "-"}
    with container(
        "run",
        "topologies:good",
        wrap=AS_NOBODY,
        env=env,
        ready="control socket",
    ) as system:
        assert system.event("control socket")["path"] == f"/tmp/actors-{NOBODY}/1.sock"
        assert psutil.Process(system.first).uids().real == int(NOBODY)
        assert system.end(signal.SIGTERM) == 0


# -- limits ----------------------------------------------------------------------------------------


def _group_of(controller: str, limit: dict[str, str], limit_v1: dict[str, str]) -> Path | str:
    """Make a control group with a limit, of version 2 or 1; return it, or why there can be none."""
    two, one = Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup") / controller
    controllers = two / "cgroup.subtree_control"
    if controllers.exists() and controller in controllers.read_text().split():
        folder, values = two / f"limited-test-{os.getpid()}", limit
    elif one.is_dir() and (one / "cgroup.procs").exists():
        folder, values = one / f"limited-test-{os.getpid()}", limit_v1
    else:
        return f"there is no controller {controller!r} of control groups here"
    try:
        folder.mkdir()
        for name, value in values.items():
            (folder / name).write_text(value)
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        return f"no control group can be made here: {error}"
    return folder


@pytest.fixture
def group(request: pytest.FixtureRequest) -> Iterator[Path]:
    made = _group_of(*request.param)
    if isinstance(made, str):
        pytest.skip(made)
    yield made
    deadline = time.monotonic() + PATIENCE
    while made.exists():
        with suppress(OSError):  # a process of it has not ended yet
            made.rmdir()
        assert time.monotonic() < deadline


MEMORY = (
    "memory",
    {"memory.max": "150000000", "memory.swap.max": "0"},
    {"memory.limit_in_bytes": "150000000"},
)
HALF_A_CPU = (
    "cpu",
    {"cpu.max": "50000 100000"},
    {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"},
)


@pytest.mark.parametrize("group", [MEMORY], indirect=True)
def test_a_node_beyond_its_memory_is_restarted_and_the_parent_lives(
    group: Path, tmp_path: Path
) -> None:
    (tmp_path / "limited.py").write_text(
        "from actors import Topology, child, nodes\n"
        "from container_apps import Hoard\n"
        f"topology = Topology(nodes=[nodes('a', cgroup={str(group)!r}), nodes('b')],\n"
        "    children=[child(Hoard, name='hoard', on='a')])\n"
    )
    env = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{environment(Path('/run'))['PYTHONPATH']}"}
    with container(
        "run",
        "limited:topology",
        before="mount -t tmpfs none /run",
        env=env,
        ready="control socket",
    ) as system:
        small = system.inside(*command("ask", "hoard", "grow", str(8 << 20)), **env)
        assert small.stdout == f"{8 << 20}\n", small.stderr
        large = system.inside(*command("ask", "hoard", "grow", str(400 << 20)), **env)
        assert large.returncode == 1
        died = system.event("node died")
        assert died["why"].startswith("killed by SIGKILL, perhaps out of memory")
        assert died["node"] == "a/0"
        assert system.event("node ready", node="a/0", restarts=1)
        again = system.inside(*command("ask", "hoard", "grow", str(8 << 20)), **env)
        assert again.stdout == f"{8 << 20}\n", again.stderr
        assert system.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("group", [HALF_A_CPU], indirect=True)
def test_max_nodes_are_as_many_as_the_quota_has_cpus(group: Path) -> None:
    join = f"echo 0 > {group}/cgroup.procs"
    serve = ("serve", "container_apps:app", "--nodes", "max", "--bind", "127.0.0.1:0")
    with container(*serve, before=join) as system:
        ready = [event["node"] for event in system.events if event["event"] == "node ready"]
        assert ready == ["web/0"]
        assert system.end(signal.SIGTERM) == 0
