"""A Ref: the small, hashable, sendable address of an actor.

Rule 1: a ref holds an address, never the actor. It stays valid when the actor restarts, and never reaches
another actor of the same name: the number in it is used once.
Rule 2: the method and the number and names of its arguments are checked when the message is sent, so that the
sender gets the error.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Final,
    Generic,
    NoReturn,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    overload,
)

from actors._base.errors import ActorCrashed, NodeDown, NotAMessage, SendError
from actors._base.options import check_within
from actors._base.twins import COMPILED, bind
from actors._messaging.ask import (
    ask_in_turn,
    give_up,
    open_stream,
    refuse_in_turn,
    send_in_turn,
)
from actors._messaging.deadlock import waiting_for_end
from actors._messaging.mailbox import Envelope, envelope_of
from actors._messaging.mailbox_options import Bounded, MailboxOption, bounds_of, check_priority
from actors._messaging.message_table import (
    Handler,
    MessageKind,
    ask_timeout_of,
    handlers_of,
    is_blocking,
    refusal,
)
from actors._messaging.ref_with import RefWith
from actors._messaging.stream import Stream
from actors._messaging.turn import FENCED, TURN, in_own_thread, refuse_fenced
from actors.transport import register_immutable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from actors._base.loop import Loop
    from actors._messaging.turn import Target
    from actors.supervisors import Exit

__all__ = ["READY", "Ref", "RefHost", "class_of"]

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")


_NOT_LOOKED_UP: Final[dict[Any, Handler]] = {}


class RefHost(Protocol):
    """The node a ref object lives in, as the ref sees it."""

    loop: Loop
    system_id: str
    ask_timeout: float | None

    def resolve(self, ref: Ref[Any]) -> Target:
        """Return what *ref* sends to."""

    def watch(self, ref: Ref[Any], notice: Callable[[Exit], None]) -> Callable[[], None]:
        """Call *notice* once, at the final end of *ref*; return a function that cancels that."""

    def stop(self, ref: Ref[Any], grace: float | None, *, drain: bool) -> None:
        """Have *ref* stop behind what it has queued."""

    def kill(self, ref: Ref[Any]) -> None:
        """End *ref* now; its restart policy decides what follows."""

    def class_of(self, path: str) -> type | None:
        """Return the class an address names, if this process has it."""

    async def may_be_back(self, ref: Ref[Any]) -> None:
        """Wait until the node of *ref* is ready or given up, and a moment in any case."""

    def reach(self, ref: Ref[Any]) -> Target | None:
        """Find where messages for *ref* go; None if it takes none now, as far as this node knows."""

    def backlog(self, ref: Ref[Any]) -> int:
        """How many messages wait for *ref*, as far as this node knows."""


class Ref(Generic[A]):
    """The address of one actor.

    Send it a method of its class and the arguments::

        await ref.tell(Counter.add, 5)  # waits only for room in the mailbox
        total = await ref.ask(Counter.add, 1)  # waits for the reply

    Attributes:
        uid: the actor's number in its system, never used again.
        name: its name; unnamed actors get one from their class and number.
        node: the name of the node it runs on.
        mailbox: how many messages may wait for it.
        bounds: of its mailbox: a `Bounded`, or a `Priority`.
    """

    __slots__ = (
        "_ask_timeout",
        "_cls",
        "_handlers",
        "_host",
        "_make_waiter",
        "_target",
        "bounds",
        "cls_path",
        "mailbox",
        "name",
        "node",
        "uid",
    )

    def __init__(
        self,
        host: RefHost,
        uid: int,
        node: str,
        name: str,
        cls_path: str,
        mailbox: MailboxOption,
        cls: type | None = None,
    ) -> None:
        self._host = host
        self._cls = cls
        self._target: Target | None = None
        self._handlers: dict[Any, Handler] = _NOT_LOOKED_UP
        self._ask_timeout: float | None = None
        self._make_waiter = host.loop.waiter
        self.uid: int = uid
        self.node: str = node
        self.name: str = name
        self.cls_path: str = cls_path
        self.bounds: Bounded = bounds_of(mailbox)
        self.mailbox: int = self.bounds.messages

    @property
    def host(self) -> RefHost:
        """The node this object belongs to, and through it the system."""
        return self._host

    def __repr__(self) -> str:
        return f"<Ref {self.name} {self.cls_path.rpartition(':')[2]} on {self.node}>"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Ref)
            and other.uid == self.uid
            and other.node == self.node
            and other._host.system_id == self._host.system_id
        )

    def __hash__(self) -> int:
        return hash(self.uid)

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot be pickled: an address is valid in its system; send it in a message"
        )

    if not TYPE_CHECKING:  # a checker says by itself that there is no such attribute

        def __getattr__(self, name: str) -> NoReturn:
            # Called only for missing attributes: most often a message that is called like a method.
            cls = self.cls_path.rpartition(":")[2].rpartition(".")[2]
            hint = (
                f"; to send a message: await ref.ask({cls}.{name}, ...)" if name[:1] != "_" else ""
            )
            raise AttributeError(f"a Ref has no {name!r}{hint}")

    async def tell(
        self,
        method: Callable[Concatenate[A, P], object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Send a message and wait only until it has a place in the mailbox.

        Raises:
            NotAMessage: *method* is not a message of the actor's class.
            TypeError: *method* does not take these arguments; nothing was sent.
            NotSendable: an argument cannot be sent; nothing was sent.
            ActorStopped: the actor has ended for good.
            CallCycle: there will be no room, because the actor waits for the sender.
            NodeDown: its node is not ready. Messages for one that is being restarted wait for it: until
                it is replaced, or for at most `Topology.patience` seconds from its death.
        """
        if FENCED:
            refuse_fenced()
        try:
            handler = self._handlers[method]
        except (KeyError, TypeError):
            handler = self._find_handler(method)
        if kwargs or not handler.least <= len(args) <= handler.most:
            handler.check(args, kwargs)
        target = self._target or self._resolve()
        try:
            if not target.send(handler, args, kwargs):
                await send_in_turn(self, target, Envelope(handler, args, kwargs), TURN.get())
        except SendError as error:
            await refuse_in_turn(error)

    def tell_nowait(
        self,
        method: Callable[Concatenate[A, P], object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Send a message without waiting, or raise.

        Raises:
            MailboxFull: there is no room; the message is `error.message`.
            NotAMessage, TypeError, NotSendable, ActorStopped, NodeDown: as `tell`.
        """
        refuse_fenced()
        actor = in_own_thread()
        if actor is not None:
            actor.in_loop(self.tell_nowait, method, *args, **kwargs)
            return
        handler = self._handler(method, args, kwargs)
        target = self._target or self._resolve()
        if not target.send(handler, args, kwargs):
            envelope = Envelope(handler, args, kwargs)
            turn = TURN.get()
            if turn is None or turn.target is not target:
                raise target.no_room(envelope)
            target.send_past_bound(envelope)

    @overload
    async def ask(
        self,
        method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R: ...
    @overload
    async def ask(
        self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    async def ask(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Send a message and return the handler's result.

        Cancelling the wait removes the message from the mailbox, or cancels its handler. It ends after the
        `ask_timeout` of the actor's class, or else of the system, if there is one; `within` sets another.

        Raises:
            Exception: whatever the handler raised.
            DeadlineExceeded: the `ask_timeout` is over.
            ActorCrashed: the actor crashed while handling it.
            CallCycle: the actor waits for the caller, directly or through others.
            NotAMessage, TypeError, NotSendable, ActorStopped, NodeDown: as `tell`.
        """
        try:
            handler = self._handlers[method]
        except (KeyError, TypeError):
            handler = self._find_handler(method)
        if kwargs or not handler.least <= len(args) <= handler.most:
            handler.check(args, kwargs)
        reply = self._make_waiter()
        envelope = Envelope(handler, args, kwargs, reply)
        target = self._target or self._resolve()
        turn, seconds = TURN.get(), self._ask_timeout
        if seconds is not None:
            loop = self._host.loop
            envelope.deadline = loop.now() + seconds
            whose = self.whose_timeout()
            return await ask_in_turn(self, loop, target, envelope, turn, whose)
        if turn is not None:
            return await ask_in_turn(self, self._host.loop, target, envelope, turn)
        try:
            if not target.try_send(envelope):
                await target.send_when_room(envelope)
            return await reply
        except BaseException as error:
            give_up(target, envelope)
            if isinstance(error, SendError):
                await refuse_in_turn(error)
            raise

    @asynccontextmanager
    async def stream(
        self,
        method: Callable[Concatenate[A, P], AsyncIterator[R] | Iterator[R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncIterator[AsyncIterator[R]]:
        """Open a stream: ``async with ref.stream(Counter.upto) as items: async for i in items``.

        Leaving the block ends the generator. Raises as `ask`, where the items are read. A stream is open
        as long as it is read, so an `ask_timeout` is not for streams; `within` is.
        """
        async with self.open(method, args, kwargs, None) as items:
            yield items

    def within(self, seconds: float) -> RefWith[A]:
        """Return this address with a deadline: its `ask`, `tell` and `stream` end in *seconds*.

        The deadline travels with the message, is inherited by asks made while handling it, and
        an expired message is not run.

        Raises:
            ValueError: *seconds* is not more than 0.
        """
        check_within(seconds)
        return RefWith(self, seconds)

    def priority(self, priority: int) -> RefWith[A]:
        """Return this address with a priority, for an actor with ``mailbox=Priority()``.

        Messages of a higher priority are handled first; without one, a message has 0::

            await printer.priority(10).tell(Printer.show, "fire")
            await printer.within(5).priority(-1).ask(Printer.show, "advertisement")

        A message keeps its place behind those of its sender that have the same priority.

        Raises:
            InvalidSpec: *priority* is not a whole number, of 64 bits at most.
            ActorsError: the actor's mailbox has no priorities.
        """
        check_priority(self, self.bounds, priority)
        return RefWith(self, None, priority)

    async def wait(self) -> Exit:
        """Wait until the actor has ended for good, and return how. A restart is not an end.

        Raises:
            CallCycle: a handler waits for the end of its own actor, or of one that awaits its reply.
        """
        waiter = self._host.loop.waiter()

        def notice(end: Exit) -> None:
            if not waiter.done():
                waiter.set_result(end)

        cancel = self._host.watch(self, notice)
        turn = TURN.get()
        try:
            if turn is None or waiter.done():
                return await waiter  # type: ignore[no-any-return] # a waiter is untyped
            with waiting_for_end(self, self._target or self._resolve(), waiter, turn):
                return await waiter  # type: ignore[no-any-return] # a waiter is untyped
        finally:
            cancel()

    async def wait_ready(self) -> None:
        """Wait until the actor is running and has handled what was queued before this call.

        It waits over restarts of the actor and of its node, however long their backoffs are, for as long as
        they are expected back: give it a deadline, ``ref.within(10).wait_ready()``, or an enclosing scope.

        Raises:
            ActorStopped: it has ended for good.
            NodeDown: its node has, and is not restarted.
        """
        while True:
            try:
                return await self._handled_all()
            except ActorCrashed:  # it is being restarted
                pass
            except SendError as error:
                if not (isinstance(error, NodeDown) and error.restarting):
                    await refuse_in_turn(error)
            await self._host.may_be_back(self)

    async def _handled_all(self) -> None:
        envelope = Envelope(READY, (), {}, self._host.loop.waiter())
        target = self._target or self._resolve()
        if target.waits_for_node:
            await target.send_when_room(envelope)
        else:
            target.send_past_bound(envelope)
        assert envelope.reply is not None
        await envelope.reply

    async def stop(self, *, grace: float | None = None, drain: bool = False) -> None:
        """Have the actor end behind what it has queued; it is not restarted.

        Args:
            grace: seconds until it is killed instead; None lets it take its time.
            drain: refuse new messages from now on.
        """
        if grace is not None and not grace >= 0:
            raise ValueError(f"grace must be 0 or more seconds, got {grace!r}")
        refuse_fenced()
        self._host.stop(self, grace, drain=drain)

    def kill(self) -> None:
        """End this incarnation now, ahead of its queue; the restart policy decides what follows."""
        refuse_fenced()
        actor = in_own_thread()
        if actor is None:
            self._host.kill(self)
        else:
            actor.in_loop(self._host.kill, self)

    def message(
        self, method: object, args: tuple[Any, ...], kwargs: dict[str, Any], priority: int = 0
    ) -> tuple[Target, Envelope, float | None]:
        """Return where a message goes, the message, and the seconds of its `ask_timeout`.

        Raises:
            NotAMessage, TypeError: as `tell`.
        """
        handler = self._handler(method, args, kwargs)
        target = self._target or self._resolve()
        return target, envelope_of(priority, handler, args, kwargs), self._ask_timeout

    def open(
        self, method: object, args: Any, kwargs: Any, seconds: float | None, priority: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[Any]]:
        """As `stream`, with a deadline in *seconds* if there is one."""
        loop = self._host.loop
        stream: Any = Stream(loop.waiter)
        handler = self._stream_handler(method)
        handler.check(args, kwargs)
        # The stream takes the reply's place.
        envelope = envelope_of(priority, handler, args, kwargs, stream)
        return open_stream(self, loop, self._target or self._resolve(), envelope, stream, seconds)

    def whose_timeout(self) -> str:
        """Return what set the deadline of an ask without `within`, for its error."""
        own = ask_timeout_of(self._class(), None) is not None
        return f", the ask_timeout of {self._class().__name__ if own else 'the system'}"

    def _handler(self, method: object, args: Any, kwargs: Any) -> Handler:
        try:
            handler = self._handlers[method]
        except (KeyError, TypeError):
            handler = self._find_handler(method)
        handler.check(args, kwargs)
        return handler

    def _find_handler(self, method: object) -> Handler:
        cls = self._class()
        self._ask_timeout = ask_timeout_of(cls, self._host.ask_timeout)
        self._handlers = {
            fn: handler
            for fn, handler in handlers_of(cls).items()
            if handler.kind is not MessageKind.STREAM
        }
        try:
            return self._handlers[method]
        except (KeyError, TypeError):
            raise refusal(cls, method) from None

    def _class(self) -> type:
        cls = self._find_class()
        if cls is None:
            raise NotAMessage(f"{self}: its class {self.cls_path} is not imported here")
        return cls

    def _find_class(self) -> type | None:
        if self._cls is None:
            self._cls = self._host.class_of(self.cls_path)
        return self._cls

    def _stream_handler(self, method: object) -> Handler:
        cls = self._class()
        handler = handlers_of(cls).get(method)
        if handler is None:
            raise refusal(cls, method)
        if handler.kind is not MessageKind.STREAM:
            kind = "" if is_blocking(cls) else "n async"
            raise NotAMessage(
                f"{cls.__name__}.{handler.name} is not a{kind} generator: use ask or tell"
            )
        return handler

    def _resolve(self) -> Target:
        self._target = target = self._host.resolve(self)
        return target


def class_of(ref: Ref[Any]) -> type | None:
    """Return the class of an actor, if this process has it."""
    return ref._find_class()  # noqa: SLF001 - its own file


bind(Ref, tell_twin=Ref.tell, ask_twin=Ref.ask)
if not TYPE_CHECKING and COMPILED:
    # They do the common case, and leave the rest to the functions that they stand for.
    Ref.tell, Ref.ask = COMPILED.Verb(Ref.tell, asks=False), COMPILED.Verb(Ref.ask, asks=True)

# A ref is immutable and valid on every node: its snapshot is the ref itself.
register_immutable(Ref)

READY: Final = Handler("(wait_ready)", lambda: None, MessageKind.NOTICE)
"""Has an actor answer when it runs and has handled what was queued before."""
