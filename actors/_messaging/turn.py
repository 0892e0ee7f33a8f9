"""The turn of a message: which actor handles it, and what follows for what its code sends meanwhile.

`TURN` is set in every task that runs code of an actor. `FENCED` holds the incarnations that were killed
and did not end: what they send is refused.

Rule: while `FENCED` is empty, a message pays one look at a global for it.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.errors import ActorStopped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors._messaging.mailbox import Envelope, WaitQueue
    from actors._messaging.message_table import Handler

__all__ = ["FENCED", "TURN", "Asker", "Sender", "Target", "Turn", "refuse_fenced"]


class Target(Protocol):
    """Where a ref delivers: a cell of this node, or an actor at the other end of a link."""

    @property
    def ref(self) -> Any:
        """Its address."""

    @property
    def remote(self) -> bool:
        """Whether it is on another node."""

    @property
    def wait_queue(self) -> WaitQueue:
        """Who waits for room in its mailbox."""

    @property
    def waiting_for(self) -> Mapping[Envelope, Target]:
        """On whom this one is waiting right now, by the message it awaits the reply of."""

    def runs_concurrently(self, envelope: Envelope) -> bool:
        """Whether *envelope* is handled beside its other messages, and waits for none of them."""

    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Deliver a plain tell, without an envelope of its own; as `try_send`."""

    def try_send(self, envelope: Envelope) -> bool:
        """Deliver a snapshot of *envelope* now if there is room; return whether there was."""

    async def send_when_room(self, envelope: Envelope) -> None:
        """Deliver a snapshot of *envelope*, waiting in line for room."""

    def send_past_bound(self, envelope: Envelope) -> None:
        """Deliver past the bound: self-sends and control."""

    def withdraw(self, envelope: Envelope) -> None:
        """Take back a message nobody waits for any more, or cancel its handler."""


class Asker(Target, Protocol):
    """An actor of this node that may wait for others."""

    waiting_for: dict[Envelope, Target]

    def suspect_deadlock(self) -> None:
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

    def for_task(self) -> Turn:
        """Return the turn of a task that the actor runs beside its messages."""
        return Turn(self.sender, self.target, exclusive=False)


TURN: Final[ContextVar[Turn | None]] = ContextVar("actors_turn", default=None)

FENCED: Final[set[Sender]] = set()
"""The runs that nobody waits for any more, of every node in this process."""


def refuse_fenced() -> None:
    """Refuse whatever the calling code is about to do, if its actor was abandoned.

    Raises:
        ActorStopped: it was; the actor itself is the one that is over.
    """
    turn = TURN.get()
    if turn is not None and turn.sender in FENCED:
        raise ActorStopped(turn.sender.ref, "it was killed, did not end, and can reach nobody")
