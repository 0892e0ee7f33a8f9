"""Tell and ask a Pykka actor: a thread of its own, payloads by reference.

The same payloads and counts as `ours/_workload.py`. Runs on the interpreter `setup.sh` made.
"""

import json
import time
from dataclasses import dataclass
from typing import Any, Final

import pykka

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


class Counter(pykka.ThreadingActor):
    """Counts what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def on_receive(self, message: Any) -> int:  # noqa: ARG002 - to arrive is all a payload does here
        """Count one more and return how many there were."""
        self.seen += 1
        return self.seen


def main() -> None:
    """Time tells and asks of every payload and print a line for each."""
    counter = Counter.start()
    try:
        for name, payload in PAYLOADS.items():
            for _ in range(WARM_UP):
                counter.ask(payload)
            report("tell/s", name, tells_per_second(counter, payload))
            report("ask us", name, microseconds_per_ask(counter, payload))
    finally:
        pykka.ActorRegistry.stop_all()


def tells_per_second(counter: Any, payload: Any) -> float:
    """Return the rate at which tells were handled: the clock stops at the reply to a last ask."""
    before = counter.ask(payload)
    start = time.perf_counter()
    for _ in range(TELLS):
        counter.tell(payload)
    after = counter.ask(payload)
    seconds = time.perf_counter() - start
    if after - before != TELLS + 1:
        raise RuntimeError(f"{TELLS + 1} messages sent, {after - before} handled")
    return TELLS / seconds


def microseconds_per_ask(counter: Any, payload: Any) -> float:
    """Return the time of one ask, each sent after the reply to the one before."""
    start = time.perf_counter()
    for _ in range(ASKS):
        counter.ask(payload)
    return 1e6 * (time.perf_counter() - start) / ASKS


def report(metric: str, payload: str, value: float) -> None:
    """Print one figure."""
    print(json.dumps({"metric": metric, "payload": payload, "value": value}), flush=True)


if __name__ == "__main__":
    main()
