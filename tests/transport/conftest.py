"""Fixtures of the transport tests: a registered class and a census of open descriptors."""

import asyncio
import gc
import os
import socket
from collections.abc import Iterator

import pytest
import uvloop

from actors.transport import Limits, pair, register
from actors.transport.codec import snapshot as snapshots
from actors.transport.testing import ManualLoop
from actors.transport.types import twins
from tests.transport.recording_channel import RecordingChannel, Two
from tests.transport.sample_values import Registered, open_fds

register(Registered, lambda thing: thing.value, Registered)


BOTH = ("test_codec", "test_hostile", "test_instances", "test_introductions", "test_snapshot")
"""Files whose tests run with the functions in C, and with their twins in Python."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    names = ["C", "Python"] if twins.COMPILED is not None else ["Python"]
    if "twin" in metafunc.fixturenames and metafunc.module.__name__.endswith(BOTH):
        metafunc.parametrize("twin", names, indirect=True)


@pytest.fixture(autouse=True)
def twin(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of the two runs: what is made in the test has no function in C if it is Python's turn."""
    if getattr(request, "param", "C") == "Python":
        monkeypatch.setattr(twins, "COMPILED", None)
        for name in ("snapshot", "snapshot_args"):
            if hasattr(request.module, name):
                monkeypatch.setattr(request.module, name, getattr(snapshots, f"{name}_in_python"))


@pytest.fixture(scope="session")
def uvloop_is_warm() -> None:
    """The first loop of uvloop opens a pipe that stays for the life of the process."""
    uvloop.run(asyncio.sleep(0))


@pytest.fixture(autouse=True)
def nothing_leaks(uvloop_is_warm: None) -> Iterator[None]:
    """Every test leaves as many open descriptors as it found."""
    before = open_fds()
    yield
    if open_fds() != before:
        gc.collect()  # an error's traceback may hold what it passed
    assert open_fds() <= before


@pytest.fixture
def loop() -> ManualLoop:
    return ManualLoop()


@pytest.fixture
def two(loop: ManualLoop) -> Iterator[Two]:
    ends: list[RecordingChannel] = []

    def make(limits: Limits | None = None) -> tuple[RecordingChannel, RecordingChannel]:
        a, b = pair()
        ends[:] = RecordingChannel(loop, a, limits), RecordingChannel(loop, b, limits)
        return ends[0], ends[1]

    yield make
    for end in ends:
        end.channel.close()
        for _, fds in end.fds:
            for fd in fds:
                os.close(fd)
    assert loop.watched == (frozenset(), frozenset())


@pytest.fixture
def raw(loop: ManualLoop) -> Iterator[tuple[socket.socket, RecordingChannel]]:
    ours, theirs = pair()
    end = RecordingChannel(loop, theirs)
    with ours:
        yield ours, end
        end.channel.close()
