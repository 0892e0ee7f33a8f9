"""Actors that wait for each other; nodes import them from here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio

from actors import Actor, Ref, concurrent
from actors.testing import Recorder


class Door(Actor):
    """Shut until it is opened."""

    def __init__(self) -> None:
        self.opened = anyio.Event()

    @concurrent
    async def enter(self) -> None:
        await self.opened.wait()

    async def open(self) -> None:
        self.opened.set()


class Member(Actor):
    """One of a circle."""

    def __init__(self, probe: Ref[Recorder] | None = None) -> None:
        self.probe = probe

    async def name(self) -> str:
        return self.context.name

    async def go_round(self, others: list[Ref[Member]]) -> str:
        """Ask the next to ask the next, and so on."""
        if not others:
            return self.context.name
        return await others[0].ask(Member.go_round, others[1:])

    @concurrent
    async def go_round_beside(self, others: list[Ref[Member]]) -> str:
        return await others[0].ask(Member.go_round, others[1:])

    async def start_beside(self, first: Ref[Member], others: list[Ref[Member]]) -> str:
        return await first.ask(Member.go_round_beside, others)

    async def hold(self, door: Ref[Door]) -> None:
        assert self.probe is not None
        await self.probe.tell(Recorder.record, ("holds", self.context.name))
        await door.ask(Door.enter)

    async def ask_after(self, door: Ref[Door], other: Ref[Member]) -> str:
        """Ask when the door is open; the door is no part of any circle."""
        assert self.probe is not None
        await self.probe.tell(Recorder.record, ("waits", self.context.name))
        await door.ask(Door.enter)
        return await other.ask(Member.name)

    @concurrent
    async def hold_beside(self, door: Ref[Door]) -> str:
        assert self.probe is not None
        await self.probe.tell(Recorder.record, ("holds", self.context.name))
        await door.ask(Door.enter)
        return self.context.name

    async def ask_held(self, other: Ref[Member], door: Ref[Door]) -> str:
        return await other.ask(Member.hold_beside, door)

    async def ask_itself_in_task(self) -> None:
        async def ask() -> None:
            assert self.probe is not None
            name = await self.context.ref.ask(Member.name)
            await self.probe.tell(Recorder.record, ("asked itself", name))

        self.context.tasks.start_soon(ask)

    async def names(self, times: int) -> AsyncIterator[str]:
        for _ in range(times):
            yield self.context.name

    async def name_of(self, other: Ref[Member]) -> AsyncIterator[str]:
        yield await other.ask(Member.name)

    async def read(self, other: Ref[Member]) -> list[str]:
        async with other.stream(Member.names, 3) as items:
            return [item async for item in items]

    async def read_about_itself(self, other: Ref[Member]) -> list[str]:
        async with other.stream(Member.name_of, self.context.ref) as items:
            return [item async for item in items]

    async def note(self, value: Any) -> None: ...
