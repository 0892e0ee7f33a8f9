"""The fork server, seen from its system: a process that has imported everything and forks nodes.

Rule 1: every wait for it has a deadline, and nodes start without it if it fails; only what the user asked
it to import (`nodes(preload=)`) must not fail.
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

from actors._base.signal_name import signal_name
from actors.nodes.boot.descriptors import end_with
from actors.nodes.boot.launch import Launch, LaunchContext, Started, popen_of
from actors.nodes.boot.preload import Preloaded, PreloadFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ANSWER", "FORK_SERVER_MODULE", "HEAD", "ForkServer"]

FORK_SERVER_MODULE: Final = "actors.nodes.boot.fork_server_main"
HEAD: Final = struct.Struct("<I")
"""The length of a request, or of what the fork server says when it is ready."""
ANSWER: Final = struct.Struct("<iiii")
"""A process number or minus an error number; then link, lifeline and log as it has them."""
_BOOT: Final = 10.0
"""Seconds it may take to import everything; a busy machine takes one."""
_ENDING: Final = 0.5
"""Seconds until the end of a process that has closed its socket is known."""
_PATIENCE: Final = 5.0
"""Seconds it may take to fork; a busy machine takes a tenth of one, unless it has more to import."""


class ForkServer:
    """One fork server process; it is used while a new process would have the same `context`."""

    def __init__(
        self, context: LaunchContext, command: list[str], launch: Launch, env: Mapping[str, str]
    ) -> None:
        """Start the process that *launch* is to be forked from; it is not ready yet.

        Raises:
            OSError: the system has no room for it.
        """
        self.context = context
        self.found: Preloaded = Preloaded()
        """What its imports have left there, once it is ready."""
        self.ready = False
        """Whether `wait_ready` has seen it get ready."""
        self.module = launch.module
        """The program of its forks."""
        self._preload = launch.preload
        self._within = launch.within if launch.preload else _BOOT
        self._socket, theirs = socket.socketpair()
        try:
            self._popen = popen_of(
                [*command, str(theirs.fileno()), launch.module, *launch.preload],
                fds=(theirs.fileno(),),
                # What keeps it from starting keeps a node from starting as well, and that is reported.
                # What the user's modules print is output of the first node.
                output=launch.output if launch.preload else subprocess.DEVNULL,
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
        """Wait until it can fork, which fills `found`; return whether it got ready.

        Raises:
            PreloadFailed: it cannot import what it has to.
        """
        until = time.monotonic() + self._within
        head = self._read(HEAD.size, until)
        body = self._read(HEAD.unpack(head)[0], until) if head else b""
        if body:
            found = json.loads(body)
            if "why" in found:
                raise PreloadFailed(found["why"], found["stack"])
            self.found = Preloaded(**found)
            self.ready = True
            return True
        if self._preload:
            raise PreloadFailed(
                f"preload of {', '.join(map(repr, self._preload))} {self._failure()}"
            )
        return False

    def _failure(self) -> str:
        """Return how its imports failed, if it did not say so itself."""
        with suppress(subprocess.TimeoutExpired):  # it has closed its socket, or still imports
            code = self._popen.wait(_ENDING)
            ended = f"exit code {code}" if code >= 0 else f"killed by {signal_name(-code)}"
            return f"failed: the importing process ended: {ended}"
        return f"took more than {self._within:g} s (boot_timeout)"

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
            # As bytes: it may have been started in another locale, in which they are other letters, or none.
            "env": {
                os.fsencode(name).decode("latin-1"): os.fsencode(value).decode("latin-1")
                for name, value in launch.environment().items()
            },
            "title": launch.title,
            "imports": launch.imports,
        }
        body = json.dumps(facts).encode()
        self._socket.settimeout(_PATIENCE)
        fds = [launch.link, launch.lifeline, launch.log, launch.output, cwd]
        socket.send_fds(self._socket, [HEAD.pack(len(body))], fds)
        self._socket.sendall(body)

    def _answer(self, seconds: float) -> bytes:
        """Read one answer; return nothing at end-of-file or after the deadline."""
        return self._read(ANSWER.size, time.monotonic() + seconds)

    def _read(self, size: int, deadline: float) -> bytes:
        """Read *size* bytes; return nothing at end-of-file or after the deadline."""
        data = b""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while len(data) < size:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return b""
            try:
                chunk = self._socket.recv(size - len(data))
            except OSError:
                return b""
            if not chunk:
                return b""
            data += chunk
        return data

    @property
    def fileno(self) -> int:
        """The descriptor that it is asked by."""
        return self._socket.fileno()

    @property
    def has_user_code(self) -> bool:
        """Whether it has imported what the user named."""
        return bool(self._preload)

    @property
    def ended(self) -> bool:
        """Whether its process has ended."""
        return self._popen.poll() is not None

    def kill(self) -> None:
        """End it now; from any thread."""
        with suppress(ProcessLookupError):
            self._popen.kill()

    def close(self) -> None:
        """Kill and reap it; it has no state to lose."""
        self._socket.close()
        self.kill()
        self._popen.wait()
