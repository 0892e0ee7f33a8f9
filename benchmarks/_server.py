"""Starts a server, ours or a peer's, waits until it answers, reads its CPU time, and ends it.

Rule 1: the server ends with the block it was started in, and with this process.
Rule 2: nothing here depends on what it serves.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = ["HOST", "Server", "server"]

HOST: Final = "127.0.0.1"
_PORT: Final = "{port}"
_BOOT_TIMEOUT: Final = 30.0
_END_TIMEOUT: Final = 15.0
_PAUSE: Final = 0.05
_FIELDS_BEFORE_STATE: Final = 2
"""Fields of /proc/PID/stat up to the closing bracket of the name."""
_PARENT: Final = 4
"""Number of the field, counted from 1."""


class Server:
    """A running server: its port and its processes."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self.pid = process.pid
        self._process = process

    def cpu(self) -> tuple[float, float]:
        """Return the CPU seconds so far: of the first process, and of its descendants."""
        family, found = {self.pid}, {}
        stats = sorted(map(_stat, _pids()), key=lambda fields: fields[0])
        for _ in range(2):  # a child may have a lower number than its parent
            for fields in stats:
                if fields[0] in family or fields[1] in family:
                    family.add(fields[0])
                    found[fields[0]] = fields[2]
        return found.pop(self.pid, 0.0), sum(found.values())

    def is_running(self) -> bool:
        """Return whether the first process still runs."""
        return self._process.poll() is None


@contextmanager
def server(command: Sequence[str]) -> Iterator[Server]:
    """Run *command*, with a free port for ``{port}`` in it, until the end of the block.

    Raises:
        RuntimeError: it ended, or did not answer in time.
    """
    port = _free_port()
    words = [word.replace(_PORT, str(port)) for word in command]
    if setpriv := shutil.which("setpriv"):
        words = [setpriv, "--pdeathsig", "TERM", *words]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        made = Server(process, port)
        _wait_for(made)
        yield made
    finally:
        _end(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_for(made: Server) -> None:
    until = time.monotonic() + _BOOT_TIMEOUT
    while time.monotonic() < until:
        if not made.is_running():
            raise RuntimeError(f"the server on port {made.port} ended before it listened")
        with socket.socket() as probe:
            probe.settimeout(1.0)
            try:
                probe.connect((HOST, made.port))
                probe.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if probe.recv(1):
                    return
            except OSError:
                time.sleep(_PAUSE)
    raise RuntimeError(
        f"the server on port {made.port} did not answer within {_BOOT_TIMEOUT:.0f} s"
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _stat(pid: int) -> tuple[int, int, float]:
    """Return a process, its parent, and its CPU seconds; its parent is 0 if it has ended."""
    process = Path(f"/proc/{pid}")
    try:
        text = (process / "stat").read_text()
        # The scheduler counts nanoseconds; user and system time are counted in ticks.
        used = sum(int(each.read_text().split()[0]) for each in process.glob("task/*/schedstat"))
    except OSError:
        return pid, 0, 0.0
    fields = ["", *["" for _ in range(_FIELDS_BEFORE_STATE)], *text.rpartition(")")[2].split()]
    return pid, int(fields[_PARENT]), used / 1e9
