"""A counter: state that one task owns, and messages that are its methods."""

from collections.abc import AsyncIterator

import anyio

import actors


class Counter(actors.Actor):
    """Counts."""

    def __init__(self, start: int = 0) -> None:
        self.n = start

    async def add(self, by: int = 1) -> int:
        """Count *by* more; a public async method is a message."""
        self.n += by
        return self.n

    async def upto(self) -> AsyncIterator[int]:
        """Count from 0 to here; an async generator is a stream."""
        for i in range(self.n):
            yield i


async def main() -> None:
    """Start a counter, talk to it in every way there is, and see it end."""
    async with actors.System() as system:
        counter = await system.spawn(Counter, 10, name="counter")  # Ref[Counter]
        await counter.tell(Counter.add, 5)  # waits only for room in the mailbox
        print("after telling 5 and asking 1:", await counter.ask(Counter.add, by=1))
        async with counter.stream(Counter.upto) as items:
            print("a stream of it:", [i async for i in items])
        with anyio.fail_after(5):  # a scope cancels; within() also travels with the message
            print("in time:", await counter.within(2.0).ask(Counter.add))
        await counter.stop()
        print("it ended:", await counter.wait())


if __name__ == "__main__":
    actors.run(main)  # asyncio on uvloop; backend="trio" for trio
