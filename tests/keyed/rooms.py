"""Actors that tests put into address books."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio

import actors
from actors import Actor, Exit, concurrent


class Room(Actor):
    """Remembers what was said in it; says which run of it answers."""

    def __init__(self, key: Any, *, greeting: str = "hello", folder: str = "") -> None:
        self.key = key
        self.greeting = greeting
        self.said: list[Any] = []
        self.folder = folder

    async def on_start(self) -> None:
        if self.folder:  # fails if another actor of the key lives
            os.close(os.open(self._file, os.O_CREAT | os.O_EXCL))

    async def on_stop(self, _exit: Exit) -> None:
        if self.folder:
            Path(self._file).unlink()  # noqa: ASYNC240 - it takes no time

    @property
    def _file(self) -> str:
        return f"{self.folder}/{self.key}"

    async def greet(self) -> tuple[str, Any, str]:
        return self.greeting, self.key, self.context.node

    async def say(self, what: Any) -> None:
        self.said.append(what)

    async def all(self) -> list[Any]:
        return self.said

    async def say_slowly(self, what: Any) -> int:
        await anyio.sleep(0.05)
        self.said.append(what)
        return len(self.said)

    async def run(self) -> tuple[int, int]:
        """Return what is different for every actor, and for every incarnation of it."""
        return self.context.ref.uid, self.context.incarnation

    async def count(self, until: int) -> AsyncIterator[int]:
        for number in range(until):
            yield number

    @concurrent
    async def stay(self, seconds: float) -> str:
        await anyio.sleep(seconds)
        return "stayed"

    async def crash(self) -> None:
        raise RuntimeError("the room is on fire")

    async def leave(self) -> None:
        self.context.stop()

    async def where(self) -> str:
        return self.context.node

    async def ask_other(self, book: str, key: Any) -> Any:
        rooms = await actors.current().keyed(book)
        assert rooms is not None
        return await rooms[key].ask(Room.greet)

    async def stop_other(self, book: str, key: Any) -> bool:
        rooms = await actors.current().keyed(book)
        assert rooms is not None
        return await rooms.stop(key)


class Visitor(Actor):
    """Uses a book from its node."""

    async def find(self, book: str) -> Any:
        return await actors.current().keyed(book)

    async def open(self, name: str, on: str | None) -> Any:
        return await actors.current().start(actors.keyed(Room, name=name, on=on))

    async def greet(self, rooms: actors.Keyed[Any, Room], key: Any) -> tuple[str, Any, str]:
        return await rooms[key].ask(Room.greet)

    async def runs(self, rooms: actors.Keyed[Any, Room], keys: list[Any]) -> list[tuple[int, int]]:
        """Use all keys at the same time."""
        found: dict[Any, tuple[int, int]] = {}

        async def use(key: Any) -> None:
            found[key] = await rooms[key].ask(Room.run)

        async with anyio.create_task_group() as tasks:
            for key in keys:
                tasks.start_soon(use, key)
        return [found[key] for key in keys]

    async def say(self, rooms: actors.Keyed[Any, Room], key: Any, what: list[Any]) -> None:
        for one in what:
            await rooms[key].tell(Room.say, one)

    async def say_each_after(
        self, rooms: actors.Keyed[Any, Room], key: Any, what: list[Any], seconds: float
    ) -> int:
        """Say one thing after the other, with pauses; return how many actors it met."""
        met = set()
        for one in what:
            await rooms[key].tell(Room.say, one)
            met.add((await rooms[key].ref()).uid)
            await anyio.sleep(seconds)
        return len(met)

    async def keys(self, rooms: actors.Keyed[Any, Room]) -> tuple[list[Any], int, bool, bool]:
        return (
            await rooms.keys(),
            await rooms.count(),
            await rooms.has("kitchen"),
            await rooms.has("nowhere"),
        )

    async def stop(self, rooms: actors.Keyed[Any, Room], key: Any) -> bool:
        return await rooms.stop(key)


class Fussy(Actor):
    """Starts only when a file is there."""

    def __init__(self, key: str, *, folder: str) -> None:
        with Path(folder, "tries").open("a", encoding="utf-8") as tries:
            tries.write(f"{key}\n")
        if not Path(folder, key).exists():
            raise FileNotFoundError(f"there is no {key} yet")

    async def hello(self) -> str:
        return "hello"


class Fleeting(Actor):
    """Ends as soon as it has started."""

    def __init__(self, key: str) -> None:
        self.key = key

    async def on_start(self) -> None:
        self.context.stop()

    async def hello(self) -> str:
        return "hello"
