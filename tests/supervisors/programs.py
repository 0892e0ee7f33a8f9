"""Random programs for supervisors: a tree, and what happens to it. Drawn quickly, shrunk well."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, TypeAlias

from hypothesis import strategies as st

from actors.supervisors import AutoShutdown, Strategy
from tests.supervisors.plain import INF, Spec

Step: TypeAlias = tuple[Any, ...]


class Odd:
    """Makes every duration a little longer by another bit, so that no two timers coincide."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, seconds: float) -> float:
        if seconds in (0, INF):
            return seconds
        self.count += 1
        return seconds + ((self.count * 2654435761) % 2**22 | 1) * 2.0**-26


# One draw each, for speed: all that a child, a worker and a supervisor may be.
CHILDREN = list(
    product(["PERMANENT", "TRANSIENT", "TEMPORARY"], [None, None, (0.5, 3), (1, 9)], [False, True])
)
WORKERS = list(product([3.0, 1.0, 0.0, INF], [0.0, 0.0, 0.5, 2.0, INF], [False, True]))
BUDGETS = [(8, 3600.0), (20, 5.0), (3, 5.0), (1, 2.0), (0, 1.0)]
DEADLINES = [(INF, None, None), (INF, 4.0, 2), (2.0, None, None), (0.0, 4.0, None)]
SUPERVISORS = list(product(DEADLINES, BUDGETS, Strategy, AutoShutdown))
A_CHILD, A_WORKER = st.sampled_from(CHILDREN), st.sampled_from(WORKERS)
A_SUPERVISOR = st.sampled_from(SUPERVISORS)
KINDS = st.sampled_from([1, 1, 2])
DEEPER = st.sampled_from([False, False, True])
FEW, MORE, OPTIONAL = st.integers(1, 3), st.integers(1, 5), st.integers(0, 2)


class Drawing:
    """Draws a tree."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw, self.odd = draw, Odd()

    def supervisor(self, name: str, depth: int, **fields: Any) -> Spec:
        """Draw a supervisor and all that may be under it."""
        kind = self.draw(KINDS)
        (grace, deadline, room), budget, strategy, auto_shutdown = self.draw(A_SUPERVISOR)
        auto = auto_shutdown.value if kind == 1 else "NEVER"
        many = self.draw(MORE if depth == 0 else FEW)
        children = tuple(
            self.child(f"{name}.{n}", depth + 1, auto, hosted=kind == 1 or n == 0)
            for n in range(many)
        )
        first = max(0, many - self.draw(OPTIONAL)) if kind == 1 else 0
        return Spec(
            name,
            kind=kind,
            auto=auto,
            grace=self.odd(grace),
            strategy=strategy.value,
            budget=budget,
            deadline=deadline and self.odd(deadline),
            room=room,
            children=children[:first],
            more=children[first:],
            **fields,
        )

    def child(self, name: str, depth: int, auto: str, *, hosted: bool) -> Spec:
        """Draw a child."""
        restart, backoff, significant = self.draw(A_CHILD)
        fields: dict[str, Any] = {
            "restart": restart,
            "backoff": backoff and (self.odd(backoff[0]), backoff[1]),
            "significant": auto != "NEVER" and restart != "PERMANENT" and significant,
        }
        if depth < 3 and self.draw(DEEPER):
            return self.supervisor(name, depth, **fields)
        grace, stop_takes, on_host = self.draw(A_WORKER)
        return Spec(
            name,
            grace=self.odd(grace),
            stop_takes=self.odd(stop_takes),
            hosted=hosted and on_host,
            **fields,
        )


PLANS = [("FAILED", 0.0), ("FAILED", 1.0), ("READY", 1.0), ("READY", INF), ("IGNORED", 0.0)]
PLANS += [("DIES", 0.0), ("DIES", 1.0)]
CALLS = ["start_child"] * 2 + ["stop_child", "restart_child"] * 2 + ["delete_child"]
SELF_ENDS = ["CRASHED", "CRASHED", "CRASHED", "NORMAL", "SHUTDOWN", "KILLED"]
ARGUMENTS: dict[str, tuple[int, list[Any]]] = {
    "end": (8, SELF_ENDS),
    "ends": (4, SELF_ENDS),
    "plan": (5, [(plan, times) for plan in PLANS for times in (1, 2, 4)]),
    "grow": (5, [None]),
    "call": (6, CALLS),
    "host": (3, ["down", "up", "up", "down", "up", "lost"]),
    "sleep": (6, [0.25, 1, 2, 5, 12]),
    "window": (2, [1.0, 2.0, 5.0]),
    "root": (1, ["stop", "stop", "kill"]),
}
"""How often each step is taken, and what with."""
TABLE = [("rest", None)] + [
    (name, argument)
    for name, (often, arguments) in ARGUMENTS.items()
    for n in range(often * 6)
    for argument in [arguments[n % len(arguments)]]
]
STEPS = st.tuples(st.sampled_from(TABLE), st.integers(0, 2**10))


@st.composite
def programs(draw: st.DrawFn, *, steps: int) -> tuple[Spec, list[Step]]:
    """Draw a tree, and *steps* things that happen to it."""
    tree = Drawing(draw).supervisor("r", 0)
    drawn = draw(st.lists(STEPS, min_size=steps, max_size=steps))
    return tree, [(name, number, argument) for (name, argument), number in drawn]


def everyone(spec: Spec) -> Iterator[Spec]:
    """Give all specs of a tree, parents first."""
    yield spec
    for child in spec.children + spec.more:
        yield from everyone(child)
