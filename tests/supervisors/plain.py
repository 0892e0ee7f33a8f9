"""Plain time, and what lives in it besides supervisors: specs, rows, scripted children."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Generator
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

INF = math.inf
SETTLED = {"FAILED": "CRASHED", "HALTED": "SHUTDOWN", "IGNORED": "NORMAL"}
Life: TypeAlias = Generator[tuple[Callable[[], object], float], None, Any]
"""Yields what it waits for, and the time beyond which it does not."""


@dataclass(frozen=True, repr=False)
class Spec:
    """A child, or a supervisor with all that may ever be under it.

    Attributes:
        kind: 0 for a worker, 1 for a static and 2 for a dynamic supervisor.
        stop_takes: Seconds a worker needs to stop; without end if it ignores being asked.
        backoff: The first wait, and when to give up.
        hosted: Whether it stands on the one host there is under its supervisor.
        children: Who is started first.
        more: Who may be added.
    """

    name: str
    kind: int = 0
    restart: str = "PERMANENT"
    grace: float = 5.0
    significant: bool = False
    hosted: bool = False
    backoff: tuple[float, int] | None = None
    stop_takes: float = 0.0
    strategy: str = "ONE_FOR_ONE"
    budget: tuple[int, float] = (3, 5.0)
    auto: str = "NEVER"
    deadline: float | None = None
    room: int | None = None
    children: tuple[Spec, ...] = ()
    more: tuple[Spec, ...] = ()

    def __repr__(self) -> str:
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "name"}
        said = [f"{f.name}={own[f.name]!r}" for f in fields(self)[1:] if own[f.name] != f.default]
        return f"Spec({', '.join([repr(self.name), *said])})"


@dataclass(eq=False)
class Row:
    """What a supervisor knows of a child."""

    spec: Spec
    state: str = "STARTING"
    run: Any = None
    living: bool = False
    """Whether a life has begun and not ended."""
    halt: bool = False
    """Whether its start, or its waiting for one, is to end."""
    again: int = 0
    """Whether its last start was a restart."""
    restarts: int = 0
    last: str = ""
    due: float | None = None
    streak: int = 0
    """Restarts in a row."""
    delay: float = 0.0
    since: float = 0.0
    """When its run became ready."""

    @property
    def restarting(self) -> bool:
        """Whether an attempt to restart it is under way: it is not running yet."""
        return self.again > 0 and self.state == "STARTING"


class Plain:
    """Time that stands still while anybody has something to do."""

    def __init__(self) -> None:
        self.now = 0.0
        self.make: tuple[Callable[..., Any], ...] = ()
        self.waiting: list[tuple[Life, Callable[[], object], float]] = []
        self.plans: dict[str, list[tuple[str, float]]] = {}
        self.hosts: dict[str, str] = defaultdict(lambda: "up")
        self.runs: dict[str, list[Any]] = defaultdict(list)
        self.story: list[tuple[str, str]] = []
        self.gone: dict[str, list[str]] = defaultdict(list)
        self.ends: dict[str, list[tuple[int, str]]] = defaultdict(list)

    def made(self, run: Any, name: str) -> int:
        """Keep *run* and return its number."""
        self.runs[name].append(run)
        return len(self.runs[name])

    def spawn(self, life: Life) -> None:
        """Let *life* go on until it waits."""
        wait = next(life, None)
        if wait is not None:
            self.waiting.append((life, *wait))

    def run(self, until: float) -> None:
        """Let everything happen that happens up to this time."""
        while True:
            due = next((w for w in self.waiting if w[2] <= self.now or w[1]()), None)
            soon = min((w[2] for w in self.waiting), default=INF)
            if due is not None:
                self.waiting.remove(due)
                self.spawn(due[0])
            elif soon <= until:
                self.now = soon
            else:
                self.now = until
                return

    def sleep(self, until: float) -> Life:
        """Have everybody look again at this time."""
        yield (lambda: False), until


class Leaf:
    """One run of a worker."""

    def __init__(self, world: Plain, spec: Spec, parent: Any) -> None:
        self.world, self.spec, self.parent = world, spec, parent
        self.number = world.made(self, spec.name)
        self.exit = self.outcome = ""
        self.ended_at = 0.0

    def life(self) -> Life:
        """Start as planned."""
        self.note("starting")
        plans = self.world.plans.get(self.spec.name)
        plan, seconds = plans.pop(0) if plans else ("READY", 0.0)
        if seconds:
            yield (lambda: self.exit), self.world.now + seconds
        if self.exit:
            return
        if plan == "DIES":
            self.end("CRASHED")
        if plan in ("READY", "DIES"):
            self.note("started")
        self.outcome = "READY" if plan == "DIES" else plan

    def stop(self) -> None:
        """End as soon as it can."""
        self.note("stop")
        if self.spec.stop_takes == 0:
            self.end("SHUTDOWN")
        elif self.spec.stop_takes < INF:
            self.world.spawn(self.later())

    def later(self) -> Life:
        """Take a while to stop."""
        yield (lambda: self.exit), self.world.now + self.spec.stop_takes
        self.end("SHUTDOWN")

    def kill(self) -> None:
        """End at once, or never become ready."""
        self.note("kill")
        if self.outcome:
            self.end("KILLED")
        else:
            self.exit = "KILLED"

    def end(self, how: str) -> None:
        """End."""
        if not self.exit:
            self.exit, self.ended_at = how, self.world.now
            self.note("ended")
            self.parent.heard(self)

    def note(self, verb: str) -> None:
        """Write down what happened."""
        self.world.story.append((verb, self.spec.name))


def comes_back(restart: str, how: str) -> bool:
    """Return whether a child of this restart type comes back."""
    return restart == "PERMANENT" or (restart == "TRANSIENT" and how not in ("NORMAL", "SHUTDOWN"))


class Sup(ABC):
    """One run of a supervisor: how starts, stops and kills go, and what a restart costs."""

    def __init__(self, world: Plain, spec: Spec, parent: Sup | None = None) -> None:
        self.world, self.spec, self.parent = world, spec, parent
        self.number, self.ended_at = world.made(self, spec.name), 0.0
        self.rows = {child.name: Row(child) for child in spec.children}
        self.verdict = self.exit = self.outcome = ""
        self.patience, self.log, self.inbox = INF, list[float](), list[tuple[Any, ...]]()

    @abstractmethod
    def open(self) -> Life: ...

    @abstractmethod
    def serve(self) -> Life: ...

    @abstractmethod
    def close(self) -> Life: ...

    @abstractmethod
    def heard(self, run: Any) -> None: ...

    def stop(self, how: str = "SHUTDOWN") -> None:
        if not self.verdict and self.spec.deadline is not None:
            self.patience = min(self.patience, self.world.now + self.spec.deadline)
            self.world.spawn(self.world.sleep(self.patience))
        if self.verdict in ("", "SHUTDOWN") and not self.exit:
            self.verdict = how

    def kill(self) -> None:
        self.patience = -INF
        self.stop("KILLED")

    def over(self) -> bool:
        return self.patience <= self.world.now

    def life(self) -> Life:
        yield from self.open()
        if not self.verdict:
            self.outcome = "READY"
            yield from self.serve()
        for _, _, answer in (item for item in self.inbox if item[0] != "end"):
            answer.append("SupervisorStopped")
        yield from self.close()
        left = [row for row in reversed(self.rows.values()) if row.run and row.run.outcome]
        for row in left:
            row.run.exit or row.run.kill()
        yield (lambda: all(row.run is None or row.run.exit for row in self.rows.values())), INF
        for row in left + list(reversed(self.rows.values())):
            self.settle(row, row.run.exit if row.run else "SHUTDOWN")
        self.exit, self.ended_at = self.verdict, self.world.now
        if not self.outcome:
            self.outcome = "FAILED"
            return
        self.world.ends[self.spec.name].append((self.number, self.exit))
        if self.parent:
            self.parent.heard(self)

    def attempt(self, row: Row, again: int = 0) -> Life:
        row.state, row.due, row.halt, row.living = "STARTING", None, False, True
        row.again = again
        row.run = run = self.world.make[row.spec.kind](self.world, row.spec, self)
        self.world.spawn(run.life())
        if not run.outcome:
            yield (lambda: run.outcome or row.halt or self.verdict), INF
        outcome = run.outcome or "HALTED"
        if outcome == "HALTED":
            run.kill()
            yield (lambda: run.exit), INF
        if outcome == "READY":
            row.state, row.since, row.restarts = "RUNNING", self.world.now, row.restarts + again
        else:
            row.run = None
        return outcome

    def begin(self, row: Row) -> Life:
        outcome = yield from self.attempt(row)
        if outcome in SETTLED:
            self.settle(row, SETTLED[outcome])
        if outcome in ("FAILED", "HALTED"):
            return (
                "SupervisorStopped" if self.verdict and outcome == "HALTED" else "ChildNotStarted"
            )
        return str(row.run and row.run.number)

    def ends(self, run: Any, until: float) -> Life:
        if not run.exit:
            yield (lambda: run.exit or self.over()), until

    def bring_down(self, row: Row) -> Life:
        run, row.state = row.run, "STOPPING"
        if not run.exit and not self.over() and row.spec.grace > 0:
            run.stop()
            yield from self.ends(run, self.world.now + row.spec.grace)
        if not run.exit and not self.over():
            run.kill()
            yield from self.ends(run, INF)
        if run.exit and row.run is run:
            self.ended(row)
        return run.exit

    def ended(self, row: Row) -> None:
        if row.run.ended_at - row.since >= max(5, 2 * row.delay):
            row.streak = 0
        row.last, row.run = row.run.exit, None

    def settle(self, row: Row, how: str) -> None:
        if row.run:
            self.ended(row)
        if (row.spec.restart == "TEMPORARY" or self.spec.kind == 2) and row in self.rows.values():
            del self.rows[row.spec.name]
        if row.living:
            row.living, row.state, row.due = False, "STOPPED", None
            self.world.gone[row.spec.name].append(how)

    def take_out(self, row: Row) -> Life:
        how = (yield from self.bring_down(row)) if row.run else "SHUTDOWN"
        if how:
            self.settle(row, how)

    def price(self, row: Row, how: str, free: bool) -> float | str:
        if free or self.host(row) != "up":
            return 0.0
        if row.spec.backoff:
            first, most = row.spec.backoff
            if row.streak >= most:
                return "CRASHED"
            row.delay = min(8, first * 2 ** (row.streak - 1)) if row.streak else 0.0
            row.streak += 1
            return row.delay
        restarts, within = self.spec.budget
        self.log = [at for at in self.log if at >= self.world.now - within] + [self.world.now]
        if len(self.log) > restarts:
            self.stop("CRASHED")
        return how if len(self.log) > restarts else 0.0

    def host(self, of: Any) -> str:
        return self.world.hosts[self.spec.name] if of.spec.hosted else "up"
