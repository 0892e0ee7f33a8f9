"""The context of an actor, `self.context`: its way to its node and system."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, NoReturn, ParamSpec, TypeVar, TypeVarTuple, cast

from actors._actor.constructor import constructor_options, unpack_constructor
from actors._base.errors import ActorsError, StartFailed
from actors._base.user_traceback import only_user_frames
from actors._messaging.blocking_ref import BlockingRef
from actors._messaging.turn import in_own_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from actors._actor.interfaces import IncarnationInterface
    from actors._actor.later_replies import ReplyTo
    from actors._actor.system_type import System
    from actors._actor.tasks import ActorTasks
    from actors._actor.timers import Timers
    from actors._base.log import Logger
    from actors._messaging.mailbox_options import MailboxOption
    from actors._messaging.ref import Ref
    from actors._messaging.topic import Topic
    from actors.supervisors import Backoff, Restart

__all__ = ["Context"]

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class Context:
    """An actor's access to its own address, its tasks and timers, its node and system."""

    __slots__ = ("_incarnation",)

    def __init__(self, incarnation: IncarnationInterface) -> None:
        self._incarnation = incarnation

    @property
    def ref(self) -> Ref[Any]:
        """The actor's own address."""
        return self._incarnation.ref

    @property
    def name(self) -> str:
        """The actor's name."""
        return self._incarnation.ref.name

    @property
    def node(self) -> str:
        """The name of the node the actor runs on."""
        return self._incarnation.cell.host.name

    @property
    def incarnation(self) -> int:
        """1 for the first start, one more for each restart."""
        return self._incarnation.number

    @property
    def fence(self) -> int:
        """A number that grows with each incarnation of this actor, wherever it runs: for databases and locks.

        What this incarnation sends to somebody outside of the system may arrive when it is over and the next
        one runs, perhaps on another machine. Only the receiver can refuse it then, by the greatest fence that
        it has seen::

            update account set balance = $1, fence = $2 where id = $3 and fence <= $2

        It grows with every restart, reload and move to another node, also where the actor ended for good and
        another one has its name. Fences of different actors are not to be compared, and a child without a name
        is another actor each time that it is spawned.

        It has between 2**50 and 2**53: a BIGINT, or a number of JavaScript. A system that is started again goes
        on above the one before, unless the clock of its machine was set back. (A fencing token: M. Kleppmann,
        *Designing Data-Intensive Applications*, chapter 8.)
        """
        return self._incarnation.fence_number

    @property
    def callers(self) -> tuple[str, ...]:
        """The names of the actors that had this one started, its spawner first, then who waited for that.

        What an actor spawns while it handles an ask has that actor first, then the one that asked, and so on,
        over all nodes; what a topology or a program's own code starts has none. Restarts keep them, but not
        the end of the whole node. What stands above an actor in the tree is in `System.tree`.
        """
        return self._incarnation.cell.callers

    @property
    def system(self) -> System:
        """The `System` of this node."""
        system: System = self._incarnation.system
        return system

    @property
    def log(self) -> Logger:
        """A structlog logger bound with node, actor and incarnation."""
        return self._incarnation.log

    @property
    def tasks(self) -> ActorTasks:
        """Tasks next to the messages: ``tasks.start_soon(fn, *args)``; one that raises crashes the actor."""
        if in_own_thread() is not None:
            raise ActorsError(
                f"{self.name} is blocking: its methods run in a thread, and it has no tasks beside them"
            )
        return self._incarnation.tasks

    @property
    def timers(self) -> Timers:
        """Messages to the actor itself: ``timers.once(seconds, method, *args)``, ``timers.every(...)``."""
        timers = self._incarnation.timers
        if in_own_thread() is None:
            return timers
        return cast("Timers", _TimersInThread(timers, self._incarnation))

    def blocking(self, ref: Ref[A]) -> BlockingRef[A]:
        """Return *ref* for the methods of a blocking actor: ``self.context.blocking(ref).ask(Counter.add, 1)``.

        Its verbs block the actor's own thread. An ask is part of the handler's chain of calls: it inherits
        the deadline, and a cycle is refused.

        Raises:
            ActorsError: this actor is not blocking: its methods await the ref's own verbs.
        """
        return BlockingRef(self._incarnation.portal, ref, ref)

    def run(
        self, fn: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run an async function in the event loop, for a method of a blocking actor, which waits for it.

        For example ``self.context.run(lambda: self.context.spawn(Child, name="child"))``.

        Raises:
            Exception: whatever it raised.
            ActorsError: this actor is not blocking: its methods await the function.
        """
        return self._incarnation.portal.run(partial(fn, *args, **kwargs))

    async def in_thread(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a method of a blocking actor in its thread; for its message loop."""
        return await self._incarnation.in_thread(fn, *args, **kwargs)

    @constructor_options
    async def spawn(
        self,
        cls: Callable[[*Ts], A],
        /,
        *args: *Ts,
        name: str | None = None,
        restart: Restart | None = None,
        backoff: Backoff | None = None,
        mailbox: MailboxOption = 1024,
    ) -> Ref[A]:
        """Start a child of this actor on the same node; it ends before its parent does.

        Args:
            cls: a subclass of `Actor`, or a `functools.partial` of one, with keywords for its constructor.
            *args: constructor arguments; snapshots are taken, now and at each restart.
            name: a system-wide name.
            restart: TRANSIENT unless given.
            backoff: waits between restarts.
            mailbox: how many messages may wait, or a `Bounded` or `Priority`.

        Raises:
            StartFailed: it never became ready.
            NameTaken: another actor has that name.
            InvalidSpec: a value that can never work, or an argument that the constructor does not take.
        """
        made, given, kwargs = unpack_constructor(cls, args)
        options = {"name": name, "restart": restart, "backoff": backoff, "mailbox": mailbox}
        try:
            return await self._incarnation.spawn(made, given, kwargs, **options)
        except StartFailed as error:
            raise only_user_frames(error) from error.__cause__

    def reply_to(
        self,
        handler: Callable[Concatenate[Any, R | Exception, P], object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> ReplyTo[R]:
        """Ask others in the background: each reply, or the error in its place, comes as a message to *handler*.

        The actor handles other messages meanwhile::

            async def order(self, item: str) -> None:
                self.context.reply_to(Desk.priced, item).within(2).ask(self.shop, Shop.price, item)


            async def priced(self, price: int | Exception, item: str) -> None: ...

        The error is whatever `Ref.ask` would have raised. The ask has no part in the message that is handled
        now: it inherits no deadline. It ends with this incarnation.

        Args:
            handler: a message of the actor's own class, which takes the reply or an exception first.
            *args: further arguments for *handler*, kept as they are.
            **kwargs: further arguments for *handler*, kept as they are.

        Raises:
            NotAMessage: *handler* is not a message of the actor's class.
            TypeError: *handler* does not take these arguments behind the reply.
        """
        return self._incarnation.later_replies.to(handler, args, kwargs)

    async def join(self, group: str, meta: Any = None) -> None:
        """Make this actor a member of *group*, which need not be created; it sees and is seen from every node.

        A group may have any number of members, and an actor may be in several. When this returns,
        `System.members` has it everywhere. The membership belongs to this incarnation, as its timers do: it
        ends when the actor stops, crashes or is killed, or its node dies, and an actor that is restarted
        joins again, in `on_start`.

        Args:
            group: the name.
            meta: what the actor says of itself to those who watch the group, such as a name or a state: plain
                data of at most 4 KiB. Joining again replaces it.

        Raises:
            InvalidSpec: a name or a *meta* that can never work.
            LimitReached: it is in 64 groups, or the actors of its node have 65,536 memberships.
            ActorStopped: it is ending.
        """
        await self._incarnation.join(group, meta)

    async def leave(self, group: str) -> None:
        """Leave *group*; no error if this actor is not in it. When this returns, no node has it there."""
        await self._incarnation.leave(group)

    async def subscribe(
        self,
        topic: Topic | str,
        handler: Callable[[Any, Any], object],
        /,
        *,
        buffer: int = 256,
        last: bool = False,
    ) -> None:
        """Have each value that is published from now on come as a message to *handler*.

        Where values found no room, *handler* gets one `Lagged` with their number in their place: no publisher
        waits. The subscription ends with this incarnation, so begin it in `on_start`::

            async def on_start(self) -> None:
                await self.context.subscribe("prices", Desk.on_price)


            async def on_price(self, price: Price | Lagged) -> None: ...

        Args:
            topic: a topic, or its name. A second call for one takes the place of the first.
            handler: a message of the actor's own class, which takes one value.
            buffer: how many values may wait for the actor; they have room only while its mailbox has.
            last: whether the last value comes first that was published with `keep_last`, if there was one. One
                that is published in the same moment may come twice.

        Raises:
            NotAMessage: *handler* is not a message of the actor's class.
            TypeError: *handler* does not take one value.
            ValueError: *buffer* is not a whole number of 1 or more.
            RuntimeError: the actor has ended.
        """
        on = self.system.topic(topic) if isinstance(topic, str) else topic
        await self._incarnation.subscriptions.add(on, handler, buffer, last=last)

    def unsubscribe(self, topic: Topic | str) -> bool:
        """End the subscription to *topic*, also for values that are queued; return whether there was one."""
        name = topic if isinstance(topic, str) else topic.name
        ended: bool = self._incarnation.in_loop(self._incarnation.subscriptions.remove, name)
        return ended

    def watch(self, ref: Ref[Any]) -> None:
        """Call `on_exit(ref, exit)` once, at the final end of *ref*, or at once if it has ended."""
        self._incarnation.in_loop(self._incarnation.watch, ref)

    def unwatch(self, ref: Ref[Any]) -> None:
        """Cancel `watch`; an `on_exit` that is queued is not called."""
        self._incarnation.in_loop(self._incarnation.unwatch, ref)

    def defer(self) -> NoReturn:
        """End the handler here, and have its message come again behind the next one that is handled.

        For a message that the actor cannot handle yet::

            async def withdraw(self, amount: int) -> int:
                if not self.opened:
                    self.context.defer()
                ...

        The handler begins anew then, with the same argument objects. Its asker waits on; its deadline stays.
        What was deferred comes again in its order, before younger messages. A message that is deferred too
        lets none come again, so an actor that can handle nothing waits. All of them keep their place in the
        mailbox; one place is kept free for others, so the message that would take it gets `MailboxFull`, or is
        a dead letter. When the actor restarts or ends, they are messages that have not begun.

        Raises:
            ActorsError: this code handles no message, or a stream has made its first item.
        """
        raise self._incarnation.deferral()

    def stop(self) -> None:
        """End this actor behind what it has queued; it is not restarted."""
        self._incarnation.in_loop(self._incarnation.request_stop)


class _TimersInThread:
    """The timers of a blocking actor, for its own thread: each call is made in the loop."""

    def __init__(self, timers: Timers, incarnation: IncarnationInterface) -> None:
        self._timers = timers
        self._incarnation = incarnation

    def __getattr__(self, name: str) -> Any:
        return partial(self._incarnation.in_loop, getattr(self._timers, name))
