"""Hand-off under fire: nodes are killed, stopped, drained, scaled and reloaded under 200 connections a second.

Every client is served, or its connection ends because the node that had taken it has died: nobody is
refused, nobody waits in vain, nobody gets an answer that is not his, and what no node has taken goes to
another. Where nodes accept by themselves, nobody can say what they had taken; a queue of their own, too,
is lost with them.
"""

from __future__ import annotations

import os
import random
import re
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream, SocketAttribute, SocketStream

from actors import ActorsError, Backoff, LeastConnections, Sticky, System, Topology, listen, nodes
from actors._system.system import coordinator_of
from actors.keys import key
from actors.policies import ReusePort, RoundRobin, Snapshot

SECONDS = float(os.environ.get("FIRE_SECONDS", "60"))
SEED = int(os.environ.get("FIRE_SEED", "0")) or int.from_bytes(os.urandom(3))
RATE = 200
MOST = 300
"""Clients at a time: where the machine is too busy for the rate, fewer come, and this is counted."""
PATIENCE = 30.0
"""Seconds that no client may have to wait: a node that is stopped for good is killed long before."""

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 180)]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return ("asyncio", {"use_uvloop": True})


async def answer(stream: ByteStream) -> None:
    """Say each word again after a moment, until the client has no more."""
    async for word in stream:
        await anyio.sleep(0.01)
        await stream.send(word)


def last_digit(head: bytes, _client: object) -> bytes:
    """A key of the user's: what the first word of a client ends in."""
    return head[-1:]


@dataclass(frozen=True)
class FirstWithRoom:
    """A policy of the user's: fills one node after another, and lets clients wait when all are full."""

    most: int = 100

    def __str__(self) -> str:
        return "user's policy"

    def choose(self, nodes: Sequence[Snapshot], _key: bytes | None) -> Snapshot | None:
        able = (node for node in nodes if node.eligible and node.open + node.pending < self.most)
        return next(able, None)


ROUTED = [Sticky(key(last_digit)), FirstWithRoom()]
"""Under these, connections pass through the parent, which has them until a node has taken them."""


class Fire:
    """A system, its clients, and what is done to it."""

    def __init__(self, system: System, seed: int) -> None:
        self.core = coordinator_of(system)
        self.system = system
        self.chance = random.Random(seed)
        self.ends: Counter[str] = Counter()
        self.blows: Counter[str] = Counter()
        self.started = 0
        self.held_back = 0
        self.frozen: set[int] = set()
        self.slowest = 0.0
        self.redispatched = self.dropped = 0
        self.calm = anyio.Event()
        self.untaken: Counter[int] = Counter()
        """Of each port of a client, how many connections no node has taken."""

    def note_what_is_taken(self) -> None:
        """Count what nodes acknowledge, by the ports of the clients."""
        router, on_acks = self.router, self.router.on_acks

        def counting(name: str, taken: list[int], refused: list[int], closed: list[int]) -> None:
            owed = {member.name: member.unacked for member in router._dispatch.members}
            for number in {*taken, *closed} & owed.get(name, {}).keys():
                self.untaken[owed[name][number].client[1]] -= 1
            on_acks(name, taken, refused, closed)

        router.on_acks = counting

    @property
    def router(self) -> Any:
        router = self.core.listeners[0].router
        assert router is not None
        return router

    @property
    def up(self) -> list[int]:
        """The processes of nodes that are ready."""
        return [node.pid for node in self.core.nodes.values() if node.ready and node.pid]

    # -- clients ---------------------------------------------------------------------------

    async def clients(self, seconds: float) -> None:
        """Start clients at an even rate, whatever becomes of those before."""
        begin = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            while (now := anyio.current_time() - begin) < seconds:
                while self.started + self.held_back < RATE * now:
                    if self.started - self.ends.total() >= MOST:
                        self.held_back += 1
                        continue
                    self.started += 1
                    tasks.start_soon(self.client, self.started)
                await anyio.sleep(0.005)
            self.calm.set()

    async def client(self, number: int) -> None:
        begin = anyio.current_time()
        try:
            with anyio.fail_after(PATIENCE):
                end = await self._talk(number, self.chance.choice([1] * 8 + [2, 10]))
        except TimeoutError:
            end = "waited in vain"
        self.slowest = max(self.slowest, anyio.current_time() - begin)
        self.ends[end] += 1

    async def _talk(self, number: int, rounds: int) -> str:
        try:
            stream = await anyio.connect_tcp("127.0.0.1", self.router.port)
        except OSError:
            return "refused"
        async with stream:
            self.untaken[stream.extra(SocketAttribute.local_port)] += 1  # noqa: S610 - not Django's
            try:
                return await self._rounds(stream, b"%d" % number, rounds)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return "closed"

    async def _rounds(self, stream: SocketStream, word: bytes, rounds: int) -> str:
        for round_ in range(rounds):
            if round_:
                await anyio.sleep(0.05)
            await stream.send(word)
            if (answered := await stream.receive()) != word:
                return f"wrong answer: {answered!r} to {word!r}, in round {round_} of {rounds}"
        return "served"

    # -- blows -----------------------------------------------------------------------------

    async def strike(self, least: int, *blows: Callable[[], Awaitable[None]]) -> None:
        """Do one thing after another, for as long as the clients come, with *least* nodes unharmed."""
        while not self.calm.is_set():
            await anyio.sleep(self.chance.uniform(0.1, 1.0))
            if len(set(self.up) - self.frozen) < least:
                continue  # with nobody left to serve there is nothing to be seen
            blow = self.chance.choice(blows)
            with suppress(ActorsError, ProcessLookupError):
                await blow()
                self.blows[blow.__name__.strip("_").replace("_", " ")] += 1

    async def kill(self) -> None:
        if self.up:
            os.kill(self.chance.choice(self.up), signal.SIGKILL)

    async def stop(self) -> None:
        if self.up:
            pid = self.chance.choice(self.up)
            os.kill(pid, signal.SIGSTOP)
            await anyio.sleep(self.chance.choice([0.05, 0.3, 2.0]))
            os.kill(pid, signal.SIGCONT)

    async def stop_for_good(self) -> None:
        if self.up:
            pid = self.chance.choice(self.up)
            os.kill(pid, signal.SIGSTOP)
            self.frozen.add(pid)

    async def scale(self) -> None:
        await self.system.scale("web", self.chance.randint(2, 5))

    async def reload(self) -> None:
        await self.system.reload("web")

    # -- the end -----------------------------------------------------------------------------

    async def rest(self) -> Counter[str]:
        """Let all get up again and serve once; return which descriptors there are then, by what they are of."""
        with anyio.fail_after(60):
            await self.system.scale("web", 4)
            await self._idle()
        served: Counter[str] = Counter()
        for number in range(100):
            served[await self._talk(number, 1)] += 1
        assert served["served"] == 100, served
        await self._idle()
        return _descriptors()

    async def _idle(self) -> None:
        while len(self.up) != 4 or any(place.open for place in self.router.snapshot().nodes):  # noqa: ASYNC110 - it has no event to give
            await anyio.sleep(0.1)


def _descriptors() -> Counter[str]:
    """Return how many descriptors this process has of each kind."""
    kinds: Counter[str] = Counter()
    for fd in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of the folder itself
            kinds[re.sub(r"[0-9]+", "", str(fd.readlink()))] += 1
    return kinds


def topology(policy: Any) -> Topology:
    web = nodes("web", count=4, backoff=Backoff(first=0.05, cap=0.2), hang_after=4.0, shutdown=5.0)
    return Topology(nodes=[web], listeners=[listen(answer, "127.0.0.1:0", policy=policy)])


async def _fire(policy: Any) -> Fire:
    """Serve clients under fire, and return what became of them."""
    async with System(topology(policy)) as system:
        fire = Fire(system, SEED)
        if policy in ROUTED:
            fire.note_what_is_taken()
        before = await fire.rest()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fire.strike, 2, fire.kill, fire.kill, fire.stop, fire.stop_for_good)
            tasks.start_soon(fire.strike, 1, fire.scale, fire.reload)
            await fire.clients(SECONDS)
        for pid in fire.up:
            os.kill(pid, signal.SIGCONT)
        after = await fire.rest()
        snapshot = fire.router.snapshot()
        fire.redispatched, fire.dropped = snapshot.redispatched, snapshot.dropped
    print(  # noqa: T201 - what a soak has counted is to be seen
        f"\n{policy}: seed {SEED}, {fire.started} clients, {fire.held_back} held back:"
        f" {dict(fire.ends)}, slowest {fire.slowest:.1f} s; blows {dict(fire.blows)};"
        f" {fire.redispatched} went to another node; descriptors {before.total()} -> {after.total()}"
    )
    assert fire.ends.total() == fire.started
    assert after == before
    return fire


@pytest.mark.parametrize("policy", ROUTED, ids=str)
async def test_every_client_is_served_or_was_taken_by_a_node_that_died(
    policy: Any, no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTORS_LOG", "critical")
    fire = await _fire(policy)
    assert set(fire.ends) <= {"served", "closed"}
    # A connection that three nodes have died on is given up.
    assert (+fire.untaken).total() <= fire.dropped
    assert fire.redispatched > 0, "no node died with a connection that it had not taken"


@pytest.mark.parametrize("policy", [LeastConnections(), RoundRobin(), ReusePort()], ids=str)
async def test_what_nodes_accept_is_served_or_ends(
    policy: Any, no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTORS_LOG", "critical")
    fire = await _fire(policy)
    # Only a queue that all nodes share outlives the last of them.
    refused = {"refused"} if isinstance(policy, ReusePort) else set()
    assert set(fire.ends) <= {"served", "closed"} | refused
    assert fire.ends["served"] > 0
