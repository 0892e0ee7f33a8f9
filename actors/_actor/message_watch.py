"""Watches the messages of one actor while it runs: who sent each that it handles, and how it went.

Rule 1: an actor that nobody watches pays nothing: its cell is of another class only while it is watched.
Rule 2: a watch costs bounded memory and no waiting: above its rate messages are counted, not reported.
"""

from __future__ import annotations

from collections import deque
from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from actors._actor.cell import Cell
from actors._base.readers import Readers
from actors._messaging.headers import MessageHeaders
from actors._messaging.mailbox import Envelope
from actors._messaging.message_table import Handler, MessageKind
from actors._messaging.turn import TURN

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop

__all__ = ["BEGINS", "MessageWatch", "Watched", "origin_of", "sender_of"]

Watched = tuple[str, str, float, str]
"""One message: its method, who sent it, how many seconds it took, and how it ended, or that it begins."""
BEGINS: Final = "begins"
_WATCHES: Final[dict[int, list[MessageWatch]]] = {}
_WRAPPED: Final = frozenset({MessageKind.CALL, MessageKind.CONCURRENT})


class MessageWatch:
    """The messages of one actor from now on, until `close`.

    Args:
        cell: of the actor.
        loop: of its node.
        rate: how many messages a second are reported, each when its handling begins and when it has ended;
            the others are counted.
    """

    def __init__(self, cell: Cell, loop: Loop, rate: int) -> None:
        self._cell = cell
        self._loop = loop
        self._rate = rate
        self._found: deque[Watched] = deque()
        self._second = 0.0
        self._count = self._dropped = 0
        self._readers = Readers(loop.waiter)
        watches = _WATCHES.setdefault(id(cell), [])
        watches.append(self)
        if len(watches) == 1:
            plain: Any = type(cell)
            cell.__class__ = _watched(plain)

    def close(self) -> None:
        """Stop watching; the actor is as before when nobody else watches it."""
        watches = _WATCHES.get(id(self._cell), [])
        if self in watches:
            watches.remove(self)
            if not watches:
                del _WATCHES[id(self._cell)]
                self._cell.__class__ = type(self._cell).__mro__[1]
                times = self._cell.host.times
                if times.on:
                    times.include(self._cell)

    def report(self, watched: Watched) -> bool:
        """Keep a message that begins, or count it if there are too many; return whether it was kept."""
        now = self._loop.now()
        if now - self._second >= 1:
            self._second, self._count = now, 0
        self._count += 1
        if self._count > self._rate or len(self._found) >= 2 * self._rate:
            self._dropped += 1
            return False
        self.add(watched)
        return True

    def add(self, watched: Watched) -> None:
        """Keep how a message ended whose beginning was kept."""
        self._found.append(watched)
        self._readers.wake()

    async def next(self) -> tuple[list[Watched], int]:
        """Return the messages since the last call, at least one, and how many there were beside them."""
        while not self._found:
            await self._readers.wait()
        found, self._found = list(self._found), deque()
        dropped, self._dropped = self._dropped, 0
        return found, dropped


@lru_cache(maxsize=16)
def _watched(base: Any) -> Any:
    """Return a class of cells that report what comes in, with the layout of *base*."""

    class WatchedCell(base):  # type: ignore[misc] # one of the classes of cells
        __slots__ = ()
        watched = True

        def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
            return bool(self.try_send(Envelope(handler, args, kwargs)))

        def try_send(self, envelope: Envelope) -> bool:
            return bool(super().try_send(_reporting(self, envelope)))

        async def send_when_room(self, envelope: Envelope) -> None:
            await super().send_when_room(_reporting(self, envelope))

        def wait_in_line(self, envelope: Envelope, refused: Any) -> Any:
            return super().wait_in_line(_reporting(self, envelope), refused)

        def send_past_bound(self, envelope: Envelope) -> None:
            super().send_past_bound(_reporting(self, envelope))

        def deliver(self, envelope: Envelope) -> None:
            super().deliver(_reporting(self, envelope))

    return WatchedCell


def origin_of(handler: Handler) -> tuple[str, float] | None:
    """Return who sent the message with this *handler*, and how many seconds ago; None if nobody watched."""
    found = _reports(handler)
    return None if found is None else found.origin


def _reports(handler: Handler) -> _Reporting | None:
    """Return what reports the message, if anything does; its time may be measured besides."""
    fn = getattr(handler.fn, "inner", handler.fn)
    return fn if isinstance(fn, _Reporting) else None


def _reporting(cell: Cell, envelope: Envelope) -> Envelope:
    """Have the handler of a message report it."""
    handler = envelope.handler
    if _reports(handler) is not None:
        return envelope  # it waited for room, or was deferred
    if handler.kind in _WRAPPED:
        wrapped = object.__new__(Handler)
        for name in Handler.__slots__:
            setattr(wrapped, name, getattr(handler, name))
        wrapped.fn = _Reporting(cell, handler, sender_of(envelope))
        envelope.handler = wrapped
    elif handler.kind in {MessageKind.STREAM, MessageKind.BATCH}:
        _report(cell, (handler.name, sender_of(envelope), 0.0, handler.kind.value))
    return envelope


def sender_of(envelope: Envelope) -> str:
    """Return who sent a message, as far as this node knows."""
    turn = TURN.get()
    if turn is not None:
        return str(turn.sender.ref.name)
    hooks, link = envelope.hooks, getattr(envelope.reply, "link", None)
    while hooks is not None:
        if isinstance(hooks, MessageHeaders) and hooks.chain:
            return str(hooks.chain[-1][1])
        link = link or getattr(hooks, "_link", None)
        hooks = getattr(hooks, "inner", None) or getattr(hooks, "_inner", None)
    if link is None:
        return "(no actor)"
    return f"(code on {link.peer.partition('~')[0]})"


def _report(cell: Cell, watched: Watched) -> list[MessageWatch]:
    """Report a message that begins; return the watches that have it."""
    return [watch for watch in _WATCHES.get(id(cell), ()) if watch.report(watched)]


class _Reporting:
    """What runs a handler and reports how it went."""

    def __init__(self, cell: Cell, handler: Handler, sender: str) -> None:
        self._cell = cell
        self._name = handler.name
        self._fn: Callable[..., Any] = handler.fn
        self._sender = sender
        self._sent = perf_counter()

    @property
    def origin(self) -> tuple[str, float]:
        """Who sent the message, and how many seconds ago."""
        return self._sender, perf_counter() - self._sent

    async def __call__(self, actor: Any, *args: Any, **kwargs: Any) -> Any:
        watches = _report(self._cell, (self._name, self._sender, 0.0, BEGINS))
        began = perf_counter()
        outcome = "done"
        try:
            return await self._fn(actor, *args, **kwargs)
        except Exception as error:
            outcome = f"raised {type(error).__name__}"
            raise
        except BaseException:
            outcome = "cancelled"
            raise
        finally:
            took = perf_counter() - began
            for watch in watches:
                watch.add((self._name, self._sender, took, outcome))
