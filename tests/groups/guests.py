"""Actors that join groups, and such as follow them."""

from __future__ import annotations

from typing import Any

import anyio

import actors
from actors import Actor


class Guest(Actor):
    """Joins groups when it is told to."""

    def __init__(self, *groups: str) -> None:
        self.groups = groups
        self.heard: list[str] = []

    async def on_start(self) -> None:
        for group in self.groups:
            await self.context.join(group)

    async def join(self, group: str, meta: Any = None) -> None:
        await self.context.join(group, meta)

    async def join_many(self, count: int) -> None:
        for number in range(count):
            await self.context.join(f"many {number}")

    async def leave(self, group: str) -> None:
        await self.context.leave(group)

    async def hear(self, what: str) -> None:
        self.heard.append(what)

    async def all_heard(self) -> list[str]:
        return self.heard

    async def members(self, group: str) -> list[Any]:
        return await actors.current().members(group)

    async def child(self, group: str) -> Any:
        return await self.context.spawn(Guest, group)

    async def crash(self) -> None:
        raise RuntimeError("too much cake")

    async def incarnation(self) -> int:
        return self.context.incarnation


class Thread(Actor, blocking=True):
    """A blocking actor, which joins from its own thread."""

    def join(self, group: str) -> None:
        self.context.run(self.context.join, group, "by thread")


class Host(Actor):
    """Follows a group on its node, and says what it has seen."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bool, Any]] = []
        self.there: dict[Any, Any] = {}
        self.changed = anyio.Event()
        self.ready = anyio.Event()

    async def follow(self, group: str) -> dict[Any, Any]:
        """Return who is there at once."""
        self.context.tasks.start_soon(self._follow, group)
        await self.ready.wait()
        return self.there

    async def _follow(self, group: str) -> None:
        async with actors.current().watch_members(group) as watched:
            self.there = watched.members
            self.ready.set()
            async for change in watched:
                self.seen.append((change.ref.name, change.joined, change.meta))
                self.there = watched.members
                self.changed.set()

    async def changes(self, count: int) -> list[tuple[str, bool, Any]]:
        """Return the first so many changes as soon as they are there."""
        while len(self.seen) < count:
            self.changed = anyio.Event()
            await self.changed.wait()
        return self.seen[:count]

    async def members(self) -> dict[Any, Any]:
        return self.there
