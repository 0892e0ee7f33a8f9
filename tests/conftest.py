"""Every async test runs on every loop, unless its folder says otherwise; none leaves anything."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

# Here, because pytest imports it at the very end where no test did, and then trio's hook into it warns.
import anyio
import hypothesis
import pytest
import uvloop

from actors.nodes.boot.kept_fork_server import KEPT
from tests.leaks import nothing_left

# A shell ignores it for what it runs in the background, and programs would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test measures speed, and a busy machine is no failure.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

LOOPS: dict[str, tuple[str, dict[str, Any]]] = {
    "asyncio": ("asyncio", {}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}


_SLOWEST_FOLDERS = (
    *(
        "machines",
        "engines",
        "examples",
        "browser",
        "end_to_end",
        "pools",
        "cli",
        "system",
        "nodes",
        "connect",
        "dashboard",
    ),
    *("lives", "keyed", "plugin", "docs", "routing", "remoting", "groups", "contracts"),
)
"""Folders whose files take longest, the longest first: what starts last should end soon."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first: `make test` hands out one after another, in this order."""
    places = {name: place for place, name in enumerate(_SLOWEST_FOLDERS)}
    items.sort(key=lambda item: places.get(item.path.parent.name, len(places)))


def pytest_collection_finish() -> None:
    """Keep the garbage collector off what is there for good.

    18,000 tests, their parameters and all modules are half a gigabyte, through which each of the many
    tests that look for leaks would go.
    """
    gc.collect()
    gc.freeze()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give a test its `within(seconds)`, a deadline around the test alone.

    One around the `yield` of an async fixture cancels the task that runs all fixtures: no teardown
    comes after it.
    """
    marker = item.get_closest_marker("within")
    if marker and isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = _within(item.obj, *marker.args)


def _within(test: Callable[..., Awaitable[None]], seconds: float) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def bounded(*arguments: Any, **fixtures: Any) -> None:
        with anyio.fail_after(seconds):
            await test(*arguments, **fixtures)

    return bounded


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The loops of the promise: asyncio's own, uvloop and trio, for the process a test runs in."""
    return LOOPS[request.param]


@pytest.fixture(scope="session")
def warm_loops() -> None:
    """Let uvloop open the pipe that it keeps for the life of the process."""
    uvloop.run(asyncio.sleep(0))


@pytest.fixture(scope="session", autouse=True)
def warm_nodes_in_all_tests(actors_warm_nodes: None) -> None:
    """Most tests are short, and most of the time of a short one with a process node was its fork server."""


@pytest.fixture
def cold_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the systems of a test start and end a fork server of their own, as they do for users."""
    KEPT.drop()
    monkeypatch.setattr(KEPT, "keeps", lambda _server: False)


@pytest.fixture(scope="module")
def no_leaks_in_file(warm_loops: None) -> Iterator[None]:
    """As `no_leaks`, for a file whose tests share a system."""
    with nothing_left():
        yield


@pytest.fixture
def no_leaks(warm_loops: None) -> Iterator[None]:
    """Children, descriptors, threads and shared memory are afterwards as they were before."""
    with nothing_left():
        yield


@pytest.fixture(scope="session", autouse=True)
def logging_of_pytest() -> Iterator[None]:
    """Commands that tests run in this process leave its `logging` as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("actors.cli.server.commands.join_logging", lambda **_: None)
        yield
