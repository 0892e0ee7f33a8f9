"""A counter: an actor owns its state, and its methods are its messages."""

from collections.abc import AsyncIterator

import anyio

import actors


class Counter(actors.Actor):
    """Holds a number."""

    def __init__(self, start: int = 0) -> None:
        self.n = start

    async def add(self, by: int = 1) -> int:
        """Add *by*, and return the sum; a public async method is a message."""
        self.n += by
        return self.n

    async def upto(self) -> AsyncIterator[int]:
        """Yield the numbers below; an async generator is a stream."""
        for i in range(self.n):
            yield i


async def main() -> None:
    """Start a counter, send it messages in every way, and stop it."""
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
