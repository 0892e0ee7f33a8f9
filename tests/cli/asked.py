"""A system whose actors are asked by commands."""

import asyncio
import dataclasses
import enum
from collections.abc import AsyncIterator

import actors


class Colour(enum.Enum):
    """Of an item."""

    RED = "r"
    BLUE = "b"


@dataclasses.dataclass
class Item:
    """What is bought."""

    name: str
    price: float = 1.0
    colour: Colour = Colour.RED


class Counter(actors.Actor):
    """Counts."""

    def __init__(self, start: int = 0) -> None:
        self.value = start
        self.password = "secret"  # noqa: S105 - it must not be shown
        self.seen = [1, 2]

    async def add(self, by: int = 1) -> int:
        self.value += by
        return self.value

    async def buy(self, items: list[Item], *, note: str = "") -> dict[str, object]:
        return {"items": items, "note": note, "total": sum(item.price for item in items)}

    async def upto(self, end: int) -> AsyncIterator[int]:
        for number in range(end):
            yield number

    async def forever(self) -> AsyncIterator[int]:
        try:
            while True:
                yield 1
                await asyncio.sleep(0.01)
        finally:
            print("the stream has ended", flush=True)  # noqa: T201 - the test waits for it

    async def fail(self) -> None:
        raise ValueError("not today")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def odd(self) -> complex:
        return 1 + 2j

    def plain(self) -> None:
        """Is no message."""


class Ledger(actors.Actor, blocking=True):
    """Says of itself what it wants."""

    def on_inspect(self) -> dict[str, int]:
        return {"entries": 3}

    def pay(self, amount: int) -> int:
        return amount


many = [actors.child(Counter, name=f"room-{n}", on="a") for n in range(3)]
spec = actors.supervisor("wing", [actors.child(Counter, 7, name="wing-counter", on="a")])
topology = actors.Topology(
    nodes=[actors.nodes("a")],
    children=[
        actors.dynamic("guests"),
        actors.pool(Counter, size=1, name="crew", on="a"),
        actors.child(Counter, name="counter", on="a"),
        actors.child(Counter, name="brief", on="a", restart=actors.Restart.TEMPORARY),
        actors.child(Ledger, name="ledger", on="a"),
        *many,
    ],
)
