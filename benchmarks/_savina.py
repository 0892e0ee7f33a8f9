"""What every program of the Savina benchmarks has: their sizes, their figures, and the code without messages.

After Imam and Sarkar, "Savina - An Actor Benchmark Suite" (AGERE 2014), with smaller sizes. All actors of a
program are in one process. `peers/erlang_savina.escript` has a copy of the sizes: change them together.
"""

import math
import random
import time
from typing import Final

from benchmarks.ours._figures import figure

__all__ = [
    "CHAMENEOS",
    "COLOURS",
    "CREATED",
    "MEALS",
    "MEETINGS",
    "NEIGHBOURS",
    "NUMBERS",
    "PHILOSOPHERS",
    "PINGS",
    "ROUND_TRIPS",
    "WORKERS",
    "WORK_EACH",
    "Forks",
    "Stopwatch",
    "complement",
    "compute",
    "other_than",
]

ROUND_TRIPS: Final = 20_000
NUMBERS: Final = 100_000
CREATED: Final = 5_000
WORKERS: Final = 60
WORK_EACH: Final = 1_000
NEIGHBOURS: Final = 120
PINGS: Final = 200
CHAMENEOS: Final = 100
MEETINGS: Final = 10_000
PHILOSOPHERS: Final = 20
MEALS: Final = 500

COLOURS: Final = ("blue", "red", "yellow")


def complement(one: str, other: str) -> str:
    """Return the colour that two chameneos of these colours get."""
    if one == other:
        return one
    return next(colour for colour in COLOURS if colour not in (one, other))


def compute() -> float:
    """Do what a worker of fork-join does for each message."""
    sine = math.sin(37.2)
    return sine * sine


def other_than(own: int) -> int:
    """Return the number of a neighbour, by chance."""
    number = int(random.random() * (NEIGHBOURS - 1))
    return number + (number >= own)


class Forks:
    """The forks on the table, which the arbitrator of the philosophers has."""

    def __init__(self) -> None:
        self._taken = [False] * PHILOSOPHERS

    def take(self, philosopher: int) -> bool:
        """Take the two beside a philosopher, unless one is taken."""
        left, right = philosopher, (philosopher + 1) % PHILOSOPHERS
        if self._taken[left] or self._taken[right]:
            return False
        self._taken[left] = self._taken[right] = True
        return True

    def put_back(self, philosopher: int) -> None:
        """Put both back."""
        self._taken[philosopher] = self._taken[(philosopher + 1) % PHILOSOPHERS] = False


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def report(self, metric: str, name: str, count: int) -> None:
        """Print how many a second there were."""
        figure(metric, name, count / (time.perf_counter() - self._start))
