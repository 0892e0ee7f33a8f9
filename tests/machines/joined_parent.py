"""`python -m tests.machines.joined_parent SECRET`: two agents join, and their actors ask each other."""

from __future__ import annotations

import sys
from functools import partial

from actors import System, Topology, nodes, run
from tests.machines.far_actors import Counter


async def main(secret: str) -> None:
    """Print the sum that an actor on one host has another one on another host make."""
    topology = Topology(nodes=[nodes("far", count=2, engine="join")], join_secret=secret)
    async with System(topology, reach="0.0.0.0:7000") as system:
        one = await system.spawn(Counter, 1, on="far/0")
        other = await system.spawn(Counter, 2, on="far/1")
        there = await one.ask(Counter.ask_other, other, 5)
        back = await other.ask(Counter.ask_other, one, 5)
        sys.stdout.write(f"{there} {back}\n")


if __name__ == "__main__":
    run(partial(main, sys.argv[1]))
