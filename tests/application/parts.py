"""What the application files of tests name."""

from __future__ import annotations

from typing import Any

import actors


class Counter(actors.Actor):
    def __init__(self, start: int = 0, *, step: int = 1) -> None:
        self.n = start
        self.step = step

    async def add(self) -> int:
        self.n += self.step
        return self.n


class Room(actors.Actor):
    def __init__(self, key: object, path: str = "") -> None:
        self.key = key
        self.path = path

    async def where(self) -> list[object]:
        return [self.key, self.path]


class Broken(actors.Actor):
    async def on_start(self) -> None:
        raise RuntimeError("it never starts")


async def echo(stream: Any) -> None:
    async for data in stream:
        await stream.send(data)


not_callable = 5
