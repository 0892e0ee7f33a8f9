"""Children for tests of supervisors: they follow a script and record what happened.

::

    kit = Kit(tasks)
    specs = [kit.spec("a"), kit.spec("b", exit_with(Exit.NORMAL))]
    supervisor = Supervisor("s", specs, tasks=tasks, report=kit.log)
    await supervisor.start()
    kit.run("a").crash()
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup

from actors.supervisors._child import Ignored
from actors.supervisors._events import SupervisorEvent
from actors.supervisors._exit import Exit
from actors.supervisors._spec import ChildSpec

E = TypeVar("E", bound="SupervisorEvent")


class EventLog:
    """A reporter that keeps everything."""

    def __init__(self) -> None:
        self.events: list[SupervisorEvent] = []

    def __call__(self, event: SupervisorEvent) -> None:
        """Keep *event*."""
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one kind, oldest first."""
        return [event for event in self.events if isinstance(event, kind)]

    def clear(self) -> None:
        """Forget everything."""
        self.events.clear()


async def _start_well(_: ScriptedChild) -> None:
    """Be ready at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What a child does.

    Attributes:
        start: What its start does; it may raise.
        on_stop: How it ends when it is asked to; None ignores that.
        stop_takes: Seconds between being asked and ending.
        on_kill: How it ends when it is killed; None ignores that, too.
    """

    start: Callable[[ScriptedChild], Awaitable[None]] = _start_well
    on_stop: Exit | None = Exit.SHUTDOWN
    stop_takes: float = 0.0
    on_kill: Exit | None = Exit.KILLED


class ScriptedChild:
    """One run that follows a script, and otherwise lives until `end` or `crash` is called.

    Attributes:
        name: The name in its spec.
        number: Which run of that name this is, from 1.
        exit: How it ended, if it has.
        started: Whether its start has returned.
    """

    def __init__(self, name: str, number: int, script: Script, kit: Kit) -> None:
        self.name = name
        self.number = number
        self.script = script
        self.exit: Exit | None = None
        self.started: bool = False
        self._kit = kit
        self._tell: Callable[[Exit], None] | None = None
        self._over = anyio.Event()
        self._starting: anyio.CancelScope | None = None

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Do what the script says."""
        self._kit.note("starting", self.name)
        self._tell = ended
        try:
            await self._begin()
        except BaseException:
            self._tell = None
            raise
        self.started = True
        self._kit.note("started", self.name)

    async def wait(self) -> Exit:
        """Wait for the end and return it."""
        await self._over.wait()
        assert self.exit is not None
        return self.exit

    def stop(self) -> None:
        """End, ignore it, or end later: as the script says."""
        self._kit.note("stop", self.name)
        if self.script.on_stop is None:
            return
        if self.script.stop_takes:
            self._kit.tasks.start_soon(self._end_later, self.script.on_stop)
        else:
            self.end(self.script.on_stop)

    def kill(self) -> None:
        """End, or ignore it: as the script says."""
        self._kit.note("kill", self.name)
        if self.script.on_kill is None:
            return
        if self.started or self._starting is None:
            self.end(self.script.on_kill)
        else:
            self._starting.cancel()

    def end(self, exit_: Exit = Exit.NORMAL) -> None:
        """End by itself."""
        if self.exit is None:
            self.exit = exit_
            self._kit.note("ended", self.name)
            self._over.set()
            if self._tell is not None:
                self._tell(exit_)

    def crash(self, error: BaseException | None = None) -> None:
        """End by an error."""
        self.end(Exit.CRASHED(error or RuntimeError("died")))

    async def _begin(self) -> None:
        with anyio.CancelScope() as self._starting:
            await self.script.start(self)
        if self._starting.cancelled_caught:
            raise RuntimeError("killed while it started")

    async def _end_later(self, exit_: Exit) -> None:
        await anyio.sleep(self.script.stop_takes)
        self.end(exit_)


@dataclass
class Gate:
    """Lets a test decide when, and how, a child of `gated` becomes ready."""

    waiting: anyio.Event = field(default_factory=anyio.Event)
    """Set when a child waits here."""
    _answer: anyio.Event = field(default_factory=anyio.Event)
    _error: BaseException | None = None

    def open(self, error: BaseException | None = None) -> None:
        """Let the child be ready, or have its start raise *error*."""
        self._error = error
        self._answer.set()

    def close(self) -> None:
        """Have the next child wait again."""
        self.waiting, self._answer, self._error = (
            anyio.Event(),
            anyio.Event(),
            None,
        )

    async def __call__(self, _: ScriptedChild) -> None:
        """Wait here, as the start of a child."""
        self.waiting.set()
        await self._answer.wait()
        if self._error is not None:
            raise self._error


def well() -> Script:
    """Start, stop and die as a child should."""
    return Script()


def stuck() -> Script:
    """Ignore being asked to stop; only a kill helps."""
    return Script(on_stop=None)


def undead() -> Script:
    """Ignore being killed, too."""
    return Script(on_stop=None, on_kill=None)


def slow_stop(seconds: float) -> Script:
    """Take *seconds* to stop."""
    return Script(stop_takes=seconds)


def exit_with(exit_: Exit) -> Script:
    """End by *exit_* when asked to stop."""
    return Script(on_stop=exit_)


def gated(gate: Gate) -> Script:
    """Wait at *gate* before being ready."""
    return Script(start=gate)


def hanging() -> Script:
    """Never become ready."""

    async def start(_: ScriptedChild) -> None:
        await anyio.sleep(math.inf)

    return Script(start=start)


def failing(error: Exception, *, runs: Callable[[int], bool] = lambda _: True) -> Script:
    """Raise *error* in the start of those *runs*, numbered from 1; by default in all."""

    async def start(child: ScriptedChild) -> None:
        if runs(child.number):
            raise error

    return Script(start=start)


def fail_after_first(error: Exception) -> Script:
    """Start well once, and raise *error* in every later start."""
    return failing(error, runs=lambda number: number > 1)


def ignore_once() -> Script:
    """Say that there is nothing to run, the first time."""
    return failing(Ignored(), runs=lambda number: number == 1)


def dies_at_once(error: Exception, *, runs: Callable[[int], bool] = lambda _: True) -> Script:
    """Crash before the start has returned, in those *runs* that are named by number, from 1."""

    async def start(child: ScriptedChild) -> None:
        if runs(child.number):
            child.crash(error)

    return Script(start=start)


class Kit:
    """Makes specs of scripted children and remembers every run.

    Attributes:
        tasks: Where slow ends run; only `slow_stop` needs it.
        log: Keeps events, if it is used as the reporter.
        story: What happened to the children, as ``"<verb> <name>"``, oldest first.
        gone: What `gone` was called with, by name.
    """

    def __init__(self, tasks: TaskGroup | None = None) -> None:
        self.log: EventLog = EventLog()
        self.story: list[str] = []
        self.gone: dict[str, list[Exit]] = {}
        self._tasks = tasks
        self._runs: dict[str, list[ScriptedChild]] = {}

    @property
    def tasks(self) -> TaskGroup:
        """The task group that slow ends run in."""
        if self._tasks is None:
            raise RuntimeError("this Kit was made without a task group")
        return self._tasks

    def spec(self, name: str, script: Script | None = None, **fields: Any) -> ChildSpec:
        """Return the spec of a child that follows *script*; *fields* are those of `ChildSpec`."""
        followed = script or well()

        def make() -> ScriptedChild:
            runs = self._runs.setdefault(name, [])
            runs.append(ScriptedChild(name, len(runs) + 1, followed, self))
            return runs[-1]

        def gone(exit_: Exit) -> None:
            self.gone.setdefault(name, []).append(exit_)

        return ChildSpec(name=name, start=make, **{"gone": gone, **fields})

    def run(self, name: str) -> ScriptedChild:
        """Return the latest run of a child."""
        return self._runs[name][-1]

    def runs(self, name: str) -> list[ScriptedChild]:
        """Return all runs of a child, oldest first."""
        return self._runs.get(name, [])

    def alive(self) -> list[str]:
        """Return the names of all runs that have started and not ended."""
        return [
            run.name
            for runs in self._runs.values()
            for run in runs
            if run.started and run.exit is None
        ]

    def note(self, verb: str, name: str) -> None:
        """Record what happened."""
        self.story.append(f"{verb} {name}")

    def told(self, *verbs: str) -> list[str]:
        """Return that part of the story that has these verbs."""
        return [line for line in self.story if line.split(" ")[0] in verbs]


class FakeHost:
    """A host that a test makes ready or not, or lost."""

    def __init__(self, *, ready: bool = True) -> None:
        self.ready: bool = ready
        self.lost: bool = False
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._number = 0

    def notify(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have *callback* called at every change; return a function that ends that."""
        self._number += 1
        number = self._number
        self._callbacks[number] = callback
        return lambda: self._callbacks.pop(number, None) and None

    @property
    def watchers(self) -> int:
        """How many callbacks it has."""
        return len(self._callbacks)

    def change(self, *, ready: bool = False, lost: bool = False) -> None:
        """Become ready, not ready, or lost, and call the callbacks."""
        self.ready, self.lost = ready, lost
        for callback in tuple(self._callbacks.values()):
            callback()
