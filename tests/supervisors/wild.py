"""A hierarchy in which everything that can go wrong does, by dice, and what is always true of it.

The sites of failure: a factory, a start, a stop, a kill, a wait, a reporter and a `gone` that raise;
a start and a stop that hang; an end before the start has returned, during the own stop, and during
the stop of a sibling; calls that are cancelled; all of it at once, while others start and stop.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import anyio
import trio
from anyio.abc import TaskGroup

from actors.supervisors import (
    AutoShutdown,
    Backoff,
    Budget,
    ChildEnded,
    ChildSpec,
    ChildStarted,
    DynamicSupervisor,
    Exit,
    Ignored,
    Restart,
    Strategy,
    Supervisor,
    SupervisorError,
    SupervisorEvent,
)

ABANDON_AFTER = 5.0
LONGEST_KILL = 1.0
LONGEST_GRACE = 3.0


class Bug(Exception):
    """What fails, fails with this."""


class Worker:
    """One run of a worker; what it does wrong was decided when it was made."""

    def __init__(self, name: str, parent: Any, tree: Tree) -> None:
        self.name, self.parent, self.tree = name, parent, tree
        self.starting = self.started = False
        self.exit: Exit | None = None
        self.wrong = tree.dice.choice(WRONGS)
        self._over = anyio.Event()
        self._scope: anyio.CancelScope | None = None
        self._tell: Callable[[Exit], None] | None = None
        tree.workers.append(self)

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Start, or not."""
        self.tree.expect(not self.starting, f"{self.name} is started twice")
        self.starting = True
        self._tell = ended
        try:
            with anyio.CancelScope() as self._scope:
                await self._start()
            if self._scope.cancelled_caught:
                raise Bug("killed while it started")  # noqa: TRY301 - it is what the start raises
            self.started = True
        except BaseException:
            self._tell = None
            raise

    async def _start(self) -> None:
        if self.wrong in ("start hangs", "start is slow"):
            await anyio.sleep(math.inf if self.wrong == "start hangs" else 0.7)
        elif self.wrong == "start raises":
            raise Bug("start")
        elif self.wrong == "ignored":
            raise Ignored
        elif self.wrong == "dies at once":
            self.started = True
            self.end(Exit.CRASHED(Bug("at once")))

    async def wait(self) -> Exit:
        """Wait, or fail."""
        if self.wrong == "wait raises":
            raise Bug("wait")
        await self._over.wait()
        assert self.exit is not None
        return self.exit

    def stop(self) -> None:
        """End, sooner or later or not at all, or take a sibling along."""
        self.tree.expect(self.exit is None, f"{self.name} is stopped after its end")
        self.tree.expect(self.started, f"{self.name} is stopped before it started")
        if self.wrong == "stop raises":
            raise Bug("stop")
        if self.wrong == "crashes while it stops":
            self.tree.later(0.3, lambda: self.end(Exit.CRASHED(Bug("stopping"))))
        elif self.wrong == "takes a sibling along":
            siblings = [w for w in self.tree.alive() if w.parent is self.parent and w is not self]
            for sibling in siblings[:1]:
                sibling.end(Exit.CRASHED(Bug("a sibling stopped")))
            self.tree.later(0.2, lambda: self.end(Exit.SHUTDOWN))
        elif self.wrong == "stop is slow":
            self.tree.later(1.3, lambda: self.end(Exit.NORMAL))
        elif self.wrong != "stop hangs":
            self.end(Exit.SHUTDOWN)

    def kill(self) -> None:
        """End, at once or soon."""
        self.tree.expect(self.exit is None, f"{self.name} is killed after its end")
        if not self.started and self._scope is not None:
            self._scope.cancel()
        elif self.wrong == "kill is slow":
            self.tree.later(LONGEST_KILL, lambda: self.end(Exit.KILLED))
        else:
            self.end(Exit.KILLED)
        if self.wrong == "kill raises":
            raise Bug("kill")

    def end(self, exit_: Exit) -> None:
        """End, if it has not."""
        if self.started and self.exit is None:
            self.exit = exit_
            self._over.set()
            if self._tell is not None:
                self._tell(exit_)


WRONGS = ["nothing"] * 12 + [
    *("start raises", "start hangs", "start is slow", "ignored", "dies at once", "wait raises"),
    *("stop raises", "stop hangs", "stop is slow", "crashes while it stops"),
    *("takes a sibling along", "kill raises", "kill is slow"),
]


@dataclass
class Tree:
    """The hierarchy and its dice."""

    tasks: TaskGroup
    dice: Random
    workers: list[Worker] = field(default_factory=list)
    supervisors: list[Any] = field(default_factory=list)
    running: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Starts that were reported, less ends that were."""
    broken: list[str] = field(default_factory=list)
    """Promises that were not kept; not raised at once, because a supervisor would handle that."""
    names: int = 0
    over: bool = False

    def expect(self, kept: bool, promise: str) -> None:
        """Note a broken promise."""
        if not kept or self.over:
            self.broken.append(promise)

    def alive(self) -> list[Worker]:
        """Return who runs."""
        return [w for w in self.workers if w.started and w.exit is None]

    def later(self, seconds: float, what: Callable[[], object]) -> None:
        """Do something after a while."""

        async def wait() -> None:
            await anyio.sleep(seconds)
            what()

        self.tasks.start_soon(wait)

    def count(self, event: SupervisorEvent) -> None:
        """Count starts and ends."""
        if isinstance(event, ChildStarted | ChildEnded):
            way = 1 if isinstance(event, ChildStarted) else -1
            self.running[event.supervisor, event.child] += way

    def report(self, event: SupervisorEvent) -> None:
        """Count, and fail now and then."""
        self.count(event)
        if self.dice.random() < 0.002:
            raise Bug("reporter")

    # What the tree is made of.

    def supervisor(self, name: str, depth: int) -> Any:
        """Return a new supervisor, with random children if it is a static one."""
        dice = self.dice
        settings: dict[str, Any] = {
            "tasks": self.tasks,
            "report": self.report,
            "budget": Budget(dice.choice([0, 2, 30]), 5.0),
            "abandon_after": ABANDON_AFTER,
        }
        made: Any
        if dice.random() < 0.3:
            made = DynamicSupervisor(name, **settings)
        else:
            auto = dice.choice([*AutoShutdown, AutoShutdown.NEVER])
            parent: list[Any] = []
            children = [self.child(depth + 1, parent, auto) for _ in range(dice.randint(0, 4))]
            strategy = dice.choice([*Strategy])
            made = Supervisor(name, children, strategy=strategy, auto_shutdown=auto, **settings)
            parent.append(made)
        self.supervisors.append(made)
        return made

    def child(self, depth: int, parent: list[Any], auto: AutoShutdown) -> ChildSpec:
        """Return a random child of *parent*, which may not be there yet."""
        dice = self.dice
        self.names += 1
        name = f"{self.names}"
        restart = dice.choice([*Restart])
        nested = depth < 4 and dice.random() < 0.3

        def start() -> Any:
            if dice.random() < 0.05:
                raise Bug("factory")
            return self.supervisor(name, depth) if nested else Worker(name, parent[0], self)

        def gone(_: Exit) -> None:
            if dice.random() < 0.005:
                raise Bug("gone")

        return ChildSpec(
            name=name,
            start=start,
            restart=restart,
            kind="supervisor" if nested else "worker",
            backoff=dice.choice([None, None, Backoff(first=0.5, cap=4, give_up_after=5)]),
            shutdown=None if nested else dice.choice([0, 1, LONGEST_GRACE]),
            significant=auto is not AutoShutdown.NEVER
            and restart is not Restart.PERMANENT
            and dice.random() < 0.3,
            gone=gone,
        )

    # What happens to it.

    async def disturb(self) -> None:
        """Do one random thing, perhaps only for so long."""
        dice = self.dice
        sup = dice.choice(self.supervisors)
        alive = self.alive()
        if dice.random() < 0.5 and alive:
            how = dice.choice([Exit.NORMAL, Exit.SHUTDOWN, *[Exit.CRASHED(Bug("died"))] * 4])
            dice.choice(alive).end(how)
            return
        with anyio.move_on_after(dice.choice([0, 0.1, 1, math.inf])):
            with suppress(SupervisorError):
                await self._call(sup)

    async def grow(self, root: Supervisor) -> None:
        """Add a child to the root."""
        with suppress(SupervisorError):
            await root.start_child(self.child(1, [root], AutoShutdown.NEVER))

    async def _call(self, sup: Any) -> None:
        verb = self.dice.choice(["start", "start", "stop", "restart", "delete", "kill"])
        names = [info.name for info in sup.children()] or ["nobody"]
        name = self.dice.choice(names)
        if verb == "start":
            await sup.start_child(self.child(3, [sup], AutoShutdown.NEVER))
        elif verb == "stop":
            await sup.stop_child(name)
        elif verb == "restart":
            await sup.restart_child(name)
        elif verb == "delete":
            sup.delete_child(name)
        elif sup is not self.supervisors[0] and self.dice.random() < 0.3:
            sup.kill()

    # What is always true.

    def check(self) -> None:
        """Whoever runs is known to a supervisor that runs; what each supervisor says adds up."""
        assert self.broken == []
        listed: set[int] = set()
        for sup in self.supervisors:
            try:
                infos, count = sup.children(), sup.count()
            except SupervisorError:
                continue
            assert count.specs == len(infos) == count.supervisors + count.workers
            assert count.active == sum(i.state.value in ("RUNNING", "STOPPING") for i in infos)
            listed |= {id(info.child) for info in infos}
        orphans = [f"{w.name}: {w.wrong}" for w in self.alive() if id(w) not in listed]
        assert orphans == [], orphans

    def longest_stop(self) -> float:
        """Return the seconds after which an orderly stop of all there is now has ended."""
        each = LONGEST_GRACE + LONGEST_KILL
        return each * (len(self.alive()) + len(self.supervisors)) + 2 * ABANDON_AFTER


async def live(seed: int, steps: int) -> int:
    """Let a tree live through so many steps and end; return how many workers it had."""
    dice = Random(seed)
    # Trio tosses coins of its own, about who is next.
    trio._core._run._r.seed(seed)
    with anyio.fail_after(100_000):
        async with anyio.create_task_group() as tasks:
            tree = Tree(tasks, dice)
            root = Supervisor(
                "root",
                tasks=tasks,
                budget=Budget(1000, 5.0),
                strategy=dice.choice([*Strategy]),
                abandon_after=ABANDON_AFTER,
                report=tree.count,
            )
            tree.supervisors.append(root)
            ends: list[Exit] = []
            await root.start(ends.append)
            for _ in range(steps):
                if dice.random() < 0.25:
                    tasks.start_soon(tree.grow, root)
                tasks.start_soon(tree.disturb)
                await anyio.sleep(dice.choice([0, 0, 0, 0.1, 0.5, 2]))
                tree.check()
            longest = tree.longest_stop()
            began = anyio.current_time()
            (root.stop if dice.random() < 0.7 else root.kill)()
            await root.wait()
            assert anyio.current_time() - began <= longest
            tree.check()
            assert tree.alive() == []
            assert not any(tree.running.values())
            assert len(ends) == 1
            tree.over = True
    return len(tree.workers)
