"""The benchmarks of nodes on other machines, all of them on this one; entries of `_catalogue.py`."""

import sys
from collections.abc import Callable
from typing import Final

from benchmarks._harness import Benchmark, Limit, Program, Target
from benchmarks._sides import ours, python_peer

__all__ = ["MACHINES", "WITHOUT_RING"]

WITHOUT_RING: Final = {"ACTORS_RING_AT": "0"}


def _tls() -> Benchmark:
    """Return what TLS between two machines costs beside the least that it can, both on this one."""
    command = (sys.executable, "-m", "benchmarks.peers.stdlib_tls")
    return Benchmark(
        name="tls",
        ours=ours("node", "hosts", called="ours, over TLS"),
        peer=Program(name="asyncio over TLS", command=command),
        targets=(Target(metric="ask us", at_most=1.6),),
    )


def _tls_beside_process() -> Benchmark:
    return Benchmark(
        name="tls-beside-process",
        ours=ours("node", "hosts", called="ours, over TLS"),
        peer=ours("node", "process", called="without rings", variables=WITHOUT_RING),
        targets=(Target(metric="ask us", at_most=2.5),),
    )


def _within_a_place() -> Benchmark:
    """Return what two nodes of one place say to each other beside two of the parent's machine."""
    return Benchmark(
        name="within-a-place",
        ours=ours("siblings", "hosts", called="in a place"),
        peer=ours("siblings", "process", called="two processes"),
        targets=(Target(metric="ask us", at_most=1.1), Target(metric="tell/s", at_least=0.9)),
    )


def _machines() -> Benchmark:
    """Return what two machines say to each other over TLS beside a bare Ray actor, both on this one."""
    return Benchmark(
        name="machines",
        ours=ours("machines", "messages", called="ours, over TLS"),
        peer=python_peer("Ray", "ray_machines"),
        targets=(
            Target(metric="ask us", at_most=0.2),
            Target(metric="tell/s", at_least=20.0),
            Target(metric="64 asks/s", at_least=10.0),
            Target(metric="1 MiB ms", at_most=1.0),
        ),
    )


def _place_crash() -> Benchmark:
    """Return how long the death of a node of another machine takes; a round trip there is less than 1 ms."""
    limits = {("kill to NodeDown ms", "place"): 10.0, ("kill to serving ms", "place"): 150.0}
    return Benchmark(
        name="place-crash",
        ours=ours("machines", "crash"),
        peer=Limit(figures=limits),
        targets=(
            Target(metric="kill to NodeDown ms", at_most=1.0),
            Target(metric="kill to serving ms", at_most=1.0),
        ),
    )


MACHINES: Final[dict[str, Callable[[], Benchmark]]] = {
    "tls": _tls,
    "tls-beside-process": _tls_beside_process,
    "within-a-place": _within_a_place,
    "machines": _machines,
    "place-crash": _place_crash,
}
