"""The folder of control sockets: one user's alone, and swept of what the dead left."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from actors._base.control_folder import (
    BadFolder,
    control_folder,
    control_sockets,
    make_folder,
    remove_stale_sockets,
    socket_path,
)
from tests.cli.running_command import run_here, running, sockets as names


def test_it_is_in_the_runtime_folder_or_in_tmp_under_the_users_number(
    runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    assert control_folder() == runtime / "actors"
    fallback = Path(f"/tmp/actors-{os.geteuid()}")
    for unusable in ("", "relative", str(runtime / "missing")):
        monkeypatch.setenv("XDG_RUNTIME_DIR", unusable)
        assert control_folder() == fallback


def test_it_is_made_for_its_user_alone_and_making_it_again_changes_nothing(runtime: Path) -> None:
    folder = runtime / "actors"
    for _ in range(2):
        make_folder(folder)
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o707, 0o777])
def test_a_folder_that_others_may_enter_is_refused_and_left_alone(runtime: Path, mode: int) -> None:
    folder = runtime / "actors"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(BadFolder, match=f"{folder} has mode {mode:04o}, so that others can"):
        make_folder(folder)
    assert folder.stat().st_mode & 0o777 == mode
    code, _, err = run_here(runtime, "ps")
    assert code == 1
    assert "set XDG_RUNTIME_DIR to a folder that is yours alone" in err


def test_a_link_or_a_file_in_its_place_is_refused(runtime: Path) -> None:
    folder = runtime / "actors"
    (runtime / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(runtime / "elsewhere")
    with pytest.raises(BadFolder, match="is no directory"):
        make_folder(folder)
    folder.unlink()
    folder.write_text("")
    with pytest.raises(BadFolder, match="is no directory"):
        make_folder(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(runtime: Path) -> None:
    folder = runtime / "actors"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    with pytest.raises(BadFolder, match=r"belongs to uid 65534, not to you \(uid 0\)"):
        make_folder(folder)


def test_a_path_too_long_for_sockets_is_refused_by_its_length(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    with pytest.raises(BadFolder, match=r"is too long for a socket path \(\d+ of 107 bytes\)"):
        make_folder(folder)


def _listening(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    return sock


def _dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_sockets_of_dead_processes_that_nobody_answers_are_stale(runtime: Path) -> None:
    folder = runtime / "actors"
    make_folder(folder)
    dead, answered = _dead_pid(), _dead_pid()
    assert dead != answered
    _listening(socket_path(folder, dead)).close()
    _listening(socket_path(folder, os.getpid())).close()
    (folder / "notes.txt").touch()
    with _listening(socket_path(folder, answered)):
        remove_stale_sockets(folder)
        assert {pid for pid, _, _ in control_sockets(folder)} == {answered, os.getpid()}
        assert (folder / "notes.txt").exists()


def test_what_a_killed_system_left_is_passed_over_and_removed_at_the_next_start(
    runtime: Path, no_leaks: None
) -> None:
    with running(runtime, "run", "topologies:small") as killed:
        assert killed.end(signal.SIGKILL) == -signal.SIGKILL
        assert killed.nodes_have_ended()
    assert names(runtime) == [f"{killed.pid}.sock"]
    assert run_here(runtime, "ps")[0] == 3
    with running(runtime, "run", "topologies:small") as system:
        assert names(runtime) == [f"{system.pid}.sock"]
        assert system.end(signal.SIGTERM) == 0
    assert names(runtime) == []
