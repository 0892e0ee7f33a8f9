"""The examples, run as their docstrings say."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.server_process import free_port

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> str:
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_counter_counts_streams_and_ends() -> None:
    assert run("examples/counter.py").splitlines() == [
        "after telling 5 and asking 1: 16",
        f"a stream of it: {list(range(16))}",
        "in time: 17",
        "it ended: SHUTDOWN",
    ]


def test_the_workers_find_the_same_primes_on_one_node_and_on_all() -> None:
    one, two, speed = run("examples/workers.py", "--below", "100000", "--nodes", "2").splitlines()
    assert re.fullmatch(r"9592 primes below 100000, 1 node\(s\): \d+\.\d\d s", one)
    assert re.fullmatch(r"9592 primes below 100000, 2 node\(s\): \d+\.\d\d s", two)
    assert re.fullmatch(r"2 nodes are \d+\.\d times as fast as one", speed)


def test_passwords_are_hashed_on_a_pool_while_the_loop_turns() -> None:
    rate, turns, right, wrong, stats = run(
        "examples/passwords.py", "--count", "4", "--workers", "2"
    ).splitlines()
    assert re.fullmatch(r"4 passwords in \d+\.\d\d s, \d+ a second", rate)
    assert int(re.findall(r"\d+", turns)[0]) > 0
    assert (right, wrong) == ("the first one is right: True", "another one is not: False")
    assert re.fullmatch(r"half of them took up to \d+ ms on 2 workers", stats)


def test_the_map_summarises_all_arrays_in_order() -> None:
    [found] = run("examples/map.py", "--count", "200", "--workers", "2").splitlines()
    assert re.fullmatch(r"200 arrays, in order: mean of means [+-]0\.\d{4}, widest \d\.\d\d", found)


def test_ctrl_c_ends_the_map_at_once() -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "examples/map.py", "--count", "1000000", "--workers", "1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        while "of 1000000" not in (line := process.stderr.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=40)
    assert process.returncode == 130
    assert "Traceback" not in rest


@pytest.fixture(
    params=[["examples/shared_port.py"], ["-m", "actors", "run", "examples.shared_port:topology"]],
    ids=["as a script", "by the command line"],
)
def echo_port(request: pytest.FixtureRequest) -> Iterator[int]:
    port = free_port()
    with subprocess.Popen(
        [sys.executable, *request.param],
        cwd=ROOT,
        env={**os.environ, "ECHO_PORT": str(port), "ACTORS_LOG_FORMAT": "json"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            lines = [next(process.stderr)]
            while '"system ready"' not in lines[-1]:
                lines.append(next(process.stderr))
            yield port
            process.send_signal(signal.SIGTERM)
            _, rest = process.communicate(timeout=20)
            assert process.returncode == 0, rest
        finally:
            process.kill()


def test_the_shared_port_echoes_from_one_node_after_the_other(echo_port: int) -> None:
    served = []
    for number in range(4):
        with socket.create_connection(("127.0.0.1", echo_port), timeout=10) as client:
            client.sendall(b"echo %d" % number)
            client.shutdown(socket.SHUT_WR)
            greeting, echo = client.makefile("rb").read().split(b"\n")
            assert echo == b"echo %d" % number
            served.append(greeting.decode().split(",")[0])
    assert served == ["you are served by echo/0", "you are served by echo/1"] * 2
