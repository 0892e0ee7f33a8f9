"""The payloads and counts of the message benchmarks, and how our side is timed.

The peers' programs have copies of the payloads and counts: change them together.
"""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import actors
from benchmarks.ours._figures import figure

TELLS: Final = 100_000
ASKS: Final = 10_000
WARM_UP: Final = 1_000


@dataclass(frozen=True, slots=True)
class Order:
    """A data object as an application would have it."""

    number: int
    customer: str
    price: float
    paid: bool


PAYLOADS: Final[dict[str, Any]] = {
    "int": 1,
    "dict": {
        "id": 12_345,
        "name": "Ada Lovelace",
        "email": "ada@example.org",
        "active": True,
        "score": 98.5,
        "tags": ["a", "b", "c"],
        "parent": None,
        "created": "2024-05-06T07:08:09Z",
        "count": 42,
    },
    "object": Order(number=12_345, customer="Ada Lovelace", price=98.5, paid=True),
}


class Counter(actors.Actor):
    """Counts what it is sent."""

    def __init__(self) -> None:
        self.seen = 0

    async def take(self, payload: Any) -> int:  # noqa: ARG002 - only its arrival is measured
        """Count one more and return the new count."""
        self.seen += 1
        return self.seen


async def measure(counter: actors.Ref[Counter]) -> None:
    """Time tells and asks of every payload and print a line for each."""
    async for found in timed(counter):
        figure(*found)


async def timed(counter: actors.Ref[Counter]) -> AsyncIterator[tuple[str, str, float]]:
    """Time tells and asks of every payload."""
    for name, payload in PAYLOADS.items():
        for _ in range(WARM_UP):
            await counter.ask(Counter.take, payload)
        yield "tell/s", name, await _tells_per_second(counter, payload)
        yield "ask us", name, await _microseconds_per_ask(counter, payload)


async def _tells_per_second(counter: actors.Ref[Counter], payload: Any) -> float:
    """Return the rate at which tells were *handled*: the clock stops at the reply to a last ask."""
    before = await counter.ask(Counter.take, payload)
    start = time.perf_counter()
    for _ in range(TELLS):
        await counter.tell(Counter.take, payload)
    after = await counter.ask(Counter.take, payload)
    seconds = time.perf_counter() - start
    if after - before != TELLS + 1:
        raise RuntimeError(f"{TELLS + 1} messages sent, {after - before} handled")
    return TELLS / seconds


async def _microseconds_per_ask(counter: actors.Ref[Counter], payload: Any) -> float:
    start = time.perf_counter()
    for _ in range(ASKS):
        await counter.ask(Counter.take, payload)
    return 1e6 * (time.perf_counter() - start) / ASKS
