"""Starts of actors and lookups of names that nodes ask for: how many a second one system can do."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import actors
from benchmarks.ours._figures import figure

NODES = 2
COUNT = 4_000
AT_ONCE = 50


class Idle(actors.Actor):
    """An actor that stays idle."""


class Spawner(actors.Actor):
    """Asks for starts and lookups on its node."""

    def __init__(self) -> None:
        self.refs: list[actors.Ref[Idle]] = []

    async def warm(self) -> None:
        """Start one."""
        await self._spawn(None)

    async def unnamed(self) -> None:
        """Start actors without names, on this node."""
        await self._each(lambda _: self._spawn(None))

    async def named(self) -> None:
        """Start actors with names, on this node."""
        here = self.context.node
        await self._each(lambda number: self._spawn(f"{here}-{number}"))

    async def lookups(self) -> None:
        """Look names up, of which half are there."""
        here = self.context.node
        system = actors.current()
        await self._each(lambda number: system.lookup(f"{here}-{2 * number}"))

    async def _spawn(self, name: str | None) -> None:
        self.refs.append(await actors.current().spawn(Idle, on=self.context.node, name=name))

    async def _each(self, step: Callable[[int], Awaitable[object]]) -> None:
        numbers = iter(range(COUNT))

        async def some() -> None:
            for number in numbers:
                await step(number)

        await asyncio.gather(*[some() for _ in range(AT_ONCE)])


async def main() -> None:
    """Measure all three on two nodes at once."""
    async with actors.System(actors.Topology(nodes=[actors.nodes("w", count=NODES)])) as system:
        spawners = [await system.spawn(Spawner, on=f"w/{slot}") for slot in range(NODES)]
        for spawner in spawners:  # from its second start on, a node needs no answer
            await spawner.ask(Spawner.warm)
        for metric, method in (
            ("unnamed spawns/s", Spawner.unnamed),
            ("named spawns/s", Spawner.named),
            ("lookups/s", Spawner.lookups),
        ):
            start = time.perf_counter()
            await asyncio.gather(*[spawner.ask(method) for spawner in spawners])
            figure(metric, f"{NODES} nodes", NODES * COUNT / (time.perf_counter() - start))


if __name__ == "__main__":
    actors.run(main)
