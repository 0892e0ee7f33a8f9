"""Fixtures of the tests that run whole systems."""

import sys
from collections.abc import Iterator

import pytest

from tests.end_to_end.server_process import ServerProcess


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The clients' library is for asyncio; what is tested runs in other processes."""
    return "asyncio"


@pytest.fixture(scope="module")
def one_chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A chat over four web nodes, for all tests of a file."""
    folder = tmp_path_factory.mktemp("chat")
    env = {"CHAT_PACE": "1000000"}  # what is tested is what we can take, not how patient people are
    with ServerProcess(
        "run", "examples.chat:topology", "--nodes", "web=4", folder=folder, env=env
    ) as chat:
        yield chat


@pytest.fixture
def chat(one_chat: ServerProcess) -> Iterator[ServerProcess]:
    """The chat of this file, which must not end; what it logs is shown when the test fails."""
    before = len(one_chat.lines)
    yield one_chat
    sys.stderr.writelines(one_chat.lines[before:])
    assert not one_chat.ended
