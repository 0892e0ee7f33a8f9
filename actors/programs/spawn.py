"""Starts one process of a program: a session of its own, two pipes, and an end that is tied to the system's.

Rule 1: it runs in the programs' threads, as starting a process blocks for milliseconds.
Rule 2: when the system's process ends in any way, the kernel kills the process group; see `end_with`.
Rule 3: `_speedups.c` starts it where that is compiled, else `subprocess`, which holds the interpreter's lock.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Final

from actors._extensions import load
from actors.nodes import end_with, sweep_and_reap
from actors.programs.account import Account
from actors.programs.control_group import ControlGroup

__all__ = ["SpawnedProcess", "spawn"]

_COMPILED: Final[Any] = getattr(load("actors.programs._speedups"), "spawn", None)
"""The function in C; None where nobody compiled it, or it does not know the system."""
_FIRST_FREE: Final = 3
"""The first descriptor that is none of the three standard ones."""


@dataclass(slots=True)
class SpawnedProcess:
    """A process that runs, or has ended and is not reaped.

    Attributes:
        pid: its number, which is that of its group and session, too.
        pidfd: readable when it has ended.
        stdout: the end of a pipe from which its output is read.
        stderr: the same for its errors.
        tied: what ends it with this process.
        group: its control group, if it has one.
        born_in_group: whether it was in that from its first moment.
        reaped: whether it was: then its numbers may be those of others.
    """

    pid: int
    pidfd: int
    stdout: int
    stderr: int
    tied: tuple[socket.socket, socket.socket]
    group: ControlGroup | None = None
    born_in_group: bool = False
    reaped: bool = False

    def signal(self, number: int) -> None:
        """Send a signal to the process itself, not to its group."""
        if self.reaped:
            return
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except (ProcessLookupError, PermissionError):
            return  # it has ended, which the pidfd reports next

    def kill(self) -> None:
        """Kill its whole group."""
        if self.reaped:
            return
        self.signal(signal.SIGKILL)
        if self.group is not None:
            self.group.kill()
        try:
            os.killpg(self.pid, signal.SIGKILL)  # not reaped, so the number is still its own
        except (ProcessLookupError, PermissionError):
            return

    def reap(self) -> int | None:
        """Kill what is left of its group, reap it, and release all but the pipes.

        Returns:
            Its exit code or minus its signal, None if code of the user's has reaped it.
        """
        code = sweep_and_reap(self.pid, self.pidfd)
        self.reaped = True
        os.close(self.pidfd)
        for end in self.tied:
            end.close()
        return code

    def end(self) -> None:
        """Kill and reap it, because nobody owns it."""
        self.kill()
        self.reap()
        os.close(self.stdout)
        os.close(self.stderr)
        if self.group is not None:
            self.group.remove()


def spawn(
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: str | None,
    account: Account | None,
    group: ControlGroup | None = None,
) -> SpawnedProcess:
    """Start a process.

    Args:
        command: its arguments.
        env: its whole environment.
        cwd: its folder; None is this process's own.
        account: who it runs as; None is who this process runs as.
        group: the control group it is to be in.

    Raises:
        OSError: it cannot be executed, or there is no room for it.
    """
    with ExitStack() as near, ExitStack() as far:
        out, err = _pipe(near, far), _pipe(near, far)
        tied = socket.socketpair()
        for end in tied:
            near.callback(end.close)
        files = (_devnull(far), _above(out[1], far), _above(err[1], far))
        pid, pidfd, in_group = _started(command, env, cwd, account, group, files)
        near.callback(_end, pid, pidfd)
        # Whichever of the two this process closes first at its end, the other one's owner is signalled.
        for end in tied:
            end_with(end, pid)
        born_in_group = in_group
        if group is not None and not in_group:
            in_group = _moved(group, pid)
        near.pop_all()
    own = group if in_group else None
    return SpawnedProcess(pid, pidfd, out[0], err[0], tied, own, born_in_group)


def _started(
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: str | None,
    account: Account | None,
    group: ControlGroup | None,
    files: tuple[int, int, int],
) -> tuple[int, int, bool]:
    """Start it; return its number, its pidfd, and whether it is in the group already."""
    if _COMPILED is not None:
        made = _started_in_c(command, env, cwd, account, group, files)
        if made is not None:
            return (*made, group is not None)
    pid = _started_by_subprocess(command, env, cwd, account, files)
    return pid, os.pidfd_open(pid), False


def _started_in_c(
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: str | None,
    account: Account | None,
    group: ControlGroup | None,
    files: tuple[int, int, int],
) -> tuple[int, int] | None:
    """Start it; return its number and its pidfd, or None if the kernel makes no processes in this way."""
    name = command[0]
    paths = [name] if "/" in name else [f"{part}/{name}" for part in os.get_exec_path(env)]
    folder = -1 if group is None else group.open()
    try:
        pid, pidfd, error, in_cwd = _COMPILED(
            tuple(map(os.fsencode, paths)),
            tuple(map(os.fsencode, command)),
            tuple(os.fsencode(f"{variable}={value}") for variable, value in env.items()),
            None if cwd is None else os.fsencode(cwd),
            files,
            None if account is None else (account.user, account.group, account.groups),
            folder,
        )
    finally:
        if folder >= 0:
            os.close(folder)
    if error and pid == 0:
        raise OSError(error, os.strerror(error), cwd if in_cwd else name)
    return None if error else (pid, pidfd)


def _started_by_subprocess(
    command: Sequence[str],
    env: Mapping[str, str],
    cwd: str | None,
    account: Account | None,
    files: tuple[int, int, int],
) -> int:
    """Start it; return its number."""
    import subprocess  # noqa: PLC0415 - where the other way works, nothing needs it

    popen = subprocess.Popen(  # noqa: S603 - what the user wrote down, and no shell
        command,
        stdin=files[0],
        stdout=files[1],
        stderr=files[2],
        env=env,
        cwd=cwd,
        start_new_session=True,
        user=None if account is None else account.user,
        group=None if account is None else account.group,
        extra_groups=None if account is None else account.groups,
    )
    popen.returncode = 0  # who waits for it is not this object, which would warn
    return popen.pid


def _moved(group: ControlGroup, pid: int) -> bool:
    """Move a process into a group; without one it runs, too."""
    try:
        group.add(pid)
    except OSError:
        group.remove()
        return False
    return True


def _pipe(near: ExitStack, far: ExitStack) -> tuple[int, int]:
    read, write = os.pipe()
    near.callback(os.close, read)
    far.callback(os.close, write)
    return read, write


def _devnull(far: ExitStack) -> int:
    opened = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    far.callback(os.close, opened)
    return _above(opened, far)


def _above(descriptor: int, far: ExitStack) -> int:
    """Return a descriptor that none of the three of the program will be put over."""
    if descriptor >= _FIRST_FREE:
        return descriptor
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE)
    far.callback(os.close, copy)
    return copy


def _end(pid: int, pidfd: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):  # code of the user's reaps all children
        os.waitpid(pid, 0)
    os.close(pidfd)
