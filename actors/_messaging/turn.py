"""The turn: which actor's code runs in this task, and for which message. `TURN` has it in every such task.

Here too: what an actor looks like to those who send to it (`Target`), and the incarnations that may send
nothing any more because they were killed and did not end (`FENCED`).
"""

from __future__ import annotations

from contextvars import ContextVar
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.errors import ActorStopped, SendError
from actors._base.twins import bind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors._messaging.mailbox import Envelope, WaitQueue
    from actors._messaging.message_table import Handler

__all__ = [
    "FENCED",
    "TURN",
    "Asker",
    "Sender",
    "Target",
    "Turn",
    "in_own_thread",
    "refuse_fenced",
    "sending_actor",
]


class Target(Protocol):
    """Where a ref sends to: a cell of this node, or an actor of another node.

    Every method that sends takes a snapshot of the message first.
    """

    @property
    def ref(self) -> Any:
        """Its address."""

    @property
    def remote(self) -> bool:
        """Whether it is on another node."""

    @property
    def wait_queue(self) -> WaitQueue:
        """The senders that wait for room in its mailbox."""

    @property
    def waiting_for(self) -> Mapping[Envelope, Target]:
        """The actors whose replies this one awaits, by message."""

    @property
    def waits_for_node(self) -> bool:
        """Whether messages wait until its node, which is away, has it again."""

    def runs_concurrently(self, envelope: Envelope) -> bool:
        """Whether a concurrent handler handles *envelope*, so that it waits for no other message."""

    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Send a tell if there is room in the mailbox; return whether there was."""

    def try_send(self, envelope: Envelope) -> bool:
        """Send *envelope* if there is room in the mailbox; return whether there was."""

    async def send_when_room(self, envelope: Envelope) -> None:
        """Send *envelope* as soon as there is room; senders that wait are served in order."""

    def wait_in_line(
        self, envelope: Envelope, refused: Callable[[BaseException], None]
    ) -> Callable[[], None]:
        """As `send_when_room`, without waiting: call *refused* if it is refused; return what takes it back."""

    def no_room(self, envelope: Envelope) -> SendError:
        """Return why *envelope*, for which the caller does not wait, was not sent."""

    def send_past_bound(self, envelope: Envelope) -> None:
        """Send *envelope* even if the mailbox is full: messages to oneself, and control."""

    def withdraw(self, envelope: Envelope) -> None:
        """Remove *envelope* from the mailbox, or cancel its handler: its asker no longer waits."""

    def interrupt(self, envelope: Envelope) -> None:
        """Remove or cancel as `withdraw`; the asker still waits, and is answered when the handler has ended."""


class Asker(Target, Protocol):
    """An actor of this node, which may wait for others."""

    waiting_for: dict[Envelope, Target]

    def suspect_deadlock(self) -> None:
        """Have the node check whether a wait of this actor for one of another node is part of a deadlock."""


class Sender(Protocol):
    """The incarnation whose code sends."""

    ref: Any

    @property
    def system(self) -> Any: ...
    def in_loop(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any: ...


class Turn:
    """What an actor's code in this task belongs to.

    Attributes:
        sender: the incarnation whose code runs.
        target: its cell.
        exclusive: whether the actor's other messages wait until this one is handled.
        deadline: of the message being handled, in seconds on the loop's clock; None for none.
        starting: whether the actor starts, so that every ask carries the chain: others may wait for its name.
        chain: the chain of asks that led to this message: (number, name) of each waiting actor.
        thread: the number of the actor's own thread, if it is a blocking one.
        beside: whether it is that of a concurrent handler, not that of any other task of the actor.
    """

    __slots__ = (
        "beside",
        "chain",
        "deadline",
        "exclusive",
        "sender",
        "starting",
        "target",
        "thread",
    )

    def __init__(self, sender: Sender, target: Asker, *, exclusive: bool) -> None:
        self.sender: Sender = sender
        self.target: Asker = target
        self.exclusive: bool = exclusive
        self.deadline: float | None = None
        self.starting: bool = False
        self.beside: bool = False
        self.chain: tuple[tuple[int, str], ...] = ()
        self.thread: int | None = None

    @property
    def as_chain(self) -> tuple[tuple[int, str], ...]:
        """This actor as a link of a chain, if its other messages wait; empty otherwise."""
        return ((self.sender.ref.uid, self.sender.ref.name),) if self.exclusive else ()

    def for_task(self) -> Turn:
        """Return the turn of a task of `context.tasks`, which runs next to the message loop."""
        return Turn(self.sender, self.target, exclusive=False)


TURN: Final[ContextVar[Turn | None]] = ContextVar("actors_turn", default=None)

FENCED: Final[set[Sender]] = set()
"""The abandoned incarnations of this process: killed, but their code still runs. Usually empty."""


def sending_actor() -> Asker | None:
    """Return the actor whose code sends, if an actor's does."""
    turn = TURN.get()
    return None if turn is None else turn.target


def in_own_thread() -> Sender | None:
    """Return the blocking actor whose own thread this is, which reaches the loop by `Sender.in_loop`."""
    turn = TURN.get()
    if turn is None or turn.thread is None or turn.thread != get_ident():
        return None
    return turn.sender


def refuse_fenced() -> None:
    """Refuse what the calling code is about to do if its incarnation was abandoned.

    Raises:
        ActorStopped: it was; the error names the calling actor itself.
    """
    turn = TURN.get()
    if turn is not None and turn.sender in FENCED:
        raise ActorStopped(turn.sender.ref, "it was killed, did not end, and can reach nobody")


bind(turn=TURN, fenced=FENCED)
