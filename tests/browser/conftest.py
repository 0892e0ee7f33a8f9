"""Fixtures of the tests that drive a real browser."""

import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.browser.browser_driver import Browser, browser, chromium
from tests.end_to_end.server_process import ServerProcess


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say once why they do not run where there is no browser."""
    if chromium() is None:
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(pytest.mark.skip(reason="chromium is not installed"))


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The browser is spoken to by a library for asyncio; what is tested runs in other processes."""
    return "asyncio"


@pytest.fixture(scope="module")
async def one_browser(
    no_leaks_in_file: None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Browser]:
    """A browser for all tests of a file; each opens windows of its own."""
    async with browser(tmp_path_factory.mktemp("chromium")) as made:
        yield made


@pytest.fixture(scope="module")
def chat(
    no_leaks_in_file: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A chat over two web nodes; what it logged is shown at the end if a test has failed."""
    folder = tmp_path_factory.mktemp("chat")
    with ServerProcess(
        "run", "examples.chat:topology", "--nodes", "web=2", folder=folder, env={}
    ) as chat:
        yield chat
        sys.stderr.writelines(chat.lines)
