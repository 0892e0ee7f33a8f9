"""Runs the load generator wrk, and reads its report."""

import re
import shutil
import subprocess
from typing import Final

from benchmarks._server import HOST

__all__ = ["CONNECTIONS", "requests_per_second"]

CONNECTIONS: Final = 32
_CLOSE: Final = ("-H", "Connection: close")
_RATE: Final = re.compile(r"^Requests/sec:\s+([\d.]+)$", re.MULTILINE)
_ERRORS: Final = re.compile(r"^\s*(Socket errors: .*|Non-2xx or 3xx responses: .*)$", re.MULTILINE)


def requests_per_second(port: int, path: str = "/", *, seconds: int, closing: bool) -> float:
    """Load a server for *seconds* and return the rate; if *closing*, with a connection for each request.

    Raises:
        RuntimeError: wrk is not installed, failed, or met an error.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("wrk is not installed here: run benchmarks/peers/setup.sh")
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "5s"]
    command += [*(_CLOSE if closing else ()), f"http://{HOST}:{port}{path}"]
    done = subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
    if wrong := _ERRORS.search(done.stdout):
        raise RuntimeError(f"wrk met errors: {wrong[1]}")
    found = _RATE.search(done.stdout)
    if found is None:
        raise RuntimeError(f"wrk reported no rate: {done.stdout!r}")
    return float(found[1])
