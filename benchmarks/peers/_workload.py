"""The payloads, counts and timing of `ours/_workload.py`, for the Python environment of the peers."""

import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

TELLS: Final = 100_000
ASKS: Final = 10_000
WARM_UP: Final = 1_000
SLOW_TELLS: Final = 5_000
SLOW_ASKS: Final = 1_000
"""For peers that would need minutes."""


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


def measure(
    tell: Callable[[Any], object],
    ask: Callable[[Any], int],
    *,
    tells: int = TELLS,
    asks: int = ASKS,
    warm_up: int = WARM_UP,
) -> None:
    """Time tells and asks of every payload and print a line for each.

    Args:
        tell: sends a payload and waits for nothing.
        ask: sends a payload and returns how many have been handled, with it.
        tells: how many tells; their clock stops at the reply to a last ask.
        asks: how many asks, each sent after the reply to the one before.
        warm_up: asks before the clock starts.
    """
    for name, payload in PAYLOADS.items():
        for _ in range(warm_up):
            ask(payload)
        before = ask(payload)
        start = time.perf_counter()
        for _ in range(tells):
            tell(payload)
        after = ask(payload)
        report("tell/s", name, tells / (time.perf_counter() - start))
        _check(after - before, tells)
        start = time.perf_counter()
        for _ in range(asks):
            ask(payload)
        report("ask us", name, 1e6 * (time.perf_counter() - start) / asks)


async def measure_async(
    tell: Callable[[Any], Awaitable[object]],
    ask: Callable[[Any], Awaitable[int]],
    *,
    tells: int = TELLS,
    asks: int = ASKS,
    warm_up: int = WARM_UP,
) -> None:
    """As `measure`, for coroutine functions."""
    for name, payload in PAYLOADS.items():
        for _ in range(warm_up):
            await ask(payload)
        before = await ask(payload)
        start = time.perf_counter()
        for _ in range(tells):
            await tell(payload)
        after = await ask(payload)
        report("tell/s", name, tells / (time.perf_counter() - start))
        _check(after - before, tells)
        start = time.perf_counter()
        for _ in range(asks):
            await ask(payload)
        report("ask us", name, 1e6 * (time.perf_counter() - start) / asks)


def _check(handled: int, tells: int) -> None:
    if handled != tells + 1:
        raise RuntimeError(f"{tells + 1} messages sent, {handled} handled")


def report(metric: str, payload: str, value: float) -> None:
    """Print one figure."""
    print(json.dumps({"metric": metric, "payload": payload, "value": value}), flush=True)
