"""An envelope: one message on its way to one actor.

Slots only, made once per message: anything that only some messages need lives in `Handler` (made
once per class) or in the reply object.
"""

from __future__ import annotations

import enum
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors._base.loop import Waiter

__all__ = [
    "TURN",
    "Asker",
    "Envelope",
    "Handler",
    "MessageKind",
    "Origin",
    "Sender",
    "SenderQueue",
    "Target",
    "Tell",
    "Turn",
]


class MessageKind(enum.Enum):
    """What an envelope asks of the actor's loop."""

    CALL = "call"
    CONCURRENT = "concurrent"
    STREAM = "stream"
    RESUME = "resume"
    NOTICE = "notice"
    TICK = "tick"
    STOP = "stop"


class Handler:
    """One message of an actor class: its name, its function and how it runs."""

    __slots__ = ("fn", "kind", "name", "plain")

    def __init__(self, name: str, fn: Callable[..., Any], kind: MessageKind) -> None:
        self.name = name
        self.fn = fn
        self.kind = kind
        # The one question the loop asks of every message.
        self.plain = kind is MessageKind.CALL

    def __repr__(self) -> str:
        return f"Handler({self.name}, {self.kind.value})"


class Origin(Protocol):
    """What a message came with: told when it leaves the mailbox, in one of two ways."""

    def took(self) -> None:
        """The actor begins to handle it; called in the actor's own task."""

    def left(self) -> None:
        """It was withdrawn or turned away; called by whoever did so."""

    def later(self) -> Origin | None:
        """Return what goes with the further turns of the same message."""


Tell: TypeAlias = "tuple[Handler, tuple[Any, ...], dict[str, Any], Origin | None]"
"""A message with no reply and no deadline: the commonest, so it costs only a tuple."""


class Envelope:
    """A message, its reply if one is awaited, and its deadline (seconds on the node's clock)."""

    __slots__ = ("args", "deadline", "handler", "kwargs", "origin", "reply", "request")

    def __init__(
        self,
        handler: Handler,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        reply: Waiter | None = None,
        deadline: float | None = None,
        origin: Origin | None = None,
    ) -> None:
        self.handler = handler
        self.args = args
        self.kwargs = kwargs
        self.reply = reply
        self.deadline = deadline
        self.origin = origin
        # The number a link gave it when it was sent to another node.
        self.request = 0

    @classmethod
    def of(cls, item: Envelope | Tell) -> Envelope:
        """Return what a mailbox holds as an envelope."""
        if isinstance(item, Envelope):
            return item
        handler, args, kwargs, origin = item
        return cls(handler, args, kwargs, origin=origin)

    @property
    def message(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        """What an error gives back: (method name, args, kwargs)."""
        return (self.handler.name, self.args, self.kwargs)

    def fail(self, error: BaseException) -> bool:
        """Give *error* to whoever awaits the reply; return whether anybody did."""
        reply = self.reply
        if reply is None:
            return False
        if not reply.done():
            reply.set_exception(error)
        return True


class SenderQueue(Protocol):
    """The line of senders that wait for room."""

    def stands(self, envelope: Envelope) -> bool:
        """Whether the sender of *envelope* is still waiting."""

    def refuse(self, envelope: Envelope, error: BaseException) -> None:
        """Turn it away."""


class Target(Protocol):
    """Where a ref delivers: a cell of this node, or an actor at the other end of a link."""

    @property
    def ref(self) -> Any:
        """Its address."""

    @property
    def remote(self) -> bool:
        """Whether it is on another node."""

    @property
    def line(self) -> SenderQueue:
        """Who waits for room in its mailbox."""

    @property
    def waits(self) -> Mapping[Envelope, Target]:
        """On whom this one is waiting right now, by the message it awaits the reply of."""

    def runs_beside(self, envelope: Envelope) -> bool:
        """Whether *envelope* is handled beside its other messages, and waits for none of them."""

    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Deliver a plain tell, without an envelope of its own; as `offer`."""

    def offer(self, envelope: Envelope) -> bool:
        """Deliver a snapshot of *envelope* now if there is room; return whether there was."""

    async def admit(self, envelope: Envelope) -> None:
        """Deliver a snapshot of *envelope*, waiting in line for room."""

    def push(self, envelope: Envelope) -> None:
        """Deliver past the bound: self-sends and control."""

    def withdraw(self, envelope: Envelope) -> None:
        """Take back a message nobody waits for any more, or cancel its handler."""


class Asker(Target, Protocol):
    """An actor of this node that may wait for others."""

    waits: dict[Envelope, Target]

    def suspect(self) -> None:
        """It waits for somebody on another node, perhaps in a circle."""


class Sender(Protocol):
    """The run of an actor, as what its code sends is accounted to."""

    ref: Any

    @property
    def system(self) -> Any: ...


class Turn:
    """What is being handled right now: who sends, on whom they wait, until when.

    Attributes:
        exclusive: whether the actor's other messages wait for it.
        chain: who waits for what is being handled, if that was said: (number, name) of each.
    """

    __slots__ = ("chain", "deadline", "exclusive", "sender", "target")

    def __init__(self, sender: Sender, target: Asker, *, exclusive: bool) -> None:
        self.sender = sender
        self.target = target
        self.exclusive = exclusive
        self.deadline: float | None = None
        self.chain: tuple[tuple[int, str], ...] = ()

    @property
    def own(self) -> tuple[tuple[int, str], ...]:
        """The chain that begins here, if the actor's other messages wait."""
        return ((self.sender.ref.uid, self.sender.ref.name),) if self.exclusive else ()

    def beside(self) -> Turn:
        """Return the turn of a task that the actor runs beside its messages."""
        return Turn(self.sender, self.target, exclusive=False)


TURN: Final[ContextVar[Turn | None]] = ContextVar("actors_turn", default=None)
