"""What a page is sent does not end because a look failed, and ends whole when the page or the system does."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from actors._base.errors import ActorsError
from actors.dashboard.app import Dashboard
from actors.testing import eventually

LOOK: dict[str, Any] = {"nodes": [], "actors": [], "handlers": [], "requests": [], "served": {}}


@pytest.fixture
def anyio_backend() -> str:
    """The application is served by nodes of asyncio alone."""
    return "asyncio"


class _Events:
    """A stream of events that ends when it is told to."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def batch(self, _most: int) -> list[Any]:
        await self.over.wait()
        return []

    def close(self) -> None:
        self.over.set()


class _System:
    """Answers each look as *answers* say, one after the other."""

    def __init__(self, answers: list[Any]) -> None:
        self.answers = answers
        self.stream = _Events()
        self._access = self

    def events(self) -> _Events:
        return self.stream

    async def control(self, operation: str, _arguments: Any, _by: str) -> Any:
        if operation == "settings":
            return {"token": "t", "hosts": []}
        if operation == "serving":
            return {"listeners": [], "pools": []}
        answer = self.answers.pop(0) if self.answers else dict(LOOK)
        if isinstance(answer, Exception):
            raise answer
        return answer


class _Page:
    """Opens the stream of a dashboard, and keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.closed = asyncio.Event()

    async def receive(self) -> dict[str, str]:
        await self.closed.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    def looks(self) -> int:
        return sum(b"event: look" in message.get("body", b"") for message in self.sent)

    @property
    def whole(self) -> bool:
        return bool(self.sent) and self.sent[-1] == {"type": "http.response.body"}


async def opened(system: _System) -> Dashboard:
    made = Dashboard()
    inbox = [{"type": "lifespan.startup"}]

    async def receive() -> Any:
        return inbox.pop() if inbox else {"type": "lifespan.shutdown"}

    async def send(_message: Any) -> None:
        pass

    await made({"type": "lifespan", "state": {"actors": system}}, receive, send)
    return made


SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "GET",
    "path": "/api/live",
    "query_string": b"",
    "headers": [(b"host", b"127.0.0.1"), (b"authorization", b"Bearer t")],
    "client": ("127.0.0.1", 1),
}


@pytest.mark.within(30)
@pytest.mark.parametrize(
    "failure", [TimeoutError(), ActorsError("busy"), ConnectionResetError("gone"), OSError(5, "io")]
)
async def test_a_look_that_fails_is_followed_by_the_next(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.dashboard.app._LOOK", 0.0)
    dashboard, page = await opened(_System([failure, failure, dict(LOOK)])), _Page()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dashboard, SCOPE, page.receive, page.send)
        await eventually(page.looks)
        assert not page.whole
        page.closed.set()
    assert page.whole


@pytest.mark.within(30)
async def test_when_the_system_ends_the_stream_ends_whole() -> None:
    system, page = _System([]), _Page()
    dashboard = await opened(system)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dashboard, SCOPE, page.receive, page.send)
        await eventually(page.looks)
        system.stream.over.set()
    assert page.whole
