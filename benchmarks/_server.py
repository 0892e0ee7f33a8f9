"""A server under load, ours or a peer's: started, waited for, its CPU time read, ended.

Rule 1: the server ends with the block it was started in, and with this process.
Rule 2: nothing here knows what it serves.
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
_BOOT: Final = 30.0
_END: Final = 15.0
_PAUSE: Final = 0.05
_TICK: Final = os.sysconf("SC_CLK_TCK")
_AFTER_NAME: Final = 2
"""Where the fields of /proc/PID/stat go on behind the name in brackets, counted from 1."""
_PARENT, _UTIME, _STIME = 4, 14, 15


class Server:
    """A server at work, as seen from outside: its port and its processes."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self.pid = process.pid
        self._process = process

    def cpu(self) -> tuple[float, float]:
        """Return the CPU seconds so far: of the first process, and of those it has started."""
        family, found = {self.pid}, {}
        stats = sorted(map(_stat, _pids()), key=lambda fields: fields[0])
        for _ in range(2):  # a child may have a lower number than its parent
            for fields in stats:
                if fields[0] in family or fields[1] in family:
                    family.add(fields[0])
                    found[fields[0]] = fields[2]
        return found.pop(self.pid, 0.0), sum(found.values())

    def alive(self) -> bool:
        """Whether the first process has not ended."""
        return self._process.poll() is None


@contextmanager
def server(command: Sequence[str]) -> Iterator[Server]:
    """Run *command*, ``{port}`` in it being a free port, until the end of the block.

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
    until = time.monotonic() + _BOOT
    while time.monotonic() < until:
        if not made.alive():
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
    raise RuntimeError(f"the server on port {made.port} did not answer within {_BOOT:.0f} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _stat(pid: int) -> tuple[int, int, float]:
    """Return a process, its parent, and its CPU seconds; its parent is 0 if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return pid, 0, 0.0
    fields = ["", *["" for _ in range(_AFTER_NAME)], *text.rpartition(")")[2].split()]
    return pid, int(fields[_PARENT]), (int(fields[_UTIME]) + int(fields[_STIME])) / _TICK
