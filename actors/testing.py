"""Helpers for tests of actors: a running system, a probe, the crash of a node, virtual time.

A test with these waits for the event itself, or lets virtual time jump; it does not sleep.
Virtual time for asyncio is here, trio has its own. As backends for anyio's pytest plugin::

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(request):
        if request.param == "asyncio":
            return "asyncio", {"loop_factory": actors.testing.VirtualTimeLoop}
        return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}
"""

from __future__ import annotations

import asyncio
import inspect
import os
import selectors
import signal
from collections import deque
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import anyio

from actors._actor.base import Actor
from actors._base.errors import ActorsError
from actors._system.system import System
from actors.nodes.boot.kept_fork_server import KEPT
from actors.transport import local

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from actors._messaging.ref import Ref
    from actors._system.topology import Topology
    from actors.nodes import Node

__all__ = [
    "Probe",
    "Recorder",
    "VirtualTimeLoop",
    "crash",
    "eventually",
    "running_system",
    "warm_nodes",
]

T = TypeVar("T")
_LAST_EVENTS: Final = 10
_POLL: Final = 0.01
_PATIENCE: Final = 5.0


@asynccontextmanager
async def running_system(topology: Topology | None = None) -> AsyncIterator[System]:
    """Run a system around a test, and stop all of it afterwards.

    An error that leaves the block carries the last events of the system as a note.

    Args:
        topology: what it starts with.

    Raises:
        ActorsError: the topology could not be started, or the system ended by itself.
    """
    events = None
    try:
        async with System(topology) as system:
            events = system.events()
            yield system
    except Exception as error:
        if events is not None:
            last = deque([event async for event in events], _LAST_EVENTS)
            lines = [f"  {event.kind}: {dict(event.facts)}" for event in last]
            error.add_note("\n".join(["last events of the system:", *lines]))
        raise


@contextmanager
def warm_nodes() -> Iterator[None]:
    """Let the systems that run one after another in this block start their process nodes sooner.

    Process nodes are forked from a process that has imported the framework. To start that one takes 0.2
    to 0.4 s, and each system ends its own. In this block one is kept from each system to the next: it is
    a child of this process for as long as the block lasts. A system that needs another one (other limits
    or ``PYTHON*`` variables, `nodes(preload=)`) starts its own. In pytest the fixture
    ``actors_warm_nodes`` does the same for all tests.
    """
    with KEPT.keeping():
        yield


class Probe:
    """Collects values and returns them in order.

    Code in this process calls `put`; an actor of this node may be given the probe itself, marked
    ``local(probe)``; an actor on any node tells its ref::

        probe = await Probe.start(system)
        await worker.tell(Worker.report_to, probe.ref)  # there: await ref.tell(Recorder.record, 1)
        await probe.expect(1)

    Attributes:
        heard: every value it got, oldest first.
    """

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self._handed_out = 0
        self._news: anyio.Event | None = None
        self._ref: Ref[Recorder] | None = None

    @classmethod
    async def start(cls, system: System, *, name: str | None = None) -> Probe:
        """Return a probe with an actor on this process's node, which passes on the values it gets.

        Raises:
            NameTaken: another actor has that name.
        """
        probe = cls()
        probe._ref = await system.spawn(Recorder, local(probe), name=name, on=system.node)
        return probe

    @property
    def ref(self) -> Ref[Recorder]:
        """The address for actors to tell.

        Raises:
            ActorsError: it has none, because it was not made by `start`.
        """
        if self._ref is None:
            raise ActorsError("this Probe has no actor: make it with `await Probe.start(system)`")
        return self._ref

    def put(self, value: Any) -> None:
        """Add *value*, without waiting."""
        self.heard.append(value)
        news, self._news = self._news, None
        if news is not None:
            news.set()

    async def next(self, timeout: float = _PATIENCE) -> Any:  # noqa: ASYNC109 - a test says in one line how long it waits
        """Return the oldest value not handed out yet, waiting up to *timeout* seconds for one.

        Raises:
            AssertionError: nothing came.
        """
        with anyio.move_on_after(timeout):
            while self._handed_out == len(self.heard):
                self._news = self._news or anyio.Event()
                await self._news.wait()
        if self._handed_out == len(self.heard):
            raise AssertionError(
                f"the probe was told nothing in {timeout:g} s; before that: {self.heard!r}"
            )
        self._handed_out += 1
        return self.heard[self._handed_out - 1]

    async def expect(self, value: T, timeout: float = _PATIENCE) -> T:  # noqa: ASYNC109 - as above
        """Take the next value, which has to equal *value*, and return it.

        Raises:
            AssertionError: nothing came, or something else.
        """
        got: T = await self.next(timeout)
        if got != value:
            raise AssertionError(
                f"the probe was told {got!r} instead of {value!r}; all of it: {self.heard!r}"
            )
        return got


class Recorder(Actor):
    """The actor of a probe."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    async def record(self, value: Any) -> None:
        """Pass *value* on to the probe."""
        self._probe.put(value)


async def crash(node: Node) -> None:
    """Kill the process of *node* by SIGKILL; return when its system has seen it and informed every watcher.

    Raises:
        ActorsError: it has no process of its own, or is not running.
    """
    pid = node.pid
    if node.kind != "process" or pid is None:
        raise ActorsError(f"crash takes a process node that is running, got {node!r}")
    seen = anyio.Event()
    unsubscribe = node.notify(lambda: seen.set() if node.pid != pid else None)
    try:
        os.kill(pid, signal.SIGKILL)
        await seen.wait()
    finally:
        unsubscribe()


@overload
async def eventually(predicate: Callable[[], Awaitable[T]], within: float = ...) -> T: ...
@overload
async def eventually(predicate: Callable[[], T], within: float = ...) -> T: ...
async def eventually(predicate: Callable[[], Any], within: float = _PATIENCE) -> Any:
    """Call *predicate* until it is true and return what it returned.

    For facts without an event, such as that a process has ended; await the event where there is one.

    Args:
        predicate: a function, sync or async.
        within: seconds.

    Raises:
        AssertionError: it was not true in time; the text holds its last value.
    """
    value: Any = None
    with anyio.move_on_after(within):
        while True:
            value = predicate()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            await anyio.sleep(_POLL)
    name = getattr(predicate, "__qualname__", repr(predicate))
    raise AssertionError(f"{name} was not true within {within:g} s: last {value!r}")


class _JumpingSelector(selectors.DefaultSelector):
    """Waits for no timer: when nothing is ready, it moves the clock to the next timer."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        found = super().select(0)
        if not found:
            self.now += max(timeout, 0.0)
        return found


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio loop on which every sleep is instant and every reading of the clock is exact.

    Time stands still while anything can run, and jumps to the next timer when nothing can. Use it for
    actors of one process: it does not wait for what another process or thread is about to do. Trio has
    ``trio.testing.MockClock(autojump_threshold=0)`` for this.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return the virtual time in seconds; it begins at 0."""
        return self._jumping.now
