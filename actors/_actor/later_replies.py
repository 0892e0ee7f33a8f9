"""Asks in the background, `context.reply_to`: the reply, or the error, comes as a message to the actor itself.

Rule 1: an ask is sent in the call, in the order of the actor's other messages; nothing of the actor waits.
Rule 2: there are at most as many as its mailbox holds, each until the message with its reply is taken.
Rule 3: they end with the incarnation: what is on its way is withdrawn, and what has come is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from actors._base.errors import ActorStopped, DeadlineExceeded, MailboxFull, NodeDown
from actors._base.options import check_within
from actors._messaging.mailbox import Envelope, OwnMessage
from actors._messaging.message_table import Handler, MessageKind, own_handler
from actors._messaging.turn import refuse_fenced

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from actors._base.loop import Loop, Timer
    from actors._messaging.ref import Ref
    from actors._messaging.ref_with import RefWith
    from actors._messaging.turn import Target

__all__ = ["LaterReplies", "ReplyTo"]

A = TypeVar("A")
P = ParamSpec("P")
R = TypeVar("R")


class AskingRun(Protocol):
    """The incarnation that asks."""

    ref: Ref[Any]
    cell: Any
    loop: Loop

    def in_loop(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any: ...


class ReplyTo(Generic[R]):
    """Asks whose replies come as messages; see `Context.reply_to`."""

    __slots__ = ("_handler", "_later", "_more", "_seconds")

    def __init__(
        self,
        later: LaterReplies,
        handler: Handler,
        more: tuple[tuple[Any, ...], dict[str, Any]],
        seconds: float | None = None,
    ) -> None:
        self._later = later
        self._handler = handler
        self._more = more
        self._seconds = seconds

    def within(self, seconds: float) -> ReplyTo[R]:
        """Return the same with a deadline: after *seconds* the reply is a `DeadlineExceeded`.

        Raises:
            ValueError: *seconds* is not more than 0.
        """
        check_within(seconds)
        return ReplyTo(self._later, self._handler, self._more, seconds)

    @overload
    def ask(
        self,
        ref: Ref[A] | RefWith[A],
        method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None: ...
    @overload
    def ask(
        self,
        ref: Ref[A] | RefWith[A],
        method: Callable[Concatenate[A, P], R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None: ...
    def ask(self, ref: Ref[Any] | RefWith[Any], method: Any, /, *args: Any, **kwargs: Any) -> None:
        """Send a message now, without waiting. The reply, or the error in its place, comes as a message.

        *ref* may have a deadline or a priority (`Ref.within`, `Ref.priority`).

        Raises:
            NotAMessage: *method* is not a message of the class of *ref*.
            TypeError: *method* does not take these arguments.
            NotSendable, MessageTooBig: an argument cannot be sent.
            MailboxFull: as many replies as the actor's mailbox holds are awaited, or have not been handled.
            RuntimeError: the actor has ended.
        """
        self._later.run.in_loop(self._ask, ref, method, args, kwargs)

    def _ask(self, ref: Ref[Any] | RefWith[Any], method: Any, args: Any, kwargs: Any) -> None:
        target, envelope, timeout = ref.message(method, args, kwargs)
        reply = _LaterReply(self._later, self._handler, self._more, envelope, target)
        self._later.send(reply, timeout if self._seconds is None else self._seconds)


class _LaterReply:
    """The reply to one ask; a `Waiter` that nobody awaits: it puts the reply into the actor's mailbox."""

    __slots__ = (
        "_done",
        "_handler",
        "_later",
        "_leave",
        "_more",
        "_timer",
        "_value",
        "envelope",
        "target",
    )

    def __init__(
        self,
        later: LaterReplies,
        handler: Handler,
        more: tuple[tuple[Any, ...], dict[str, Any]],
        envelope: Envelope,
        target: Target,
    ) -> None:
        self._later = later
        self._handler = handler
        self._more = more
        self._done = False
        self._value: Any = None
        self._timer: Timer | None = None
        self._leave: Callable[[], None] | None = None
        self.envelope: Envelope = envelope
        self.target: Target = target
        reply: Any = self
        envelope.reply = reply

    def __await__(self) -> Any:
        raise TypeError("the reply comes as a message")

    def done(self) -> bool:
        """Whether it has come, or is not wanted any more."""
        return self._done

    def cancelled(self) -> bool:
        """Never: what is not wanted any more is withdrawn."""
        return False

    def set_result(self, value: Any, /) -> None:
        """Have the actor handle *value*, behind what is in its mailbox."""
        if self._done:
            return
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
        self._value = value
        name, method = self._handler.name, self._handler.method
        self._later.deliver(Envelope(Handler(name, method, MessageKind.OWN), (self,), {}))

    def set_exception(self, error: BaseException, /) -> None:
        """Have the actor handle *error*."""
        self.set_result(error)

    def take(self) -> OwnMessage | None:
        """Return the message with the reply; None if it is that of an earlier incarnation."""
        if not self._later.taken(self):
            return None
        args, kwargs = self._more
        return OwnMessage(self._handler, (self._value, *args), kwargs)

    def send(self, seconds: float | None) -> None:
        """Send the message, or wait in line for room; the reply is to come in *seconds*."""
        loop, envelope = self._later.run.loop, self.envelope
        if seconds is not None:
            envelope.deadline = loop.now() + seconds
            self._timer = loop.call_later(seconds, self._late, seconds)
        try:
            if self.target is self._later.run.cell:
                self.target.send_past_bound(envelope)
            elif not self.target.try_send(envelope):
                self._leave = self.target.wait_in_line(envelope, self.set_exception)
        except (ActorStopped, NodeDown) as error:
            self.set_exception(error)
        except BaseException:
            self.drop()
            raise

    def _late(self, seconds: float) -> None:
        if not self._done:
            self.withdraw()
            why = f"no reply to {self.envelope.handler.name} in {seconds:g} s"
            self.set_exception(DeadlineExceeded(self.target.ref, why, self.envelope.message))

    def withdraw(self) -> None:
        """Take the message back, or have its handler cancelled."""
        if self._leave is not None:
            self._leave()
        self.target.withdraw(self.envelope)

    def drop(self) -> None:
        """Forget the reply."""
        self._done = True
        if self._timer is not None:
            self._timer.cancel()


class LaterReplies:
    """The asks of one incarnation whose replies are to come as messages.

    Attributes:
        run: the incarnation.
    """

    def __init__(self, run: AskingRun) -> None:
        self.run = run
        self.deliver: Callable[[Envelope], None] = run.cell.deliver
        self._open: set[_LaterReply] = set()
        self._closed = False

    def to(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ReplyTo[Any]:
        """As `Context.reply_to`."""
        handler = own_handler(self.run.cell.cls, method)
        handler.check((None, *args), kwargs)
        return ReplyTo(self, handler, (args, kwargs))

    def send(self, reply: _LaterReply, seconds: float | None) -> None:
        """Send the message whose reply is awaited."""
        refuse_fenced()
        ref = self.run.ref
        if self._closed:
            raise RuntimeError(f"{ref.name} has ended: it asks nothing more")
        if len(self._open) >= ref.mailbox:
            why = f"it awaits {len(self._open)} replies already, as many as its mailbox holds"
            raise MailboxFull(ref, why, reply.envelope.message)
        reply.send(seconds)
        if not self._closed:
            self._open.add(reply)

    def taken(self, reply: _LaterReply) -> bool:
        """Note that a reply is handled now; return whether it was awaited."""
        awaited = reply in self._open
        self._open.discard(reply)
        return awaited

    def close(self) -> None:
        """Withdraw all that was asked, and ask nothing more."""
        self._closed = True
        for reply in list(self._open):
            if not reply.done():
                reply.withdraw()
            reply.drop()
        self._open.clear()
