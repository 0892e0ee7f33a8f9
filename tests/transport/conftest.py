"""Fixtures of the transport tests: a registered class and a census of open descriptors."""

import asyncio
from collections.abc import Iterator

import pytest
import uvloop

from tests.transport.kinds import Registered, open_fds
from transport import register

register(Registered, lambda thing: thing.value, Registered)


@pytest.fixture(scope="session")
def uvloop_is_warm() -> None:
    """The first loop of uvloop opens a pipe that stays for the life of the process."""
    uvloop.run(asyncio.sleep(0))


@pytest.fixture(autouse=True)
def nothing_leaks(uvloop_is_warm: None) -> Iterator[None]:
    """Every test leaves as many open descriptors as it found."""
    before = open_fds()
    yield
    assert open_fds() == before
