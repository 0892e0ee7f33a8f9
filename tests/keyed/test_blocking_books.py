"""Books of keyed actors in plain code: their verbs block."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from actors import Actor, blocking_system, keyed
from actors.errors import DeadlineExceeded, InvalidSpec


class Room(Actor):
    def __init__(self, key: str) -> None:
        self.lines: list[str] = []
        self.key = key

    async def say(self, line: str) -> int:
        self.lines.append(line)
        return len(self.lines)

    async def history(self) -> AsyncIterator[str]:
        for line in self.lines:
            yield line

    async def forever(self) -> None:
        await anyio.sleep_forever()


def test_a_book_in_plain_code() -> None:
    with blocking_system() as system:
        rooms = system.start(keyed(Room, name="rooms", idle=300))
        rooms["hall"].tell(Room.say, "hi")
        assert rooms["hall"].ask(Room.say, "ho") == 2
        with rooms["hall"].stream(Room.history) as lines:
            assert list(lines) == ["hi", "ho"]
        assert (rooms.keys(), rooms.count(), rooms.has("hall")) == (["hall"], 1, True)
        assert rooms["hall"].ref().name == rooms["hall"].name
        with pytest.raises(DeadlineExceeded):
            rooms["hall"].within(0.05).ask(Room.forever)
        assert rooms.stop("hall")
        assert not rooms.has("hall")
        again = system.keyed("rooms")
        assert again is not None
        assert (again.name, again.book) == (rooms.name, rooms.book)
        assert system.keyed("none") is None
        with pytest.raises(InvalidSpec):
            rooms[1.5]  # type: ignore[index] # no key
