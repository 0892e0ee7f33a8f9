"""How a process of a program begins, in C and by `subprocess`: the same for the program."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from actors.programs import spawn as spawning
from actors.programs.account import Account
from actors.programs.control_group import SystemGroup, open_system_group
from actors.programs.spawn import SpawnedProcess, spawn

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture(params=["C", "subprocess"], autouse=True)
def twin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "subprocess":
        monkeypatch.setattr(spawning, "_COMPILED", None)
    elif spawning._COMPILED is None:
        pytest.skip("nobody compiled the extension, or it does not know this system")
    return str(request.param)


ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "WHO": "caf\udce9"}


def said(
    command: Sequence[str], cwd: str | None = None, account: Account | None = None
) -> tuple[str, int | None]:
    """Return what a command printed, and its exit code or minus its signal."""
    process = spawn(command, ENV, cwd, account)
    return _read(process.stdout), _ended(process)


def _read(fd: int) -> str:
    data = b""
    while piece := os.read(fd, 65536):
        data += piece
    return data.decode(errors="surrogateescape")


def _ended(process: SpawnedProcess) -> int | None:
    select.select([process.pidfd], [], [], 20)
    code = process.reap()
    os.close(process.stdout)
    os.close(process.stderr)
    return code


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-E", "-c", code]


def test_a_program_has_its_arguments_its_folder_and_only_its_environment(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd(), sys.argv[1:], sorted(os.environ), os.environ['WHO'])"
    text, end = said([*python(code), "a b", ""], str(tmp_path))
    names = [*sorted(ENV), "LC_CTYPE"] if "LC_CTYPE" in text else sorted(ENV)
    assert (text.strip(), end) == (f"{tmp_path} ['a b', ''] {sorted(names)} caf\udce9", 0)


def test_a_name_is_looked_for_in_the_path_of_the_program() -> None:
    assert said(["true"]) == ("", 0)
    assert said(["false"]) == ("", 1)


def test_a_program_leads_a_session_and_inherits_nothing_but_its_three_descriptors() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.set_inheritable(True)
        code = (
            "import os; print(os.getsid(0) == os.getpgrp() == os.getpid(), "
            "[fd for fd in range(3, 256) if os.path.exists(f'/proc/self/fd/{fd}')], os.read(0, 1))"
        )
        assert said(python(code)) == ("True [] b''\n", 0)


def test_a_program_has_the_signals_that_a_shell_would_give_it() -> None:
    """Python ignores SIGPIPE, and the program shall not; handlers are not inherited."""
    code = (
        "import signal as s; print([n.name for n in s.valid_signals() if isinstance(n, s.Signals) "
        "and s.getsignal(n) is s.SIG_IGN], s.pthread_sigmask(s.SIG_BLOCK, []))"
    )
    command = [sys.executable, "-S", "-E", "-c", f"{code}"]
    was = signal.signal(signal.SIGUSR1, lambda *_: None)
    try:
        text, end = said(command)
    finally:
        signal.signal(signal.SIGUSR1, was)
    # The new Python ignores two of these again; who runs these tests may have had others ignored.
    ignored = [one for one in signal.Signals if signal.getsignal(one) is signal.SIG_IGN]
    names = [one.name for one in sorted({*ignored, signal.SIGPIPE, signal.SIGXFSZ})]
    assert (text, end) == (f"{names} set()\n", 0)
    shell = "trap - PIPE; kill -s PIPE $$; echo still here"
    assert said(["/bin/sh", "-c", shell]) == ("", -signal.SIGPIPE)


@pytest.mark.parametrize(
    "command, cwd, error",
    [
        (["/nowhere/at/all"], None, "[Errno 2] No such file or directory: '/nowhere/at/all'"),
        (["nobody-has-this"], None, "[Errno 2] No such file or directory: 'nobody-has-this'"),
        (["/etc/passwd"], None, "[Errno 13] Permission denied: '/etc/passwd'"),
        (["/bin/true"], "/nowhere", "[Errno 2] No such file or directory: '/nowhere'"),
    ],
)
def test_what_cannot_be_executed_is_an_error_and_no_process(
    command: list[str], cwd: str | None, error: str
) -> None:
    with pytest.raises(OSError, match=re.escape(error)):
        spawn(command, ENV, cwd, None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start programs as another user")
def test_a_program_runs_as_its_account() -> None:
    text, _ = said(["/usr/bin/id"], account=Account(65534, 65533, (65533, 7), {}))
    assert "uid=65534" in text
    assert "gid=65533" in text
    assert "7(" in text.partition("groups=")[2]


def test_a_program_is_in_its_control_group_from_its_first_moment_in_c(twin: str) -> None:
    made = open_system_group(frozenset())
    if not isinstance(made, SystemGroup):
        pytest.skip(made)
    group = made.make("api.0", None, None)
    process = spawn(["/bin/cat", "/proc/self/cgroup"], ENV, None, None, group)
    assert process.group is group
    assert process.born_in_group is (twin == "C")
    text = _read(process.stdout)
    _ended(process)
    group.remove()
    made.close()
    assert twin != "C" or "/api.0" in text


def test_many_threads_start_programs_at_once() -> None:
    codes: list[int | None] = []

    def start() -> None:
        codes.extend(said(["/bin/sh", "-c", f"exit {number}"])[1] for number in range(20))

    _in_threads(start, 8)
    assert sorted(code for code in codes if code is not None) == sorted(list(range(20)) * 8)


def _in_threads(act: Callable[[], None], count: int) -> None:
    threads = [threading.Thread(target=act) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
