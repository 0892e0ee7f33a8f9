"""Starts one process of a program: a session of its own, two pipes, and an end that is tied to the system's.

Rule 1: it runs in the programs' thread, as starting a process blocks for milliseconds.
Rule 2: when the system's process ends in any way, the kernel kills the process group; see `end_with`.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from actors.nodes import end_with, sweep_and_reap
from actors.programs.account import Account
from actors.programs.control_group import ControlGroup

__all__ = ["SpawnedProcess", "spawn"]


@dataclass(slots=True)
class SpawnedProcess:
    """A process that runs, or has ended and is not reaped.

    Attributes:
        pid: its number, which is that of its group and session, too.
        pidfd: readable when it has ended.
        stdout: the end of a pipe from which its output is read.
        stderr: the same for its errors.
        tied: what ends it with this process.
        popen: what has started it.
        group: its control group, if it has one.
        reaped: whether it was: then its numbers may be those of others.
    """

    pid: int
    pidfd: int
    stdout: int
    stderr: int
    tied: tuple[socket.socket, socket.socket]
    popen: subprocess.Popen[bytes]
    group: ControlGroup | None = None
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
        self.popen.returncode = 0 if code is None else code  # or it would warn
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
    confine: Callable[[int], ControlGroup | None] | None = None,
) -> SpawnedProcess:
    """Start a process.

    Args:
        command: its arguments.
        env: its whole environment.
        cwd: its folder; None is this process's own.
        account: who it runs as; None is who this process runs as.
        confine: called with its number as soon as it runs, to limit it; returns its control group.

    Raises:
        OSError: it cannot be executed, or there is no room for it.
    """
    with ExitStack() as near, ExitStack() as far:
        out, err = _pipe(near, far), _pipe(near, far)
        tied = socket.socketpair()
        for end in tied:
            near.callback(end.close)
        popen = subprocess.Popen(  # noqa: S603 - what the user wrote down, and no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=out[1],
            stderr=err[1],
            env=env,
            cwd=cwd,
            start_new_session=True,
            user=None if account is None else account.user,
            group=None if account is None else account.group,
            extra_groups=None if account is None else account.groups,
        )
        near.callback(_end, popen)
        # Whichever of the two this process closes first at its end, the other one's owner is signalled.
        for end in tied:
            end_with(end, popen.pid)
        group = None if confine is None else confine(popen.pid)
        pidfd = os.pidfd_open(popen.pid)
        near.pop_all()
    return SpawnedProcess(popen.pid, pidfd, out[0], err[0], tied, popen, group)


def _pipe(near: ExitStack, far: ExitStack) -> tuple[int, int]:
    read, write = os.pipe()
    near.callback(os.close, read)
    far.callback(os.close, write)
    return read, write


def _end(popen: subprocess.Popen[bytes]) -> None:
    popen.kill()
    popen.wait()
