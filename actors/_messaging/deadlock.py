"""Deadlock detection: the wait-for graph of the actors of this node, and the refusal of cycles in it.

Rule 1: only an exclusive turn adds an edge: no other message of an actor waits for a concurrent handler.
Rule 2: an edge ends when the reply is there, even if the asker has not run since.
Rule 3: a message that would close a cycle over actors of this node, or over the call chain it came by, is
refused before it is sent; edges to other nodes are followed by the node's deadlock probe.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from anyio import CancelScope

from actors._base.errors import CallCycle
from actors._base.waited_start import start_waits_for
from actors._messaging.headers import LONGEST_CHAIN, MessageHeaders
from actors._messaging.mailbox import Envelope
from actors._messaging.message_table import Handler, MessageKind
from actors._messaging.turn import TURN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from actors._base.loop import Waiter
    from actors._messaging.turn import Asker, Target, Turn

__all__ = [
    "StartingActor",
    "StreamEdge",
    "add_wait_edge",
    "all_waiting",
    "cycle_text",
    "cycle_through",
    "pending_waits",
    "stream_edge",
    "wait_edges",
    "waiting_chain",
    "waiting_for_end",
    "waiting_for_ends",
    "waiting_for_room",
    "waiting_for_start",
]


_ENDING: Final = Handler("(end)", lambda: None, MessageKind.STOP)
_STARTING: Final = Handler("(start)", lambda: None, MessageKind.STOP)


def pending_waits(target: Target) -> Iterator[tuple[Envelope, Target]]:
    """Yield the messages whose replies *target* awaits, each with the actor it was sent to."""
    for envelope, waited in list(target.waiting_for.items()):
        if envelope.reply is not None and not envelope.reply.done():
            yield envelope, waited


def wait_edges(target: Target) -> Iterator[tuple[Envelope, Target]]:
    """Yield the pending waits that are edges: not those handled concurrently, as far as this node knows."""
    for envelope, waited in pending_waits(target):
        if not waited.runs_concurrently(envelope):
            yield envelope, waited


def _path_to(start: Target, uids: set[int]) -> tuple[list[str] | None, bool]:
    """Search the edges of this node from *start* for a path to one of *uids*.

    Returns:
        The names on the path, or None if there is none; and whether an edge leads to another node,
        where the path may go on.
    """
    far = False
    seen: set[int] = set()
    todo: list[tuple[Target, list[str]]] = [(start, [start.ref.name])]
    while todo:
        target, way = todo.pop()
        far = far or target.remote
        # The reply may be on its way from another node: only that node knows whether this is an edge.
        if target.ref.uid in uids and (target is start or not target.remote):
            return way, far
        if target.ref.uid not in seen:
            seen.add(target.ref.uid)
            todo.extend((waited, [*way, waited.ref.name]) for _, waited in wait_edges(target))
    return None, far


@contextmanager
def waiting_for_ends(
    me: Asker, others: Sequence[Target], reply: Waiter, why: str = "it is ending"
) -> Iterator[None]:
    """Add edges from *me* to *others*, whose ends it awaits; refuse what they ask of it, before or meanwhile.

    Args:
        me: an actor that takes no messages until *others* have ended.
        others: its children, if it ends, or whom it waits for.
        reply: a waiter that is not resolved inside the block.
        why: it takes none.
    """
    for other in others:
        for envelope, waited in pending_waits(other):
            if waited is me:
                me.withdraw(envelope)
                envelope.fail(
                    CallCycle(me.ref, f"{why}, and waits for the asking actor", envelope.message)
                )
    added = {Envelope(_ENDING, (), {}, reply): other for other in others}
    me.waiting_for.update(added)
    try:
        yield
    finally:
        for envelope in added:
            me.waiting_for.pop(envelope, None)


@contextmanager
def waiting_for_end(ref: Any, target: Target, reply: Waiter, turn: Turn) -> Iterator[None]:
    """Let a handler wait for the end of *ref*, unless that cannot come before the handler is done.

    Raises:
        CallCycle: it waits for its own end, or for that of an actor which awaits its reply.
    """
    if any(uid == ref.uid for uid, _ in chain_of(turn)):
        raise CallCycle(ref, "it cannot end before this handler is done, which would wait for that")
    if not turn.exclusive:
        yield
        return
    with waiting_for_ends(turn.target, [target], reply, "it is handling a message"):
        yield


class _Name:
    """Stands for the address of an actor of which only the name is known."""

    uid: Final = -1

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"actor {self.name!r}"


class StartingActor:
    """Who is waited for by its name until it has started: the actor itself, where it is of this node.

    Args:
        name: its name.
        find: returns the actor that starts with this name, if it is of this node.
    """

    def __init__(self, name: str, find: Callable[[], Target | None]) -> None:
        self.name = name
        self._find = find

    @property
    def ref(self) -> Any:
        """Its address, or what stands for that."""
        found = self._find()
        return _Name(self.name) if found is None else found.ref

    @property
    def remote(self) -> bool:
        """Whether it starts on another node, as far as this one knows."""
        return self._find() is None

    @property
    def waiting_for(self) -> Any:
        """What it waits for while it starts."""
        found = self._find()
        return {} if found is None else found.waiting_for

    def runs_concurrently(self, _envelope: Envelope) -> bool:
        """It starts once, and nothing beside it."""
        return False

    def withdraw(self, _envelope: Envelope) -> None:
        """Take nothing back: no message was sent."""


class _Refusal:
    """The reply of an edge to an actor that starts: whoever waits in *scope* is refused by it."""

    def __init__(self, scope: CancelScope) -> None:
        self._scope = scope
        self.error: BaseException | None = None

    def done(self) -> bool:
        """Whether it was refused."""
        return self.error is not None

    def set_exception(self, error: BaseException, /) -> None:
        """Refuse it."""
        self.error = error
        self._scope.cancel()


@contextmanager
def waiting_for_start(name: str, find: Callable[[], Target | None]) -> Iterator[None]:
    """Add an edge while a handler waits for the actor called *name*, if that is starting.

    Raises:
        CallCycle: that start waits for this handler, directly or through others.
    """
    turn = TURN.get()
    if turn is None or not turn.exclusive:
        yield
        return
    me, starting = turn.target, StartingActor(name, find)
    with CancelScope() as scope:
        refusal: Any = _Refusal(scope)
        edge = Envelope(_STARTING, (), {}, refusal)
        target: Any = starting
        chain = chain_of(turn)
        way, _ = _path_to(target, {uid for uid, _ in chain})
        if way is not None:
            cycle = _names_of_cycle(chain, way, "finding it by its name")
            raise CallCycle(f"actor {name!r}", cycle)
        me.waiting_for[edge] = target
        me.suspect_deadlock()
        try:
            yield
        finally:
            me.waiting_for.pop(edge, None)
    if refusal.error is not None:
        raise refusal.error


def cycle_text(who: str, names: Sequence[str]) -> str:
    """Describe a cycle; one of a single actor needs no names."""
    text = f"{who} would wait for the asking actor itself"
    return text if len(names) <= 2 else f"{text}: {' -> '.join(names)}"  # noqa: PLR2004 - it and itself


def chain_of(turn: Turn) -> tuple[tuple[int, str], ...]:
    """Return the call chain of a message sent in this turn, the asking actor last."""
    return (*turn.chain, *turn.as_chain)[-LONGEST_CHAIN:] if turn.chain else turn.as_chain


def waiting_chain() -> tuple[tuple[int, str], ...]:
    """Return the actors that wait for what this code is about to do, a number and a name each.

    One with a number below 0 is no actor, but one of several functions that a pool's worker runs. One with the
    number 0 is what the start of a node waits for: a lifespan, a hook.
    """
    turn = TURN.get()
    if turn is not None:
        return chain_of(turn)
    what = start_waits_for()
    return ((0, what),) if what else ()


def all_waiting(cells: Iterable[Target]) -> tuple[tuple[int, str], ...]:
    """Return the actors that wait for what this code is about to do, with those of this node who wait for them.

    Args:
        cells: the actors of this node.
    """
    chain = waiting_chain()
    if not chain:
        return ()
    askers: dict[int, list[Any]] = {}
    for cell in cells:
        for _, waited in pending_waits(cell):
            askers.setdefault(waited.ref.uid, []).append(cell.ref)
    found = dict(chain)
    todo = list(found)
    while todo:
        for ref in askers.get(todo.pop(), ()):
            if ref.uid not in found:
                found[ref.uid] = ref.name
                todo.append(ref.uid)
    others = [(uid, name) for uid, name in found.items() if uid not in dict(chain)]
    return (*others, *chain)


def refuse_cycle(ref: object, target: Target, envelope: Envelope, turn: Turn) -> bool:
    """Refuse to wait for *target* if that closes a cycle; return whether one may close at other nodes.

    Raises:
        CallCycle: *target* waits for the asking actor, or for one that waits for the asking actor.
    """
    if not (turn.chain or target is turn.target or target.waiting_for):
        return target.remote
    chain = chain_of(turn)
    way, far = _path_to(target, {uid for uid, _ in chain})
    if way is None:
        return far
    raise CallCycle(ref, _names_of_cycle(chain, way), envelope.message)


def cycle_through(target: Target, chain: Sequence[Sequence[Any]]) -> CallCycle | None:
    """Return the error of a message from another node that *target* could only handle after its own asker."""
    way, _ = _path_to(target, {uid for uid, _ in chain})
    return None if way is None else CallCycle(target.ref, _names_of_cycle(chain, way))


def _names_of_cycle(chain: Sequence[Sequence[Any]], way: list[str], what: str = "asking") -> str:
    names = [name for _, name in chain]
    return cycle_text(what, [*names[names.index(way[-1]) :], *way])


def add_wait_edge(ref: object, target: Target, envelope: Envelope, turn: Turn) -> Asker | None:
    """Add the edge of an ask, and the chain to its message; return the actor whose edge it is.

    Raises:
        CallCycle: the edge would close a cycle.
    """
    if not turn.exclusive and not turn.chain:
        return None
    far = refuse_cycle(ref, target, envelope, turn)
    # Within a node the edges suffice, except for handlers that add none.
    if turn.chain or turn.starting or target.remote or not envelope.handler.plain:
        envelope.hooks = MessageHeaders(chain_of(turn))
    if not turn.exclusive:
        return None
    me = turn.target
    me.waiting_for[envelope] = target
    if far:
        me.suspect_deadlock()
    return me


class _Room:
    """The reply of an edge of a sender that waits for room: resolved when its message has a place."""

    __slots__ = ("_envelope", "_target")

    def __init__(self, target: Target, envelope: Envelope) -> None:
        self._target = target
        self._envelope = envelope

    def done(self) -> bool:
        """Whether it has its place, even if the sender has not run since."""
        return not self._target.wait_queue.is_waiting(self._envelope)

    def set_exception(self, error: BaseException, /) -> None:
        """Refuse the sender."""
        self._target.wait_queue.refuse(self._envelope, error)


@contextmanager
def waiting_for_room(ref: object, target: Target, envelope: Envelope, turn: Turn) -> Iterator[None]:
    """Add an edge while a told message waits for room.

    Raises:
        CallCycle: the edge would close a cycle, so there would never be room.
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
    """The edge of an actor that reads a stream: added while it waits for an item."""

    __slots__ = ("_envelope", "_ref", "_target", "_turn")

    def __init__(self, ref: object, target: Target, envelope: Envelope, turn: Turn) -> None:
        self._ref: Any = ref
        self._target = target
        self._envelope = envelope
        self._turn = turn

    def add(self) -> None:
        """Add the edge.

        Raises:
            CallCycle: it would close a cycle, so the item would never come.
        """
        far = refuse_cycle(self._ref, self._target, self._envelope, self._turn)
        if self._turn.exclusive:
            me = self._turn.target
            me.waiting_for[self._envelope] = self._target
            if far:
                me.suspect_deadlock()

    def remove(self) -> None:
        """Remove the edge."""
        self._turn.target.waiting_for.pop(self._envelope, None)


def stream_edge(ref: object, target: Target, envelope: Envelope, turn: Turn) -> StreamEdge | None:
    """Add the chain to the message that opens a stream; return the edge of its reader, if it has one."""
    chain = chain_of(turn)
    if not chain:
        return None
    envelope.hooks = MessageHeaders(chain)
    return StreamEdge(ref, target, envelope, turn)
