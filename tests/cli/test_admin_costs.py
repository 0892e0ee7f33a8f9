"""What the dashboard costs those whom it does not serve: no request makes a system call more for it."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

from tests.cli.running_command import PATIENCE, Running, running

_STRACE = shutil.which("strace") or ""
pytestmark = [
    pytest.mark.within(90),
    pytest.mark.skipif(not _STRACE, reason="strace is not installed"),
]

_REQUESTS = 3000


def calls_of(system: Running, folder: Path) -> dict[str, int]:
    """Return how many calls of each kind all processes of a system make while it answers many requests."""
    host, _, port = system.event("listening", listener="127.0.0.1:0")["address"].partition(":")
    client = HTTPConnection(host, int(port), timeout=PATIENCE)
    ask(client, 100)  # what is done at first only
    processes = [
        system.pid,
        *(one.pid for one in psutil.Process(system.pid).children(recursive=True)),
    ]
    found = folder / "calls"
    attached = [word for pid in processes for word in ("-p", str(pid))]
    with subprocess.Popen(
        [_STRACE, "-f", "-c", "-U", "calls,name", "-o", str(found), *attached],
        stderr=subprocess.PIPE,
        text=True,
    ) as tracer:
        assert tracer.stderr is not None
        said = ""
        while said.count("attached") < len(processes):
            line = tracer.stderr.readline()
            if "not permitted" in line:
                pytest.skip("no process may be traced here")
            assert line, said
            said += line
        ask(client, _REQUESTS)
        client.close()
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=PATIENCE)
    rows = re.findall(r"^ *(\d+) (\w+)$", found.read_text(), re.MULTILINE)
    return {name: int(count) for count, name in rows if name != "total"}


def ask(client: HTTPConnection, times: int) -> None:
    for _ in range(times):
        client.request("GET", "/")
        assert client.getresponse().read()


def test_no_request_costs_a_system_call_more_where_nobody_looks(
    runtime: Path, tmp_path: Path
) -> None:
    arguments = ("serve", "topologies:app", "--bind", "127.0.0.1:0", "--nodes", "1")
    with running(runtime, *arguments) as system:
        without = calls_of(system, tmp_path)
        assert system.end(signal.SIGTERM) == 0
    with running(runtime, *arguments, "--admin", "127.0.0.1:0") as system:
        system.event("node ready", node="admin/0")
        beside = calls_of(system, tmp_path)
        assert system.end(signal.SIGTERM) == 0
    # A loop looks for more once or twice, as the next request has come by then or not.
    looks = [calls.pop("epoll_pwait") for calls in (without, beside)]
    assert max(looks) < 2.2 * _REQUESTS
    more = {
        name: (without.get(name, 0), count)
        for name, count in beside.items()
        if (count - without.get(name, 0)) / _REQUESTS > 0.1  # what time itself brings is less
    }
    assert not more
    assert min(without["read"], without["write"]) >= _REQUESTS
