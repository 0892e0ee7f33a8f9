"""`actors.blocking_system`: a system for plain code, in an event loop in a thread of its own."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    ParamSpec,
    TypedDict,
    TypeVar,
    TypeVarTuple,
    overload,
)

from actors._base.errors import SystemStopped
from actors._base.run_loop import open_loop, run_on
from actors._keyed import BlockingKeyed, Keyed
from actors._messaging.blocking_ref import BlockingRef
from actors._messaging.ref import Ref
from actors._pools import Pool
from actors._system.system import System, access_of, task_of
from actors.nodes import MainImportEnded, importing_main

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from typing import Unpack

    from actors._actor.base import Actor
    from actors._base.events import Event, EventStream
    from actors._messaging.blocking_ref import ThreadPortal
    from actors._messaging.mailbox_options import MailboxOption
    from actors._messaging.topic import Topic
    from actors._pools import BlockingPool
    from actors._system.keyed_spec import KeyedSpec
    from actors._system.pool_spec import PoolSpec
    from actors._system.start import SystemOptions
    from actors._system.supervisor_ref import SupervisorRef
    from actors._system.topology import Topology
    from actors._system.tree_specs import ActorSpec, DynamicSpec, SupervisorSpec, TreeSpec
    from actors.nodes import Node, NodesSpec
    from actors.supervisors import Backoff, Exit, Restart

__all__ = ["BlockingSystem", "BlockingTopic", "blocking_system", "in_thread"]

A = TypeVar("A", bound="Actor")
K = TypeVar("K", bound="str | int")
P = ParamSpec("P")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")

_NEVER: Final = 3600.0
"""Seconds of one wait; Ctrl-C ends it at any time."""


class SpawnKeywords(TypedDict, total=False):
    """The options of `System.spawn`."""

    name: str | None
    on: str | Node | None
    restart: Restart | None
    backoff: Backoff | None
    mailbox: MailboxOption
    shutdown: float
    if_exists: Literal["raise", "return"]


@contextmanager
def blocking_system(
    topology: Topology | None = None,
    *,
    backend: Literal["asyncio", "trio"] = "asyncio",
    uvloop: bool = True,
    **options: Unpack[SystemOptions],
) -> Iterator[BlockingSystem]:
    """Run a system around plain code: a script, a batch job, a thread of a synchronous web server.

    The system has an event loop in a thread of its own; its verbs block the thread that calls them.
    Ctrl-C in the block stops it in order, a second one at once::

        with actors.blocking_system() as system:
            counter = system.spawn(Counter, 10)
            print(counter.ask(Counter.add, 5))

    In the thread of another event loop it blocks that loop as any other blocking call does; async code uses
    `System` or `start`.

    Args:
        topology: what it starts with.
        backend: "asyncio" or "trio".
        uvloop: run asyncio on uvloop where it is installed.
        **options: as for `System`.

    Raises:
        ActorsError: the topology could not be started; nothing of it is left.
        SystemStopped: the system ended by itself, and the block without an error.
    """
    with in_thread(System(topology, **options), backend=backend, uvloop=uvloop) as system:
        yield system


@contextmanager
def in_thread(
    system: System, *, backend: Literal["asyncio", "trio"] = "asyncio", uvloop: bool = True
) -> Iterator[BlockingSystem]:
    """Give a system while it runs, or is connected, in a thread of its own."""
    if importing_main():
        # A node imports this file for its classes; only the parent runs the script.
        raise MainImportEnded
    thread = _SystemThread(system, backend=backend, uvloop=uvloop)
    portal = thread.start()
    try:
        yield BlockingSystem(thread.system, portal, thread.ended)
    finally:
        thread.stop()
    thread.raise_failure()


class _SystemThread:
    """The thread of a system's event loop, as the thread that started it sees it."""

    def __init__(
        self, system: System, *, backend: Literal["asyncio", "trio"], uvloop: bool
    ) -> None:
        self.system = system
        self.ended: Future[Exit] = Future()
        self._ready: Future[ThreadPortal] = Future()
        self._failure: BaseException | None = None
        self._stop_asked = False
        self._call: Callable[..., object] | None = None
        self._over = threading.Event()
        run = partial(run_on, self._live, backend=backend, uvloop=uvloop)
        self._thread = threading.Thread(target=self._run, args=(run,), name="actors system")

    def start(self) -> ThreadPortal:
        """Start the thread, and return the way into its loop when the system is ready.

        Raises:
            BaseException: whatever the start failed by; nothing is left.
        """
        self._thread.start()
        try:
            return self._ready.result()
        except BaseException:
            self.stop()
            raise

    def _run(self, run: Callable[[], object]) -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - raised in the thread that has started this one
            self._failure = error
        finally:
            self._over.set()
            early = self._failure or SystemStopped(
                "the system was told to stop before it was ready"
            )
            for future in (self._ready, self.ended):
                if not future.done():
                    future.set_exception(early)

    async def _live(self) -> None:
        async with open_loop() as loop:
            self._call = loop.call_threadsafe
            if self._stop_asked:
                return
            task = await self.system.begin()
            self._ready.set_result(access_of(self.system).threads)
            how = await task.wait()
            self._failure = task.failure and task.stopped()
            if self._failure is not None:
                self._failure.__cause__ = task.failure
            self.ended.set_result(how)

    def stop(self) -> None:
        """Stop the system and wait for its end; an interrupt meanwhile kills what is left, and is raised.

        In a fork, which has no such thread, it leaves the system alone.
        """
        interrupted: BaseException | None = None
        while self._thread.is_alive() and not self._over.is_set():
            try:
                self._ask(kill=interrupted is not None)  # an interrupt may come meanwhile
                self._over.wait(_NEVER)
            except BaseException as error:  # noqa: BLE001 - raised below: Ctrl-C, or what a signal handler raises
                interrupted = error
        self._thread.join()
        if interrupted is not None:
            raise interrupted

    def _ask(self, *, kill: bool) -> None:
        self._stop_asked = True
        if self._call is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._call(self._end, kill)

    def _end(self, kill: bool) -> None:  # noqa: FBT001 - called by the loop
        task = task_of(self.system)
        if task is not None and kill:
            task.kill()
        elif task is not None:
            task.begin_stop()

    def raise_failure(self) -> None:
        """Raise what ended the system, unless it was asked to.

        Raises:
            SystemStopped: it ended by itself.
        """
        if self._failure is not None:
            raise self._failure


class BlockingTopic:
    """A topic for plain code; see `BlockingSystem.topic`."""

    __slots__ = ("_portal", "_topic")

    def __init__(self, portal: ThreadPortal, topic: Topic) -> None:
        self._portal = portal
        self._topic = topic

    def __repr__(self) -> str:
        return f"<Blocking {self._topic!r}>"

    def publish(self, value: Any) -> None:
        """As `Topic.publish`."""
        self._portal.call_and_wait(self._topic.publish, value)

    @contextmanager
    def subscribe(self, *, buffer: int = 256) -> Iterator[Iterator[Any]]:
        """As `Topic.subscribe`: ``with topic.subscribe() as values``; each value is waited for."""
        with self._portal.entered(self._topic.subscribe(buffer=buffer)) as values:
            yield self._portal.each(values)


class BlockingSystem:
    """A `System` for plain code: the same verbs, which block the thread that calls them.

    They work in any thread but that of the system's own loop, where they would wait for themselves:
    there, in an actor, `current()` is the system. They raise what those of `System` raise, and
    `SystemStopped` when the system ends meanwhile. See `blocking_system`.
    """

    def __init__(self, system: System, portal: ThreadPortal, ended: Future[Exit]) -> None:
        self._system = system
        self._portal = portal
        self._ended = ended

    def call(
        self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Await ``fn(*args)`` in the system's loop, for what has no verb here: ``system.call(node.stop)``."""
        return self._portal.run(partial(fn, *args, **kwargs))

    def blocking(self, ref: Ref[A]) -> BlockingRef[A]:
        """As `System.blocking`."""
        return BlockingRef(self._portal, ref, ref)

    def spawn(
        self, cls: Callable[[*Ts], A], /, *args: *Ts, **options: Unpack[SpawnKeywords]
    ) -> BlockingRef[A]:
        """As `System.spawn`; `BlockingRef.ref` is the address to hand to other actors."""
        spawn: Callable[..., Coroutine[Any, Any, Ref[A]]] = self._system.spawn
        return self.blocking(self.call(spawn, cls, *args, **options))

    @overload
    def lookup(self, name: str, cls: type[A], /) -> BlockingRef[A] | None: ...
    @overload
    def lookup(self, name: str) -> BlockingRef[Any] | None: ...
    def lookup(self, name: str, cls: type[Any] | None = None) -> BlockingRef[Any] | None:
        """As `System.lookup`."""
        of_class = () if cls is None else (cls,)
        ref = self.call(self._system.lookup, name, *of_class)
        return None if ref is None else self.blocking(ref)

    def keyed(self, name: str) -> BlockingKeyed[Any, Any] | None:
        """As `System.keyed`."""
        book = self.call(self._system.keyed, name)
        return None if book is None else BlockingKeyed(self._portal, book)

    @overload
    def pool(self, name: str, cls: type[A], /) -> BlockingPool[A] | None: ...
    @overload
    def pool(self, name: str) -> BlockingPool[Any] | None: ...
    def pool(self, name: str, cls: type[Any] | None = None) -> BlockingPool[Any] | None:
        """As `System.pool`."""
        of_class = () if cls is None else (cls,)
        pool = self.call(self._system.pool, name, *of_class)
        return None if pool is None else pool.blocking()

    @overload
    def start(self, item: NodesSpec) -> list[Node]: ...
    @overload
    def start(self, item: PoolSpec[A]) -> BlockingPool[A]: ...  # type: ignore[overload-overlap] # the most special first
    @overload
    def start(self, item: ActorSpec[A]) -> BlockingRef[A]: ...
    @overload
    def start(self, item: KeyedSpec[K, A]) -> BlockingKeyed[K, A]: ...  # type: ignore[overload-overlap] # as above
    @overload
    def start(self, item: SupervisorSpec | DynamicSpec) -> None: ...
    def start(
        self, item: TreeSpec | NodesSpec
    ) -> list[Node] | BlockingRef[Any] | BlockingPool[Any] | BlockingKeyed[Any, Any] | None:
        """As `System.start`."""
        start: Callable[[Any], Coroutine[Any, Any, Any]] = self._system.start
        started = self.call(start, item)
        if isinstance(started, Ref):
            return self.blocking(started)
        if isinstance(started, Keyed):
            return BlockingKeyed(self._portal, started)
        return started.blocking() if isinstance(started, Pool) else started

    def offload(
        self,
        fn: Callable[[*Ts], Coroutine[Any, Any, R]] | Callable[[*Ts], R],
        /,
        *args: *Ts,
        timeout: float | None = None,
    ) -> R:
        """As `System.offload`."""
        offload: Any = self._system.offload
        return self._portal.run(partial(offload, fn, *args, timeout=timeout))  # type: ignore[no-any-return] # typed by R

    def tree(self) -> dict[str, Any]:
        """As `System.tree`."""
        return self.call(self._system.tree)

    @property
    def nodes(self) -> list[Node]:
        """As `System.nodes`; their verbs through `call`."""
        return self._portal.call_and_wait(lambda: self._system.nodes)

    def scale(self, group: str, count: int) -> list[Node]:
        """As `System.scale`."""
        return self.call(self._system.scale, group, count)

    def reload(
        self, *names: str, surge: bool = False, ready_timeout: float | None = None
    ) -> list[Node]:
        """As `System.reload`."""
        return self.call(self._system.reload, *names, surge=surge, ready_timeout=ready_timeout)

    def supervisor(self, path: str) -> SupervisorRef:
        """As `System.supervisor`; its verbs through `call`."""
        return self._portal.call_and_wait(self._system.supervisor, path)

    def topic(self, name: str) -> BlockingTopic:
        """As `System.topic`."""
        return BlockingTopic(self._portal, self._system.topic(name))

    def events(self) -> Iterator[Event]:
        """As `System.events`: all events from now on, each waited for, until the system ends."""
        return self._following(self._portal.call_and_wait(self._system.events))

    def _following(self, stream: EventStream) -> Iterator[Event]:
        try:
            try:
                yield from self._portal.each(stream)
            finally:
                self._portal.call_and_wait(stream.close)
        except SystemStopped:
            self._ended.exception()  # waits for the last events
            yield from stream.take()

    def stop(self) -> None:
        """Stop the system now and wait for its end; afterwards every verb raises `SystemStopped`."""
        task = task_of(self._system)
        assert task is not None
        with suppress(SystemStopped):  # it has ended already
            self._portal.call_and_wait(task.begin_stop)
        self.wait()

    def wait(self) -> Exit:
        """As `System.wait`: wait until the system has ended, and return how."""
        self._portal.refuse_own_thread()
        return self._ended.result()
