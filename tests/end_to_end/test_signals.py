"""How a system ends: when it is asked to, and when its parent is killed."""

import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.chat_clients import Client, present
from tests.end_to_end.server_process import ServerProcess

FAMILY = 5
"""The system itself, its template, a node with the database, two for the web."""


def start(folder: Path) -> ServerProcess:
    return ServerProcess("run", "examples.chat:topology", "--nodes", "web=2", folder=folder, env={})


def relatives(folder: Path) -> list[psutil.Process]:
    """Return every process that was started with this folder's database, whoever its parent is."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("CHAT_DB") == str(folder / "chat.sqlite3"):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def segments() -> set[Path]:
    """Return all shared memory there is."""
    return set(Path("/dev/shm").iterdir())


def sockets(folder: Path) -> list[Path]:
    """Return the control sockets in *folder*."""
    return list((folder / "actors").iterdir())


@pytest.mark.parametrize(
    "number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 0)], ids=["SIGINT", "SIGTERM"]
)
async def test_a_signal_ends_everything_cleanly_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    before = segments()
    with start(tmp_path) as served:
        assert len(relatives(tmp_path)) == FAMILY
        member = Client(served, "lobby", "member")
        async with present(member):
            served.process.send_signal(number)
            await member.until(lambda client: bool(client.codes))
            assert member.codes[0] == 1012
            await served.hears("system stopped")
        assert served.process.wait(10) == code
        assert [fact["why"] for fact in served.facts if fact["event"] == "node ended"] == [
            "exit code 0"
        ] * 3
    assert relatives(tmp_path) == []
    assert sockets(tmp_path) == []
    assert segments() <= before
    with pytest.raises(ConnectionRefusedError):
        served.connect()


async def test_a_second_signal_ends_it_at_once_and_leaves_no_process(tmp_path: Path) -> None:
    with start(tmp_path) as served:
        family = relatives(tmp_path)
        member = Client(served, "lobby", "member")
        async with present(member):
            other = {"web/0": "web/1", "web/1": "web/0"}[member.nodes[0]]
            served.signal(other, signal.SIGSTOP)  # so that a clean end takes its time
            served.process.send_signal(signal.SIGINT)
            await member.until(lambda client: bool(client.codes))
            served.process.send_signal(signal.SIGINT)
            assert served.process.wait(2) == -signal.SIGINT
        _, alive = psutil.wait_procs(family, timeout=2)
        assert alive == []


def test_kill_9_of_the_parent_leaves_no_process_after_two_seconds(tmp_path: Path) -> None:
    with start(tmp_path) as served:
        family = relatives(tmp_path)
        assert len(family) == FAMILY
        served.signal("web/0", signal.SIGSTOP)
        served.process.kill()
        _, alive = psutil.wait_procs(family, timeout=2)
        assert alive == []
        served.process.wait()


def test_the_next_start_removes_the_stale_control_socket(tmp_path: Path) -> None:
    with start(tmp_path) as first:
        stale = first.wait_for("control socket")["path"]
        first.process.kill()
        first.process.wait()
        assert Path(stale).exists()
    with start(tmp_path) as second:
        assert second.wait_for("control socket")["path"] != stale
        assert not Path(stale).exists()


def test_a_port_in_use_is_one_clear_error(tmp_path: Path) -> None:
    with start(tmp_path) as served:
        second = subprocess.run(
            served.process.args,
            env=served.env,
            cwd=served.cwd,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert second.returncode == 1
    assert f"127.0.0.1:{served.port}" in second.stderr.splitlines()[-1]
    assert "Traceback" not in second.stderr
