"""`python -m benchmarks._handoff`: the CPU time that handing a connection over costs.

Two figures: the CPU time of the router's process for each connection, and the CPU time of all processes
beyond what they take if each node accepts for itself (`ReusePort`).
"""

from typing import Final

from benchmarks._server import server
from benchmarks._wrk import requests_per_second
from benchmarks.ours._figures import figure
from benchmarks.ours.router import command

WARM_UP: Final = 1
SECONDS: Final = 4
LEAST: Final = 0.1
"""Microseconds printed at least: noise can make the difference 0 or negative."""


def microseconds(policy: str, *, handler: str = "handle") -> tuple[float, float]:
    """Return the CPU time a connection takes: in the parent, and in all processes."""
    with server(command(handler, policy, nodes=2)) as served:
        requests_per_second(served.port, seconds=WARM_UP, closing=True)
        before = served.cpu()
        count = SECONDS * requests_per_second(served.port, seconds=SECONDS, closing=True)
        parent, nodes = (1e6 * (b - a) / count for a, b in zip(before, served.cpu(), strict=True))
    return parent, parent + nodes


def main() -> None:
    """Measure both ways one after the other."""
    parent, handed_over = microseconds("own")
    _, accepted = microseconds("reuse-port")
    figure("CPU us a connection", "router process", parent)
    figure("CPU us a connection", "all, beyond reuse-port", max(handed_over - accepted, LEAST))


if __name__ == "__main__":
    main()
