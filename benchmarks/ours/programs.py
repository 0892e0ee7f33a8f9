"""Programs under `actors run`: from a crash to its port, the start of a hundred, the memory of what keeps them.

The peer is `peers/pm2_programs.py`. A command starts the hundred, as with it, in a system that runs.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import actors
from benchmarks._programs import MANY, SERVER, WAITS, measure_crashes, report_many

_AT_ONCE: Final = actors.Backoff(first=0.0, jitter=0.0)
"""Without delays, as the peer has none."""
one = actors.Topology(children=[actors.program("server", SERVER, backoff=_AT_ONCE)])
many = actors.Topology(children=[actors.program("waits", WAITS)])


@contextmanager
def running(topology: str) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """Run a topology of this file; yield when it is ready."""
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "XDG_RUNTIME_DIR": folder, "ACTORS_LOG_FORMAT": "json"}
        line = [sys.executable, "-m", "actors", "run", f"benchmarks.ours.programs:{topology}"]
        with subprocess.Popen(line, env=env, stderr=subprocess.PIPE) as system:
            assert system.stderr is not None
            try:
                while b'"control socket"' not in system.stderr.readline():
                    assert system.poll() is None
                yield system, folder
            finally:
                system.send_signal(signal.SIGTERM)
                system.stderr.read()


def command(folder: str, *arguments: str) -> bytes:
    """Run a command on the system, and return what it prints."""
    env = {**os.environ, "XDG_RUNTIME_DIR": folder}
    line = [sys.executable, "-m", "actors", *arguments]
    return subprocess.run(line, env=env, capture_output=True, check=True).stdout


def pid_of_server(folder: str) -> int:
    """Ask the system for the number of the server."""
    return int(json.loads(command(folder, "ps", "--json"))["programs"][0]["pid"])


def main() -> None:
    """Measure both."""
    with running("one") as (_, folder):
        measure_crashes(lambda: pid_of_server(folder))
    with running("many") as (system, folder):
        began = time.perf_counter()
        command(folder, "scale", f"waits={MANY}")
        report_many(time.perf_counter() - began, system.pid)


if __name__ == "__main__":
    main()
