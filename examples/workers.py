"""CPU work spread over process nodes: each worker is an actor with a core of its own."""

import argparse
import time

import anyio

import actors


class Primes(actors.Actor):
    """Counts primes. This blocks the event loop of its node, which has nothing else to do.

    Nobody is killed for that: only nodes that serve a listener are, after 30 seconds (`hang_after=`). Here
    the log says `loop blocked`, and `node busy` after 30 seconds. Other actors on the node, their timers
    and their asks wait meanwhile; the other nodes and the parent do not.
    """

    async def count(self, first: int, last: int) -> int:
        """Return how many primes there are from *first* to before *last*."""
        return sum(_is_prime(n) for n in range(max(first, 2), last))


def _is_prime(n: int) -> bool:
    return all(n % divisor for divisor in range(2, int(n**0.5) + 1))


async def count_primes(workers: list[actors.Ref[Primes]], below: int, parts: int) -> int:
    """Split the work into *parts*; each worker takes another when it has finished one."""
    size = -(-below // parts)
    todo = [(first, min(first + size, below)) for first in range(0, below, size)]
    found: list[int] = []

    async def keep_busy(worker: actors.Ref[Primes]) -> None:
        while todo:
            first, last = todo.pop()  # from the end: large numbers take longest
            found.append(await worker.ask(Primes.count, first, last))

    async with anyio.create_task_group() as tasks:
        for worker in workers:
            tasks.start_soon(keep_busy, worker)
    return sum(found)


async def main(below: int, nodes: int) -> None:
    """Do the same work on one node, then on all of them."""
    topology = actors.Topology(nodes=[actors.nodes("workers", count=nodes)])
    async with actors.System(topology) as system:
        workers = [await system.spawn(Primes, on="workers") for _ in range(nodes)]
        seconds: list[float] = []
        for team in (workers[:1], workers):
            began = time.perf_counter()
            found = await count_primes(team, below, parts=8 * nodes)
            seconds.append(time.perf_counter() - began)
            print(f"{found} primes below {below}, {len(team)} node(s): {seconds[-1]:.2f} s")
        print(f"{nodes} nodes are {seconds[0] / seconds[1]:.1f} times as fast as one")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--below", type=int, default=1_000_000, metavar="N")
    arguments.add_argument("--nodes", type=int, default=2, metavar="N")
    chosen = arguments.parse_args()
    actors.run(main, chosen.below, chosen.nodes)
