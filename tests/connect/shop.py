"""The system that the tests of this folder connect to, and what both sides import."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import anyio

from actors import Actor, Topology, child, keyed, nodes, pool
from actors._remoting.link import Link


@dataclass
class Order:
    item: str
    count: int


class Counter(Actor):
    def __init__(self, start: int = 0) -> None:
        self.n = start

    async def add(self, by: int = 1) -> int:
        self.n += by
        return self.n

    async def upto(self, end: int) -> AsyncIterator[int]:
        for number in range(end):
            yield number

    async def bytes_of(self, size: int) -> bytes:
        return b"x" * size

    async def length(self, data: bytes) -> int:
        return len(data)

    async def more(self, order: Order) -> Order:
        return Order(order.item, order.count + 1)

    async def of_a_module_that_is_only_here(self) -> Any:
        module = ModuleType("only_in_the_shop")
        sys.modules[module.__name__] = module
        code = "from dataclasses import dataclass\n@dataclass\nclass Secret:\n    word: str"
        exec(code, module.__dict__)  # noqa: S102 - as an import of it would
        return module.Secret("x")

    async def join(self, group: str) -> None:
        await self.context.join(group, meta=self.n)

    async def leave(self, group: str) -> None:
        await self.context.leave(group)

    async def publish(self, topic: str, value: Any) -> None:
        self.context.system.topic(topic).publish(value)

    async def fail(self) -> None:
        raise ValueError("as asked")

    async def wait_forever(self) -> None:
        await anyio.sleep_forever()

    async def pid(self) -> int:
        return os.getpid()

    async def lends_to_clients(self) -> list[bool]:
        """Whether this node would lend memory to the programs that are connected to it."""
        host: Any = self.context.ref.host
        links = [peer.link for name, peer in host.peers.items() if name.startswith("client")]
        return [not link.attachments.copy_only for link in links if link is not None]

    async def links(self) -> int:
        """How many links are in the memory of this node, open or not."""
        gc.collect()
        return sum(type(one) is Link for one in gc.get_objects())

    async def peers(self) -> list[str]:
        """Which other processes this one remembers."""
        host: Any = self.context.ref.host
        away = {name for nodes in host.topics._away.values() for name in nodes}
        return sorted({*host.peers, *away})


class Listener(Actor):
    """Subscribes to a topic, and says what it got."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    async def on_start(self) -> None:
        await self.context.subscribe("from outside", Listener.take)

    async def take(self, value: Any) -> None:
        self.got.append(value)

    async def heard(self) -> list[Any]:
        return self.got


class Room(Actor):
    def __init__(self, key: str) -> None:
        self.key = key

    async def say(self, what: str) -> str:
        return f"{self.key}: {what}"


topology = Topology(
    nodes=[nodes("web", count=2)],
    children=[
        child(Counter, 5, name="counter", on="web/0"),
        child(Counter, name="free", on="web/0"),
        child(Counter, 7, name="other", on="web/1"),
        child(Listener, name="listener", on="web/1"),
        keyed(Room, on="web", name="rooms", idle=300),
        pool(Counter, name="pool", size=1, on="web"),
    ],
)
