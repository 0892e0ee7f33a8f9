"""Waits: who waits for whom while handling a message, and which waits would never end.

Rule 1: only an exclusive turn leaves an edge; a concurrent handler holds nobody up.
Rule 2: an edge is there while the reply is: what is answered is no edge, though nobody has seen it yet.
Rule 3: what closes a cycle over actors of this node, or over the chain of calls that a message came
by, is refused before it is sent; where edges lead to other nodes, the node has them asked.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from actors._base.errors import CallCycle
from actors._messaging.headers import LONGEST_CHAIN, MessageHeaders
from actors._messaging.mailbox import Envelope
from actors._messaging.message_table import Handler, MessageKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actors._base.loop import Waiter
    from actors._messaging.turn import Asker, Target, Turn

__all__ = [
    "StreamEdge",
    "add_wait_edge",
    "cycle_text",
    "cycle_through",
    "pending_waits",
    "stream_edge",
    "wait_edges",
    "waiting_for_ends",
    "waiting_for_room",
]


_ENDING: Final = Handler("(end)", lambda: None, MessageKind.STOP)


def pending_waits(target: Target) -> Iterator[tuple[Envelope, Target]]:
    """Yield whom *target* waits for right now, by the message whose reply is not there yet."""
    for envelope, waited in list(target.waiting_for.items()):
        if envelope.reply is not None and not envelope.reply.done():
            yield envelope, waited


def wait_edges(target: Target) -> Iterator[tuple[Envelope, Target]]:
    """Yield those of them whose turns it waits for; as far as this node knows."""
    for envelope, waited in pending_waits(target):
        if not waited.runs_concurrently(envelope):
            yield envelope, waited


def _path_to(start: Target, uids: set[int]) -> tuple[list[str] | None, bool]:
    """Walk the edges of this node from *start*.

    Returns:
        The names on the way to one of *uids*, or None if it is not reached; and whether an edge led
        to another node, where the way may go on.
    """
    far = False
    seen: set[int] = set()
    left: list[tuple[Target, list[str]]] = [(start, [start.ref.name])]
    while left:
        target, way = left.pop()
        far = far or target.remote
        # An answer may be on its way from another node: only that node knows whether this is an edge.
        if target.ref.uid in uids and (target is start or not target.remote):
            return way, far
        if target.ref.uid not in seen:
            seen.add(target.ref.uid)
            left.extend((waited, [*way, waited.ref.name]) for _, waited in wait_edges(target))
    return None, far


@contextmanager
def waiting_for_ends(me: Asker, others: Sequence[Target], reply: Waiter) -> Iterator[None]:
    """Have *me* wait for the ends of *others*: what they ask of it, before or now, is refused.

    Args:
        me: it takes no more messages before they have ended.
        others: its children.
        reply: stays open as long as this lasts.
    """
    for other in others:
        for envelope, waited in pending_waits(other):
            if waited is me:
                me.withdraw(envelope)
                envelope.fail(
                    CallCycle(
                        me.ref, "it is ending, and waits for the asking actor", envelope.message
                    )
                )
    added = {Envelope(_ENDING, (), {}, reply): other for other in others}
    me.waiting_for.update(added)
    try:
        yield
    finally:
        for envelope in added:
            me.waiting_for.pop(envelope, None)


def cycle_text(who: str, names: Sequence[str]) -> str:
    """Say which cycle it is; one of a single actor needs no names."""
    text = f"{who} would wait for the asking actor itself"
    return text if len(names) <= 2 else f"{text}: {' -> '.join(names)}"  # noqa: PLR2004 - it and itself


def chain_of(turn: Turn) -> tuple[tuple[int, str], ...]:
    """Return who waits for what is asked in this turn, the asking actor last."""
    return (*turn.chain, *turn.own)[-LONGEST_CHAIN:] if turn.chain else turn.own


def refuse_cycle(ref: object, target: Target, envelope: Envelope, turn: Turn) -> bool:
    """Refuse a wait for *target* that would never end; return whether it goes on at other nodes.

    Raises:
        CallCycle: the asking actor, or one that waits for it, would have to take a turn first.
    """
    if not (turn.chain or target is turn.target or target.waiting_for):
        return target.remote
    chain = chain_of(turn)
    way, far = _path_to(target, {uid for uid, _ in chain})
    if way is None:
        return far
    raise CallCycle(ref, _names_of_cycle(chain, way), envelope.message)


def cycle_through(target: Target, chain: Sequence[Sequence[Any]]) -> CallCycle | None:
    """Return why a message that came by *chain* from another node would wait for itself."""
    way, _ = _path_to(target, {uid for uid, _ in chain})
    return None if way is None else CallCycle(target.ref, _names_of_cycle(chain, way))


def _names_of_cycle(chain: Sequence[Sequence[Any]], way: list[str]) -> str:
    names = [name for _, name in chain]
    return cycle_text("asking", [*names[names.index(way[-1]) :], *way])


def add_wait_edge(ref: object, target: Target, envelope: Envelope, turn: Turn) -> Asker | None:
    """Leave the edge of an ask, and give the message its chain; return whose edge it is.

    Raises:
        CallCycle: the wait would never end.
    """
    if not turn.exclusive and not turn.chain:
        return None
    far = refuse_cycle(ref, target, envelope, turn)
    # Within a node the edges say it all, but for what does not run in an actor's own turns.
    if turn.chain or target.remote or not envelope.handler.plain:
        envelope.hooks = MessageHeaders(chain_of(turn))
    if not turn.exclusive:
        return None
    me = turn.target
    me.waiting_for[envelope] = target
    if far:
        me.suspect_deadlock()
    return me


class _Room:
    """What a sender that waits for room waits for (as much of a `Waiter` as an edge has)."""

    __slots__ = ("_envelope", "_target")

    def __init__(self, target: Target, envelope: Envelope) -> None:
        self._target = target
        self._envelope = envelope

    def done(self) -> bool:
        """Whether it has its place, though it may not have seen that yet."""
        return not self._target.wait_queue.is_waiting(self._envelope)

    def set_exception(self, error: BaseException, /) -> None:
        """Turn the sender away."""
        self._target.wait_queue.refuse(self._envelope, error)


@contextmanager
def waiting_for_room(ref: object, target: Target, envelope: Envelope, turn: Turn) -> Iterator[None]:
    """Leave an edge as long as a told message waits for room.

    Raises:
        CallCycle: there would never be any.
    """
    far = refuse_cycle(ref, target, envelope, turn)
    me = turn.target
    room: Any = _Room(target, envelope)
    edge = Envelope(envelope.handler, envelope.args, envelope.kwargs, room)
    if turn.exclusive:
        me.waiting_for[edge] = target
        if far:
            me.suspect_deadlock()
    try:
        yield
    finally:
        me.waiting_for.pop(edge, None)


class StreamEdge:
    """The edge of a reader: there while it waits for an item, in the turn of an actor."""

    __slots__ = ("_envelope", "_ref", "_target", "_turn")

    def __init__(self, ref: object, target: Target, envelope: Envelope, turn: Turn) -> None:
        self._ref: Any = ref
        self._target = target
        self._envelope = envelope
        self._turn = turn

    def add(self) -> None:
        """Leave the edge.

        Raises:
            CallCycle: the item would never come.
        """
        far = refuse_cycle(self._ref, self._target, self._envelope, self._turn)
        if self._turn.exclusive:
            me = self._turn.target
            me.waiting_for[self._envelope] = self._target
            if far:
                me.suspect_deadlock()

    def remove(self) -> None:
        """Take it back."""
        self._turn.target.waiting_for.pop(self._envelope, None)


def stream_edge(ref: object, target: Target, envelope: Envelope, turn: Turn) -> StreamEdge | None:
    """Give the message that opens a stream its chain; return the edge its reader may leave."""
    chain = chain_of(turn)
    if not chain:
        return None
    envelope.hooks = MessageHeaders(chain)
    return StreamEdge(ref, target, envelope, turn)
