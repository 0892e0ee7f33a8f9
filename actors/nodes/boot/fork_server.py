"""The fork server, seen from its system: a process that has imported everything and forks nodes.

Rule 1: every wait for it has a deadline, and nodes start without it if it fails.
Rule 2: a forked node reports its own pid, so that none exists that the system does not know.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from actors.nodes.boot.descriptors import end_with
from actors.nodes.boot.launch import Launch, LaunchContext, Started, popen_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ANSWER", "FORK_SERVER_MODULE", "HEAD", "READY", "ForkServer"]

FORK_SERVER_MODULE: Final = "actors.nodes.boot.fork_server_main"
HEAD: Final = struct.Struct("<I")
"""The length of a request."""
ANSWER: Final = struct.Struct("<iiii")
"""A process number or minus an error number; then link, lifeline and log as it has them."""
READY: Final = ANSWER.pack(0, 0, 0, 0)
_BOOT: Final = 10.0
"""Seconds it may take to import everything; a busy machine takes one."""
_PATIENCE: Final = 5.0
"""Seconds it may take to fork; a busy machine takes a tenth of one, unless it has more to import."""


class ForkServer:
    """One fork server process; it is used while a new process would have the same `context`."""

    def __init__(
        self, context: LaunchContext, command: list[str], module: str, env: Mapping[str, str]
    ) -> None:
        """Start the process; it is not ready yet.

        Raises:
            OSError: the system has no room for it.
        """
        self.context = context
        self._socket, theirs = socket.socketpair()
        try:
            self._popen = popen_of(
                [*command, str(theirs.fileno()), module],
                fds=(theirs.fileno(),),
                # What keeps it from starting keeps a node from starting as well, and that is reported.
                output=subprocess.DEVNULL,
                env=env,
            )
            # From its first instruction on, whatever program this turns out to be.
            with suppress(OSError):  # it has ended
                end_with(theirs, self._popen.pid)
        except BaseException:
            self._socket.close()
            raise
        finally:
            theirs.close()
        self._socket.setblocking(False)

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._popen.pid

    def wait_ready(self) -> bool:
        """Wait until it can fork; return whether it got ready."""
        return self._answer(_BOOT) == READY

    def fork(self, launch: Launch) -> Started | None:
        """Have a node forked; return None if the process has ended or is stuck.

        Raises:
            OSError: the system has no room for another process, or refuses.
        """
        cwd = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._request(launch, cwd)
        except OSError:
            pass  # it has ended, or never reads: then there is no answer below
        finally:
            os.close(cwd)
        answer = self._answer(_PATIENCE)
        if not answer:
            # It is stuck or has ended. A child that it forked answers, or closes its copy of the socket.
            self.kill()
            answer = self._answer(_PATIENCE)
        if not answer:
            return None
        pid, link, lifeline, log = ANSWER.unpack(answer)
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        return Started(pid, link, lifeline, log)

    def _request(self, launch: Launch, cwd: int) -> None:
        facts = {
            "env": launch.environment(),
            "title": launch.title,
            "preload": launch.preload,
        }
        body = json.dumps(facts).encode()
        self._socket.settimeout(_PATIENCE)
        fds = [launch.link, launch.lifeline, launch.log, launch.output, cwd]
        socket.send_fds(self._socket, [HEAD.pack(len(body))], fds)
        self._socket.sendall(body)

    def _answer(self, seconds: float) -> bytes:
        """Read one answer; return nothing at end-of-file or after the deadline."""
        data = b""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while len(data) < ANSWER.size:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return b""
            try:
                chunk = self._socket.recv(ANSWER.size - len(data))
            except OSError:
                return b""
            if not chunk:
                return b""
            data += chunk
        return data

    def kill(self) -> None:
        """End it now; from any thread."""
        with suppress(ProcessLookupError):
            self._popen.kill()

    def close(self) -> None:
        """Kill and reap it; it has no state to lose."""
        self._socket.close()
        self.kill()
        self._popen.wait()
