"""An event loop on which a test skips time: sockets and threads are real, only the clock goes ahead."""

import asyncio
from collections.abc import Awaitable, Callable

from actors._base.loop import Loop
from actors._base.run_loop import open_loop

_TURNS = 100
"""Turns of the loop after which everything that waits for no time has been done."""


class SkippingLoop(asyncio.SelectorEventLoop):
    """Its time is that of the machine, and what was skipped."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


async def settle() -> None:
    """Let everything be done that is due, with what has arrived."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


async def skip(seconds: float) -> None:
    """Let *seconds* pass at once."""
    await settle()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SkippingLoop)
    loop.skipped += seconds
    await settle()


def run_skipping(test: Callable[[Loop], Awaitable[None]]) -> None:
    """Run *test* on such a loop."""

    async def main() -> None:
        async with open_loop() as loop:
            await test(loop)

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        runner.run(main())
