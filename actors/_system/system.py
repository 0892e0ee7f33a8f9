"""The `System`: the public face of a running system, in the process that made it and on its nodes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar, TypeVarTuple, overload

from actors._actor.constructor import constructor_options, unpack_constructor
from actors._base.errors import ActorsError, CallCycle, InvalidSpec, StartFailed, SystemStopped
from actors._base.events import EventStream
from actors._base.platform import open_standard_descriptors
from actors._base.user_traceback import only_user_frames
from actors._known_options import known_options
from actors._messaging.blocking_ref import BlockingRef
from actors._messaging.context_propagation import Propagation
from actors._messaging.ref import class_of
from actors._messaging.topic import Topic
from actors._messaging.turn import TURN, refuse_fenced
from actors._system.control.server import control_name
from actors._system.coordinator import Coordinator
from actors._system.expected_class import check_class
from actors._system.keyed_spec import KeyedSpec
from actors._system.pool_spec import PoolSpec
from actors._system.running_systems import enter_context, find_system, set_node_system
from actors._system.supervisor_ref import SupervisorRef
from actors._system.system_access import SystemAccess
from actors._system.system_task import SystemTask
from actors._system.topology import FilePath, Topology
from actors.nodes import Node, NodesSpec, check_actor_options
from actors.supervisors import ChildNotStarted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from actors._actor.base import Actor
    from actors._groups import MembersWatch
    from actors._keyed import Keyed
    from actors._messaging.mailbox_options import MailboxOption
    from actors._messaging.ref import Ref
    from actors._pools import Pool
    from actors._remoting.operations import SpawnOptions
    from actors._system.own_task import OwnTask
    from actors._system.tree_specs import ActorSpec, DynamicSpec, SupervisorSpec, TreeSpec
    from actors.nodes import LocalNode
    from actors.supervisors import Backoff, Exit, Restart

__all__ = ["System", "access_of", "coordinator_of", "current", "task_of"]
_NOT_RUNNING: Final = "this System is not running: use `async with actors.System() as system`"

A = TypeVar("A", bound="Actor")
K = TypeVar("K")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


def current() -> System:
    """Return the System of the calling code, from any task of an actor, a node or an application.

    It is the one that was started in this context; that of the actor or node whose code this is; or the one
    on this event loop, which is how requests find what a lifespan has started.

    Raises:
        NoSystem: this code runs in no system, or in a loop of several that has nothing to do with any.
    """
    system: System = find_system()
    return system


def coordinator_of(system: System) -> Coordinator:
    """Return the coordinator of *system*, for the CLI.

    Raises:
        SystemStopped: it does not run here.
    """
    task = system._task  # noqa: SLF001 - its own file
    coordinator = task.coordinator if isinstance(task, SystemTask) else None
    if coordinator is None:
        raise SystemStopped("this System does not run in this process, or not yet")
    return coordinator


def access_of(system: System) -> SystemAccess:
    """Return how *system* reaches what it consists of, for code of any thread."""
    return system._running(in_any_thread=True)  # noqa: SLF001 - its own file


def task_of(system: System) -> OwnTask | None:
    """Return the task that *system* lives in, if it was started here, or connected to."""
    return system._task  # noqa: SLF001 - its own file


class System:
    """Everything that runs under one tree: nodes, actors, listeners.

    Make one around the code that uses it::

        async with actors.System() as system:
            counter = await system.spawn(Counter, 10)

    Leaving the block stops all of it in reverse order, within deadlines. Nodes and actors have `current()`.

    Args:
        topology: nodes, children and listeners to start with.
        local: False gives this process no node; actors without a placement run on a process node `main`.
        propagate: as in `Topology`; added to what the topology names.
        trace: as in `Topology`.
        largest: as in `Topology`; None leaves it to the topology.
        lend_per_node: as in `Topology`; None leaves it to the topology.
        patience: as in `Topology`; None leaves it to the topology.
        control: True opens a control socket, so that `actors ps` and the other commands of the same user see
            and control this system; a text does so under that name, which `--pid` takes. Where there can be
            none, an event `no_control_socket` says so, and the system runs without.
        ask_timeout: as in `Topology`; None leaves it to the topology.
        lease: as in `Topology`; None leaves it to the topology.
        reach: as in `Topology`; None leaves it to the topology.
        join_secret: as in `Topology`; None leaves it to the topology.
        tls: as in `Topology`; None leaves it to the topology.
        tracing: as in `Topology`.

    Raises:
        InvalidSpec: an option is wrong, or what is to be propagated is not there, or no context variable.
        ActorsError: the topology could not be started; nothing of it is left.
    """

    @known_options(InvalidSpec)
    def __init__(
        self,
        topology: Topology | None = None,
        *,
        local: bool = True,
        propagate: Sequence[str] = (),
        trace: bool = False,
        largest: int | None = None,
        lend_per_node: int | None = None,
        patience: float | None = None,
        ask_timeout: float | None = None,
        lease: float | None = None,
        reach: str | None = None,
        join_secret: FilePath | None = None,
        tls: Mapping[str, FilePath] | None = None,
        tracing: bool = False,
        control: bool | str = False,
    ) -> None:
        if not isinstance(topology, Topology | None):
            raise ActorsError(f"System takes a Topology, got {topology!r}")
        given: dict[str, Any] = {"largest": largest, "lend_per_node": lend_per_node, "tls": tls}
        given |= {"patience": patience, "ask_timeout": ask_timeout}
        given |= {"lease": lease, "reach": reach, "join_secret": join_secret}
        topology = (topology or Topology()).also(propagate, trace=trace, tracing=tracing, **given)
        Propagation.of(topology.propagate)  # refuses bad paths before anything starts
        self._new_task: Callable[[System], OwnTask] = partial(
            SystemTask, topology=topology, local=local, control=control_name(control)
        )
        self._access: SystemAccess | None = None
        self._task: OwnTask | None = None
        self._default_pool: Pool[Any] | None = None

    @classmethod
    def on_node(cls, access: SystemAccess) -> System:
        """Make the `System` that code on a node uses."""
        system = cls()
        system._access = access
        set_node_system(system)
        return system

    @classmethod
    def living_in(cls, new_task: Callable[[System], OwnTask]) -> System:
        """Make the `System` of a program that is connected from outside: see `connect`."""
        system = cls()
        system._new_task = new_task
        return system

    async def __aenter__(self) -> Self:
        task = await self.begin()
        task.hold()
        return self

    async def begin(self) -> OwnTask:
        """Start the system in a task of its own, which nothing holds: see `actors.start`."""
        if self._access is not None:
            raise ActorsError("this System is already running, or has run: make a new one")
        open_standard_descriptors()
        task = self._task = self._new_task(self)
        try:
            await task.start(self._made)
        except StartFailed as error:
            raise only_user_frames(error) from error.__cause__
        enter_context(task.place)
        return task

    def _made(self, access: SystemAccess) -> None:
        self._access = access

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:  # with bool, mypy takes a `return` in the block for none
        task = self._task
        assert task is not None
        cancelled = await task.leave(error)
        failure = task.failure
        if failure is not None and (error is None or cancelled):
            if not isinstance(failure, Exception):
                raise failure  # an actor ended the program
            raise task.stopped() from failure
        return cancelled

    async def aclose(self) -> None:
        """Stop everything, in reverse order of its start and within deadlines; return when nothing is left.

        From any task of the event loop, as often as you like: every caller waits for the same end. A
        caller that is cancelled no longer waits; the end goes on.

        Raises:
            CallCycle: an actor of the system calls it, or code on a node, which end first: they use `stop`.
        """
        await self._awaitable_end("aclose()").close()

    async def wait(self) -> Exit:
        """Wait until the system has ended, and return how: SHUTDOWN if it was asked to, else CRASHED.

        Raises:
            CallCycle: an actor of the system calls it, or code on a node: they end before their system.
        """
        return await self._awaitable_end("wait()").wait()

    def _awaitable_end(self, what: str) -> OwnTask:
        if self._access is None:
            raise SystemStopped(_NOT_RUNNING)
        turn = TURN.get()
        if self._task is None:
            waits: Any = self._access.local
        elif turn is not None and turn.sender.system is self:
            waits = turn.sender.ref
        else:
            return self._task
        raise CallCycle(waits, f"it would end before System.{what} returns: use stop()")

    def _running(self, *, in_any_thread: bool = False) -> SystemAccess:
        task = self._task
        if self._access is None:
            raise SystemStopped(_NOT_RUNNING)
        if task is not None:
            task.check_usable(in_any_thread=in_any_thread)
        refuse_fenced()
        return self._access

    @property
    def node(self) -> LocalNode:
        """The node this code runs on.

        Raises:
            ActorsError: this process runs no actors itself.
        """
        local = self._running().local
        if local is None:
            raise ActorsError(
                "this process runs no actors itself: it holds the system together, or is connected to it"
            )
        return local

    @property
    def nodes(self) -> list[Node]:
        """The nodes of the system. On a node: as the process that made the system told last."""
        return self._running().nodes()

    @constructor_options
    async def spawn(
        self,
        cls: Callable[[*Ts], A],
        /,
        *args: *Ts,
        name: str | None = None,
        on: str | Node | None = None,
        restart: Restart | None = None,
        backoff: Backoff | None = None,
        mailbox: MailboxOption = 1024,
        shutdown: float = 5.0,
        if_exists: Literal["raise", "return"] = "raise",
    ) -> Ref[A]:
        """Start an actor and return its address when it is ready.

        It is restarted when it crashes, also when its whole node does. Arguments marked
        ``local(...)`` tie it to this node: it ends with it.

        Args:
            cls: a subclass of `Actor`, or a `functools.partial` of one, with keywords for its constructor.
            *args: constructor arguments; snapshots are taken, now and at each restart.
            name: a system-wide name for `lookup`.
            on: a node, its name ("rooms/0"), or a group ("rooms"): then named actors keep their
                slot, others take turns. None is this process's own node, or the group `main`
                of a system that keeps its parent free of user code.
            restart: TRANSIENT unless given: it is not restarted after a normal end.
            backoff: waits between restarts in a row.
            mailbox: how many messages may wait, or a `Bounded` or `Priority`.
            shutdown: seconds it may take to stop before it is killed.
            if_exists: "return" gives the living actor of that name instead of NameTaken.

        Raises:
            StartFailed: it never became ready; the cause is its own error.
            NameTaken: another actor has that name.
            NotSendable: an argument cannot travel.
            NodeDown: its node is not ready.
            InvalidSpec: a value that can never work, or an argument that the constructor does not take.
        """
        made, given, kwargs = unpack_constructor(cls, args)
        how = {"restart": restart, "backoff": backoff, "shutdown": shutdown}
        check_actor_options(made, name, mailbox, **how)
        options: SpawnOptions = {
            "name": name,
            "on": on.name if isinstance(on, Node) else on,
            "restart": restart,
            "backoff": backoff,
            "mailbox": mailbox,
            "shutdown": shutdown,
            "if_exists": if_exists,
        }
        ref: Ref[A]
        try:
            ref = await self._running().spawn(made, given, kwargs, options)
        except StartFailed as error:
            raise only_user_frames(error) from error.__cause__
        return ref

    @overload
    async def lookup(self, name: str, cls: type[A], /) -> Ref[A] | None: ...
    @overload
    async def lookup(self, name: str) -> Ref[Any] | None: ...
    async def lookup(self, name: str, cls: type[Any] | None = None) -> Ref[Any] | None:
        """Return the address of the living actor of that name, or None.

        Args:
            name: its system-wide name.
            cls: its class or one that it is derived from: the address is a ``Ref[cls]``.

        Raises:
            TypeError: the actor is of another class; both are named.
        """
        ref = await self._running().lookup(name)
        if cls is not None and ref is not None:
            check_class(f"actor {name!r}", ref.cls_path, cls, partial(class_of, ref))
        return ref

    async def keyed(self, name: str) -> Keyed[Any, Any] | None:
        """Return the address book of keyed actors of that name, or None."""
        return await self._running().keyed(name)

    @overload
    async def pool(self, name: str, cls: type[A], /) -> Pool[A] | None: ...
    @overload
    async def pool(self, name: str) -> Pool[Any] | None: ...
    async def pool(self, name: str, cls: type[Any] | None = None) -> Pool[Any] | None:
        """Return the address of the pool of that name, or None.

        Args:
            name: its name.
            cls: the class of its members or one that it is derived from: the address is a ``Pool[cls]``.

        Raises:
            TypeError: its members are of another class, or it only runs functions.
        """
        found = await self._running().pool(name)
        if cls is not None and found is not None:
            check_class(f"pool {name!r}", found.facts.cls_path, cls, found.client.find_class)
        return found

    @overload
    async def offload(
        self,
        fn: Callable[[*Ts], Coroutine[Any, Any, R]],
        /,
        *args: *Ts,
        timeout: float | None = None,  # noqa: ASYNC109 - as below
    ) -> R: ...
    @overload
    async def offload(
        self,
        fn: Callable[[*Ts], R],
        /,
        *args: *Ts,
        timeout: float | None = None,  # noqa: ASYNC109 - as below
    ) -> R: ...
    async def offload(  # type: ignore[misc] # mypy does not find `*Ts` in `*Any`
        self,
        fn: Callable[..., Any],
        /,
        *args: Any,
        timeout: float | None = None,  # noqa: ASYNC109 - it ends the work itself, in another process
    ) -> Any:
        """Run ``fn(*args)`` in another process and return its result; the loop goes on meanwhile.

        The first call starts the system's default pool: as many process nodes as there are usable CPUs.

        Args:
            fn: a function that can be imported by its name, sync or async; see `Pool.run`.
            *args: positional arguments; keywords by `functools.partial`.
            timeout: seconds from now until it fails and ends, running or not.

        Raises:
            NotSendable: the function, an argument or the result cannot travel.
            DeadlineExceeded: the timeout is over.
            WorkerLost: the process died while it ran the function.
            Exception: whatever the function raises, as itself.
        """
        pool = await self._offload_pool()
        return await pool.run(fn, *args, timeout=timeout)

    async def tree(self) -> dict[str, Any]:
        """Return the supervision tree as plain data, in start order; a node that hangs is marked so."""
        return await self._running().tree()

    def supervisor(self, path: str) -> SupervisorRef:
        """Return a supervisor of the topology, to add, stop, restart and delete its children.

        On a node, whether there is such a supervisor is known at the first call of one of its methods.

        Args:
            path: its name; one inside another is "outer/inner".

        Raises:
            InvalidSpec: there is no such supervisor.
            SupervisorStopped: it has ended for good, by itself or by a call; only its place is left.
        """
        return self._running().supervisor(path)

    @overload
    async def start(self, item: NodesSpec) -> list[Node]: ...
    @overload
    async def start(self, item: PoolSpec[A]) -> Pool[A]: ...  # type: ignore[overload-overlap] # the most special first
    @overload
    async def start(self, item: ActorSpec[A]) -> Ref[A]: ...
    @overload
    async def start(self, item: KeyedSpec[K, A]) -> Keyed[K, A]: ...  # type: ignore[overload-overlap] # as above
    @overload
    async def start(self, item: SupervisorSpec | DynamicSpec) -> None: ...
    async def start(
        self, item: TreeSpec | NodesSpec
    ) -> list[Node] | Ref[Any] | Pool[Any] | Keyed[Any, Any] | None:
        """Add a child made by `child`, `supervisor`, `pool`, `program` and the like at the top of the tree.

        Or a group of nodes, made by `nodes`; more nodes for a group that is there: `scale`.

        Returns:
            An actor's, a pool's or a book's address, None for another supervisor; the nodes of a group,
            all of them ready.

        Raises:
            SupervisorError: there is a child of that name, or it did not start.
            InvalidSpec: there is a group of that name.
            BootFailed: a node did not get ready; none of its group is left.
            ActorsError: a node asks for what only the program that made the system may start: ``listen`` and
                nodes with an environment of their own.
        """
        if isinstance(item, KeyedSpec):
            return await self._running().start_keyed(item)
        if isinstance(item, PoolSpec):
            try:
                return await self._running().start_pool(item)
            except (StartFailed, ChildNotStarted) as error:
                raise only_user_frames(error) from error.__cause__
        if isinstance(item, NodesSpec):
            return await self._running().start_nodes(item)
        return await self.supervisor("").start_child(item)

    async def scale(self, group: str, count: int) -> list[Node]:
        """Have *count* nodes in a group.

        New nodes take the lowest free slots, so that a node that was stopped comes back under its
        name, and get connections as soon as they are ready. The nodes with the highest slots go,
        all at once: each takes no new work, finishes what it has within the group's `shutdown`
        seconds, and ends for good.

        Args:
            group: as named in `nodes`; or a program, of which no nodes are returned.
            count: how many nodes; 0 only where no listener is served by the group, which can be
                scaled up again.

        Returns:
            The nodes of the group by slot, when the new ones are ready and the others are gone. When the
            caller's own node is to go, or that of an actor which waits for it: when the change has begun.

        Raises:
            InvalidSpec: there is no such group, or it cannot have so many nodes.
            BootFailed: a new node did not get ready; none of the new ones is left.
        """
        return await self._running().scale(group, count)

    async def reload(
        self, *names: str, surge: bool = False, ready_timeout: float | None = None
    ) -> list[Node]:
        """Renew nodes one by one: each is replaced by a new process, with the code as it is on disk now.

        A new process boots beside the old one and takes its place when it is ready: connections go
        there at once. The old one answers what it has, tells keep-alive clients with their next
        answer to come again, closes WebSockets with 1012 and ends event streams at once, and ends
        within its group's `shutdown` seconds. So no request is lost.

        An actor never runs twice: those of a node end with its old process, when they have handled
        what they have, and are then started on the new one. Until then they are WAITING_NODE, and
        messages to them wait at their senders, in order and up to their deadlines. Code is renewed on
        process nodes, never in this process: not the topology, not a thread.

        Args:
            *names: nodes ("web/0") and groups ("web"), programs ("api") and their instances ("api/0"); all
                process nodes unless given.
            surge: boot all new processes together, before the first takes over: either all nodes
                are renewed or none, at the price of twice the processes for that time.
            ready_timeout: seconds a new process has to get ready; None is its group's `boot_timeout`.

        Returns:
            The nodes, when all of them are renewed and the old processes are gone. When the caller's own node
            is one of them, or that of an actor which waits for it: when the reload has begun.

        Raises:
            ReloadFailed: a new process did not get ready. It is gone; the old one goes on, and so do
                those whose turn had not come.
            ReloadRunning: another reload is running.
            InvalidSpec: there is no such node, or it is a thread.
            SystemStopped: the system is stopping.
        """
        return await self._running().reload(names, surge=surge, ready_timeout=ready_timeout)

    def topic(self, name: str, *, keep_last: bool = False) -> Topic:
        """Return the topic of that name; topics need not be created.

        Args:
            name: the same on every node.
            keep_last: whether the last value published by the returned object is kept, in the process that made
                the system, for those who subscribe with ``last=True``. A kept value may have 256 KiB. Those of
                all topics may have 64 MiB; then the oldest are forgotten.
        """
        return Topic(self._running().topics, name, keep_last=keep_last)

    async def members(self, group: str) -> list[Ref[Any]]:
        """Return the actors that have joined a group by `Context.join`, in that order; none is no error.

        Raises:
            InvalidSpec: a name that no group can have.
        """
        return await self._running().groups.members(group)

    def watch_members(self, group: str) -> AbstractAsyncContextManager[MembersWatch]:
        """Give who is in a group, and every change: ``async with system.watch_members("lobby") as lobby``.

        ``lobby.members`` has the members at once, and what each says of itself; ``async for change in lobby``
        gives a `MemberChange` for each that joins, leaves, or says something else. A reader that is slow
        gets of each member only the latest, and costs no more memory than the members do.

        Raises:
            InvalidSpec: a name that no group can have.
            SystemStopped: where the next change is read: the system has ended.
        """
        return self._running().groups.watch(group)

    def blocking(self, ref: Ref[A]) -> BlockingRef[A]:
        """Return *ref* for other threads: ``system.blocking(counter).ask(Counter.add, 1)``.

        Its verbs block the thread that calls them and are refused on the loop's own. A thread that
        waits on behalf of an actor's handler (``anyio.to_thread``) is part of that handler's chain of
        calls.
        """
        return BlockingRef(self._running(in_any_thread=True).threads, ref, ref)

    def blocking_offload_pool(self) -> Pool[Any]:
        """Return the pool of `offload`, for other threads; the first call starts it and blocks meanwhile."""
        access = self._running(in_any_thread=True)
        return access.threads.run(self._offload_pool)

    async def _offload_pool(self) -> Pool[Any]:
        pool = self._default_pool
        if pool is None or pool.client.ended:
            pool = self._default_pool = await self._running().pool("")
        assert pool is not None
        return pool

    def events(self) -> EventStream:
        """Return all events from now on: ``async for event in system.events()``.

        Nobody waits for a reader: one that is more than 4096 events behind loses the oldest, and is told by an
        event ``events_lost`` how many. `close` a stream that is not read any more; a node may have 64.
        """
        return self._running().events()

    async def stop(self) -> None:
        """Stop the whole system.

        An `async with` block that holds it is cancelled, and stops it at its end. Without one this
        returns when the system has ended; called by an actor or on a node, when the end has begun.
        """
        task = self._task
        if not isinstance(task, SystemTask):  # on a node, or connected from outside
            await self._running().stop()
        elif task.held or TURN.get() is not None:
            task.end()
        else:
            await task.close()
