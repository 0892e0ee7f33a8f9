"""Everything that can happen to four process nodes and two hundred actors, all at once, for a while.

`Chaos.run` makes it happen and then lets the system come to rest; the figures are for whoever judges.
"""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio

from actors import (
    Actor,
    Backoff,
    Budget,
    Node,
    Ref,
    Restart,
    Strategy,
    System,
    Topology,
    child,
    nodes,
    supervisor,
)
from actors.errors import ActorsError, ActorStopped, NodeDown
from actors.supervisors import ChildNotStarted
from actors.testing import eventually
from tests.soak.chaos_actors import (
    LEDGER,
    Ledger,
    Meter,
    Parent,
    Slow,
    Worker,
    few_descriptors,
    no_threads,
)

NODES: Final = 4
SENDERS: Final = 12
SOON: Final = Backoff(first=0.02, cap=0.3)
PLENTY: Final = Budget(restarts=10**6, within=1.0)
_PER_KIND: Final = {"worker": 90, "transient": 40, "slow": 20, "parent": 10, "here": 10}
_STATIC: Final = {
    Strategy.ONE_FOR_ONE: 20,
    Strategy.REST_FOR_ONE: 5,
    Strategy.ONE_FOR_ALL: 5,
}
_HUNG: Final = 30.0
"""Seconds after which an ask that nobody cancelled counts as one that never ends."""
_CRASHES: Final = 0.002
"""The part of what is told that crashes whoever handles it."""
_STRANGE: Final = {"link_failed", "child_call_failed", "budget_exceeded", "restarts_given_up"}
"""Events that none of what is done here should bring about."""
_MOST: Final = 200 << 20
"""Resident bytes above which a node is replaced; a balloon is larger."""
_REST: Final = 60.0
"""Seconds the system may take to come to rest."""


def topology(ledger: str) -> Topology:
    """Four nodes, and the static part of the tree."""
    grid = nodes(
        "grid",
        count=NODES,
        backoff=Backoff(first=0.05, cap=0.5),
        hang_after=4.0,
        max_rss=_MOST,
        shutdown=2.0,
        env={LEDGER: ledger},
    )
    trees = [
        supervisor(
            strategy.value,
            [_static(f"{strategy.value}/{number}", number) for number in range(count)],
            strategy=strategy,
            budget=PLENTY,
        )
        for strategy, count in _STATIC.items()
    ]
    return Topology(nodes=[grid], children=trees, budget=PLENTY)


def _static(name: str, number: int) -> Any:
    cls: type[Actor] = Parent if number % 10 == 3 else Worker
    return child(cls, 0.9, name=name, on=f"grid/{number % NODES}", mailbox=64, shutdown=0.5)


class Chaos:
    """One run, and what it counted.

    Attributes:
        asks: the asks of this process, by how they ended.
        tells: the tells of this process, by what became of them at once.
        processed: how many of those that were taken a handler got.
        dead: of these, those that became dead letters.
        maybe: of the dead ones, those that may have run.
        blows: what was done to the nodes and actors, by kind.
        unsaid: events that were lost before they were read.
    """

    def __init__(self, system: System, ledger: Ledger, seed: int) -> None:
        self.system = system
        self.ledger = ledger
        self.asks: Counter[str] = Counter()
        self.tells: Counter[str] = Counter()
        self.blows: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.processed = self.dead = self.maybe = self.unsaid = 0
        self.begun = 0
        self.strange: list[str] = []
        self.refs: list[Ref[Any]] = []
        self.ends: Counter[str] = Counter()
        self._kinds: list[str] = []
        self._stopped: set[int] = set()
        self._chance = random.Random(seed)
        self._calm = False
        self._names = 0

    @property
    def nodes(self) -> list[Node]:
        """The process nodes."""
        return [node for node in self.system.nodes if node.kind == "process"]

    # -- the crowd -----------------------------------------------------------------------

    async def gather(self) -> None:
        """Start the crowd."""
        for strategy, count in _STATIC.items():
            for number in range(count):
                ref = await self.system.lookup(f"{strategy.value}/{number}")
                assert ref is not None
                self._add("static", ref)
        for kind, count in _PER_KIND.items():
            for number in range(count):
                self._add(kind, await self._spawn(kind, number))

    def _add(self, kind: str, ref: Ref[Any]) -> None:
        self._kinds.append(kind)
        self.refs.append(ref)

    async def _spawn(self, kind: str, number: int) -> Ref[Any]:
        cls: type[Worker] = {"slow": Slow, "parent": Parent}.get(kind, Worker)
        self._names += 1
        return await self.system.spawn(
            cls,
            1.0 if kind == "slow" else 0.9,
            name=f"{kind}-{self._names}",
            on=self.system.node if kind == "here" else f"grid/{number % NODES}",
            restart=Restart.TRANSIENT if kind == "transient" else Restart.PERMANENT,
            backoff=SOON,
            mailbox=8 if kind == "slow" else 64,
            shutdown=0.5,
        )

    # -- traffic -------------------------------------------------------------------------

    @property
    def sent(self) -> int:
        """Tells that were taken, of senders that live: all of them in this process."""
        return self.tells["taken"]

    def _any(self) -> Ref[Any]:
        return self._chance.choice(self.refs)

    async def tell(self) -> None:
        """Tell others to work, and count what was taken."""
        while not self._calm:
            outcome = "taken"
            try:
                with anyio.move_on_after(self._chance.choice([0.001, 0.02, 5])) as scope:
                    await self._tell_one()
                if scope.cancelled_caught:
                    outcome = "cancelled"
            except ActorsError as error:
                outcome = type(error).__name__
            self.tells[outcome] += 1
            if outcome != "taken" or not self._chance.randrange(16):
                await anyio.sleep(0.001)

    async def _tell_one(self) -> None:
        ref = self._any()
        how = "crash" if self._chance.random() < _CRASHES else ""
        match self._chance.randrange(3):
            case 0:
                ref.tell_nowait(Worker.work, how)
            case 1:
                await ref.within(0.5).tell(Worker.work, how)
            case _:
                await ref.tell(Worker.work, how)

    async def ask(self) -> None:
        """Ask somebody something, now and then without the patience to wait for it."""
        while not self._calm:
            patience = self._chance.choice([0.01, 0.1, _HUNG])
            await self._count(self._question(), patience)
            await anyio.sleep(0.001)

    def _question(self) -> Callable[[], Awaitable[Any]]:
        ref, chance = self._any(), self._chance
        questions: list[Callable[[], Awaitable[Any]]] = [
            lambda: ref.ask(Worker.ping),
            lambda: ref.ask(Worker.fail),
            lambda: ref.ask(Worker.sleep, chance.random() / 50),
            lambda: ref.ask(Worker.sleep_beside, chance.random()),
            lambda: ref.within(0.2).ask(Worker.sleep, chance.random() / 2),
            lambda: ref.ask(Worker.relay, self._any(), 3),
            lambda: ref.ask(Worker.relay, self._any(), 1),
            lambda: self._read(ref),
        ]
        return chance.choice(questions)

    async def _read(self, ref: Ref[Any]) -> None:
        count = self._chance.choice([1, 50, 10**6])
        left = self._chance.randrange(200)
        async with ref.stream(Worker.items, count) as items:
            async for _ in items:
                left -= 1
                if left <= 0:
                    break

    async def _count(self, question: Callable[[], Awaitable[Any]], patience: float) -> None:
        self.begun += 1
        try:
            with anyio.move_on_after(patience) as scope:
                await question()
            if scope.cancelled_caught:
                self.asks["hung" if patience == _HUNG else "cancelled"] += 1
                return
        except (ActorsError, LookupError, OSError) as error:  # some have lost their standard error
            self.asks[type(error).__name__] += 1
        else:
            self.asks["answered"] += 1

    # -- blows ---------------------------------------------------------------------------

    async def strike_nodes(self) -> None:
        """End and stop processes."""
        blows: list[Callable[[Node], Awaitable[None]]] = [
            self._kill_node,
            self._freeze,
            self._freeze_to_death,
            self._from_inside,
            self._from_inside,
            self._from_inside,
            self._from_inside,
            self._short_of_descriptors,
            self._short_of_threads,
        ]
        while not self._calm:
            await anyio.sleep(self._chance.uniform(0.2, 1.5))
            node = self._chance.choice(self.nodes)
            await self._chance.choice(blows)(node)

    def _signal(self, node: Node, number: signal.Signals) -> int | None:
        """Signal the process of a node, if it has one and it is up; return its id."""
        pid = node.pid if node.ready else None
        if pid is not None:
            self.blows[number.name] += 1
            os.kill(pid, number)
        return pid

    async def _kill_node(self, node: Node) -> None:
        self._signal(node, self._chance.choice([signal.SIGKILL, signal.SIGSEGV]))

    async def _freeze(self, node: Node) -> None:
        pid = self._signal(node, signal.SIGSTOP)
        await anyio.sleep(self._chance.choice([0.02, 0.3, 1.5]))
        if pid is not None and node.pid == pid:
            os.kill(pid, signal.SIGCONT)

    async def _freeze_to_death(self, node: Node) -> None:
        """Stop it for good: somebody, or the system itself, has to end it."""
        self._signal(node, signal.SIGSTOP)
        if self._chance.random() < 0.5:
            await anyio.sleep(1)
            self._signal(node, signal.SIGKILL)

    async def _from_inside(self, node: Node) -> None:
        """Have an actor do to its node what the bugs of users' libraries do."""
        seconds = self._chance.uniform(0.1, 1.5)
        method, *args = self._chance.choice(
            [
                (Worker.leave,),
                (Worker.segfault,),
                (Worker.spin, self._chance.choice([18, 20, 22])),
                (Worker.hold_the_lock, self._chance.choice([1, 6])),
                (Worker.balloon, _MOST),
                (Worker.close_descriptors, 0, 3),
                (Worker.close_descriptors, 3, 256),
                (Worker.few_descriptors, seconds),
                (Worker.no_threads, seconds),
                (Worker.shout, 5000),
            ]
        )
        await self._order(node, method, *args)

    async def _order(self, node: Node, method: Any, *args: Any) -> None:
        there = [ref for ref in self.refs if ref.node == node.name]
        self.blows[method.__name__] += 1
        await self._count(lambda: self._chance.choice(there).ask(method, *args), 3)

    async def _short_of_descriptors(self, node: Node) -> None:
        """Kill a node whose successor cannot be started at once."""
        self.blows["parent: few_descriptors"] += 1
        with few_descriptors():
            self._signal(node, signal.SIGKILL)
            await anyio.sleep(self._chance.uniform(0.05, 1))

    async def _short_of_threads(self, node: Node) -> None:
        self.blows["parent: no_threads"] += 1
        with no_threads():
            self._signal(node, signal.SIGKILL)
            await anyio.sleep(self._chance.uniform(0.05, 1))

    async def strike_actors(self) -> None:
        """Crash, kill, stop and restart actors."""
        blows = [self._kill, self._stop_one, self._restart_static]
        while not self._calm:
            await anyio.sleep(self._chance.uniform(0.005, 0.05))
            at = self._chance.randrange(len(self.refs))
            try:
                await self._chance.choice(blows)(at)
            except ActorsError as error:
                self.blows[f"refused: {type(error).__name__}"] += 1

    async def _kill(self, at: int) -> None:
        self.blows["kill"] += 1
        self.refs[at].kill()

    async def _stop_one(self, at: int) -> None:
        """Stop one for good, and start another in its place."""
        if self._kinds[at] == "static":
            return
        self.blows["stop"] += 1
        old = self.refs[at]
        await old.stop(grace=self._chance.choice([0, 0.1, 1.0]), drain=self._chance.random() < 0.5)
        while not self._calm:
            try:
                self.refs[at] = await self._spawn(self._kinds[at], self._chance.randrange(NODES))
            except ActorsError:
                await anyio.sleep(0.05)
            else:
                return

    async def _restart_static(self, at: int) -> None:
        if self._kinds[at] != "static":
            return
        self.blows["stop and restart"] += 1
        branch = self.system.supervisor(self.refs[at].name.partition("/")[0])
        await branch.stop_child(self.refs[at].name)
        while not self._calm:
            try:
                ref = await branch.restart_child(self.refs[at].name)
            except (NodeDown, ChildNotStarted):
                await anyio.sleep(0.05)
            else:
                assert ref is not None
                self.refs[at] = ref
                return

    # -- the run -------------------------------------------------------------------------

    async def listen(self) -> None:
        """Count what the system says."""
        async for event in self.system.events():
            self.events[event.kind] += 1
            facts = event.facts
            if event.kind in _STRANGE:
                self.strange.append(f"{event.kind}: {dict(facts)}")
            if event.kind == "events_lost":
                self.unsaid += facts["count"]
            elif event.kind == "dead_letter" and self._ours(facts):
                self.dead += facts.get("count", 1)
                self.maybe += facts.get("count", 1) if facts.get("may_have_run") else 0

    def _ours(self, facts: Any) -> bool:
        """Whether it is a tell of this process: by its message, or by who had sent it."""
        if facts.get("may_have_run"):
            return bool(facts["node"] == self.system.node.name)
        return bool(facts["message"] == "work")

    async def run(self, seconds: float, say: Callable[[str], None]) -> None:
        """Let it all happen for *seconds*; returns when every question that was asked has ended."""
        with anyio.fail_after(seconds + _REST):
            async with anyio.create_task_group() as tasks:
                for _ in range(SENDERS):
                    tasks.start_soon(self.tell)
                    tasks.start_soon(self.ask)
                tasks.start_soon(self.strike_nodes)
                tasks.start_soon(self.strike_actors)
                end = anyio.current_time() + seconds
                while (left := end - anyio.current_time()) > 0:
                    say(f"{left:.0f} s left: {self.sent} told, {self.begun} asked")
                    await anyio.sleep(min(10, left))
                self._calm = True

    async def rest(self) -> None:
        """Wait until every node is up, and every actor has answered or is known to have ended."""
        with anyio.fail_after(_REST):
            await eventually(lambda: all(node.ready for node in self.nodes), _REST)
            async with anyio.create_task_group() as tasks:
                for ref in self.refs:
                    tasks.start_soon(self._account_for, ref)

    async def _account_for(self, ref: Ref[Any]) -> None:
        while True:
            try:
                assert await ref.ask(Worker.ping) == ref.name
            except ActorStopped:
                self.ends[str(await ref.wait())] += 1
                return
            except ActorsError:
                await anyio.sleep(0.05)  # it crashed on what it had in its queue, and comes back
            else:
                self.ends["serves"] += 1
                return

    async def settle(self) -> None:
        """Wait until no more letters come in, at most ten seconds."""
        last = -1
        for _ in range(10):
            self.processed = self.ledger.total()
            if last == (last := self.processed + self.dead):
                return
            await anyio.sleep(1)

    async def calls(self) -> Counter[str]:
        """Return the asks between actors of the nodes as they are now, by how they ended."""
        found: Counter[str] = Counter()
        for node in self.nodes:
            meter = await self.system.spawn(Meter, on=node)
            found.update(await meter.ask(Meter.calls))
            await meter.stop()
            await meter.wait()
        return found
