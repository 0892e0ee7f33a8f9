"""What the kernel says of a process is read whatever the process calls itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from actors._base.process_stat import process_stat

NAMED = (
    "import sys; open('/proc/self/comm', 'wb').write({name!r}); print(flush=True); sys.stdin.read()"
)


@pytest.mark.parametrize("name", [b"a b", b") S 1 (", b"actors:abcdefg\xc3", b"\xff\xfe"])
def test_a_name_may_be_any_bytes(name: bytes) -> None:
    command = [sys.executable, "-c", NAMED.format(name=name)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert Path(f"/proc/{process.pid}/comm").read_bytes() == name + b"\n"
        state, parent, group, session = process_stat(process.pid)[:4]
        process.kill()
    assert state in {"R", "S"}
    assert (int(parent), int(group)) == (os.getpid(), os.getpgrp())
    assert int(session) == os.getsid(0)


def test_a_thread_has_its_own() -> None:
    assert process_stat(f"self/task/{os.getpid()}")[1] == str(os.getppid())


def test_a_process_that_has_ended_is_an_os_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    with pytest.raises(FileNotFoundError):
        process_stat(process.pid)
