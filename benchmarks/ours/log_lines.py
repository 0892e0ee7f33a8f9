"""`python -m benchmarks.ours.log_lines`: how many lines a second the parent makes records of, and writes.

A program writes lines to a pipe as fast as it is read; the parent's loop reads it and writes the log to a file.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import anyio

import actors
from actors._base.run_loop import open_loop
from actors.nodes import LinesReader, read_output
from actors.nodes.boot.output import WrittenRecords
from benchmarks.ours._figures import figure

LINES = 500_000
PRINTED = "2026-11-30 10:00:00 request %d of customer %d has been served, which took 12 ms"
RECORD = (
    '{"timestamp": "2026-11-30T10:00:00.000000Z", "level": "info", "event": "request served", '
    '"node": "web/0", "number": %d, "customer": %d}'
)
PATIENCE = 0.01


async def measure(what: str, line: str, read: Callable[..., LinesReader]) -> None:
    """Read `LINES` lines, and show lines a second by the clock and by the CPU time of this process."""
    with tempfile.NamedTemporaryFile("w") as made, tempfile.TemporaryFile("w") as log:
        made.writelines(f"{line % (number, number % 97)}\n" for number in range(LINES))
        made.flush()
        reading, writing = os.pipe()
        before, sys.stderr = sys.stderr, log
        async with open_loop() as loop:
            cpu, start = time.process_time(), time.perf_counter()
            with subprocess.Popen(["/bin/cat", made.name], stdout=writing) as program:  # noqa: ASYNC220 - it returns at once
                os.close(writing)
                reader = read(loop, reading)
                while reader._fd >= 0:  # noqa: ASYNC110, SLF001 - it ends with the pipe
                    await anyio.sleep(PATIENCE)
                program.wait()
            took, spent = time.perf_counter() - start, time.process_time() - cpu
        sys.stderr = before
    figure("lines/s", what, LINES / took)
    figure("lines per CPU second", what, LINES / spent)


async def main() -> None:
    """Measure lines that a program prints, and records that a node has made itself."""
    os.environ["ACTORS_LOG_FORMAT"] = "json"
    await measure("printed", PRINTED, lambda loop, fd: read_output(loop, fd, "web/0"))
    await measure(
        "records", RECORD, lambda loop, fd: LinesReader(loop, fd, WrittenRecords("web/0"))
    )
    figure("MiB", "memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    actors.run(main)
