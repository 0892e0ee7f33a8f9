"""Actors of one node that record, in one list, what came to any of them."""

from __future__ import annotations

import time
from typing import Any

import anyio

from actors import Actor, Exit, Ref, SharedBuffer, concurrent

came: list[str] = []


class Receiver(Actor):
    async def take(self, text: str) -> None:
        came.append(f"{self.context.name} {len(text)}")

    async def linger(self, text: str) -> None:
        came.append(f"{len(text)} begins")
        await anyio.sleep(60)

    async def block(self, gate: SharedBuffer) -> None:
        """Stop the whole node, which reads nothing until the gate is opened."""
        while not gate.atomics.load(0):
            time.sleep(0.001)  # noqa: ASYNC251 - that is what it is for

    async def order(self) -> list[str]:
        found = came.copy()
        came.clear()
        return found

    async def tell_and_end(self, other: Ref[Watching], size: int) -> None:
        await other.tell(Watching.take, " " * size)
        self.context.stop()


class Watching(Actor):
    def __init__(self) -> None:
        self.came: list[str] = []
        self.ended = anyio.Event()

    async def watch(self, ref: Ref[Any]) -> None:
        self.context.watch(ref)

    async def take(self, text: str) -> None:
        self.came.append(str(len(text)))

    async def on_exit(self, _ref: Ref[Any], end: Exit) -> None:
        self.came.append(str(end))
        self.ended.set()

    @concurrent
    async def order(self) -> list[str]:
        await self.ended.wait()
        return self.came
