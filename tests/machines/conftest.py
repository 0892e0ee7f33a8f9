"""An authority, and an entrance with whoever came in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors._base.run_loop import open_loop
from actors.machines.authority import Authority, Material
from actors.machines.entrance import Entrance
from actors.transport.channels.tls_session import TlsSession
from tests.machines.joining import Cluster

__all__ = ["Guests", "authority", "material"]


@cache
def authority() -> Authority:
    return Authority.new()


@cache
def material(name: str) -> Material:
    return authority().issue(name)


class Guests:
    """Who came into an entrance, in order."""

    def __init__(self) -> None:
        self.sessions: list[TlsSession] = []
        self.hellos: list[dict[str, Any]] = []
        self._event = anyio.Event()

    def came(self, session: TlsSession, hello: dict[str, Any]) -> None:
        self.sessions.append(session)
        self.hellos.append(hello)
        self._event.set()

    async def wait(self) -> None:
        """Wait for the next one."""
        await self._event.wait()
        self._event = anyio.Event()

    def close(self) -> None:
        for session in self.sessions:
            session.close()


@pytest.fixture
def guests() -> Iterator[Guests]:
    found = Guests()
    yield found
    found.close()


MakeEntrance = Callable[..., Entrance]
_OURS = material("run 1")


@pytest.fixture
async def entrance(anyio_backend: Any) -> AsyncIterator[MakeEntrance]:
    made: list[Entrance] = []
    async with open_loop() as loop:

        def make(shown: Material | None = _OURS, **options: Any) -> Entrance:
            made.append(Entrance(loop, shown, **options))
            return made[-1]

        yield make
        for one in made:
            one.close()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.close()
