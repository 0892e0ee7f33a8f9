"""Many asks to many actors on several nodes, cancelled at random, and what each node still holds then."""

from __future__ import annotations

import gc
import random
from collections import Counter
from typing import Any, Final

import anyio
import anyio.lowlevel

from actors import Actor, Ref, System, concurrent
from actors.errors import ActorsError
from actors.testing import eventually

LARGE: Final = 100_000
ACTORS: Final = 100
ASKERS: Final = 100


class Refused(Exception):
    """What a clerk says when it will not."""


class Clerk(Actor):
    """Answers at once, late, with a lot, with an error, or with what another says."""

    async def at_once(self, number: int) -> int:
        return number

    async def later(self, number: int, seconds: float) -> int:
        await anyio.sleep(seconds)
        return number

    @concurrent
    async def beside(self, number: int, seconds: float) -> int:
        await anyio.sleep(seconds)
        return number

    async def a_lot(self, number: int, text: bytes) -> tuple[int, bytes]:
        return number, text

    async def never(self, number: int) -> int:
        raise Refused(str(number))

    async def by_another(self, number: int, other: Ref[Clerk]) -> int:
        return await other.ask(Clerk.at_once, number)

    async def books(self) -> dict[str, int]:
        return books(self.context.ref.host, self.context.ref.uid)


def books(home: Any, besides: int = 0) -> dict[str, int]:
    """What a node still owes or waits for; the message that asks an actor for them is not in them."""
    links = [peer.link for peer in home.peers.values() if peer.link is not None]
    accounts = [account for peer in home.peers.values() for account in peer._remote_actors.values()]
    cells = [cell for cell in home.cells.values() if cell.ref.uid != besides]
    clerks = [account for account in accounts if account.ref.cls_path.endswith(":Clerk")]
    memory = home.memory.stats()
    return {
        "awaited": sum(len(link.pending) for link in links),
        "served": sum(len(link.serving) for link in links) - bool(besides),
        "places not given back": sum(one.ref.mailbox - one.credit for one in clerks),
        "in line": sum(len(account.wait_queue.waiting) for account in accounts),
        "queued": sum(len(cell.mailbox) for cell in cells),
        "waiting_for": sum(len(cell.waiting_for) for cell in cells),
        "owed": sum(
            credit.taken for cell in cells for credit in (cell.credit_returns or {}).values()
        ),
        "leases": memory["leases"] + memory["mapped_leases"],
    }


class Asking:
    """Asks, and how each of them ended."""

    def __init__(self, system: System, clerks: list[Ref[Clerk]], seed: int) -> None:
        self.ends: Counter[str] = Counter()
        self._system = system
        self._clerks = clerks
        self._chance = random.Random(seed)
        self._left = 0

    async def ask(self, count: int) -> None:
        """Make so many, some at a time."""
        self._left += count
        async with anyio.create_task_group() as tasks:
            for _ in range(ASKERS):
                tasks.start_soon(self._asker)

    async def _asker(self) -> None:
        while self._left > 0:
            self._left -= 1
            number = self._left
            chance = self._chance.random()
            with anyio.CancelScope() as scope:
                if chance < 0.2:
                    scope.deadline = anyio.current_time() + self._chance.random() * 0.01
                elif chance < 0.25:
                    scope.cancel()
                self.ends[await self._one(number)] += 1
            if scope.cancelled_caught:
                self.ends["cancelled"] += 1

    async def _one(self, number: int) -> str:
        ref: Any = self._chance.choice(self._clerks)
        if self._chance.random() < 0.1:
            ref = ref.within(self._chance.random() * 0.01 + 1e-6)
        method, *args = self._message()
        try:
            got = await ref.ask(method, number, *args)
        except Refused as error:
            return "Refused" if str(error) == str(number) else f"of another: {error}"
        except ActorsError as error:
            return type(error).__name__
        wanted = (number, *args) if method is Clerk.a_lot else number
        return "reply" if got == wanted else f"of another: {got!r:.80}"

    def _message(self) -> tuple[Any, ...]:
        seconds = self._chance.random() * 0.005
        other = self._chance.choice(self._clerks)
        return self._chance.choices(
            [
                (Clerk.at_once,),
                (Clerk.later, seconds),
                (Clerk.beside, seconds),
                (Clerk.by_another, other),
                (Clerk.never,),
                (Clerk.a_lot, bytes(LARGE)),
            ],
            weights=[10, 2, 2, 3, 2, 1],
        )[0]

    async def is_settled(self) -> None:
        """Nobody owes anything any more, on any node."""

        async def all_books() -> dict[str, int]:
            gc.collect()
            found = [books(self._clerks[0].host)]
            found += [await clerk.ask(Clerk.books) for clerk in self._clerks[-4:]]
            return {name: sum(each[name] for each in found) for name in found[0]}

        left: dict[str, int] = {}

        async def none_left() -> bool:
            left.update(await all_books())
            return not any(left.values())

        try:
            await eventually(none_left, 20)
        except AssertionError:
            assert not any(left.values()), left
            raise


async def clerks_on(system: System, nodes: list[str]) -> list[Ref[Clerk]]:
    """Actors on some nodes in turn; a few of them have hardly room."""
    return [
        await system.spawn(
            Clerk, on=nodes[number % len(nodes)], mailbox=2 if number % 10 == 0 else 1024
        )
        for number in range(ACTORS)
    ]
