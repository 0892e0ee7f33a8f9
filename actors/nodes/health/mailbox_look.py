"""What waits in the mailboxes that somebody looks at: methods, ages and senders, never values.

Rule: a message carries neither its age nor its sender. Those that come while somebody looks are noted with
both, so the messages that were there before are shown without.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from actors._actor.message_watch import MessageWatch, origin_of
from actors._messaging.mailbox import Envelope
from actors.nodes.health.sampling import actor_facts
from actors.nodes.health.stats import handler_stats

if TYPE_CHECKING:
    from actors._actor.cell import Cell
    from actors._base.loop import Timer
    from actors._remoting.actor_host import ActorHost

__all__ = ["MailboxLooks"]

_LASTS: Final = 10.0
"""Seconds after a look for which the messages of the actor are noted."""
_MOST: Final = 16
"""Actors whose messages are noted at a time."""


class MailboxLooks:
    """The looks at the actors of one node."""

    def __init__(self, host: ActorHost) -> None:
        self._host = host
        self._watches: dict[int, tuple[MessageWatch, Timer]] = {}

    def look(self, name: str, most: int) -> dict[str, Any] | None:
        """Return what an actor of this node has queued, and the times of the handlers of its class here.

        None if there is no actor of that name.

        Args:
            name: of the actor.
            most: how many of the oldest messages are listed; all are counted.
        """
        cells = self._host.cells
        cell = next((cell for cell in cells.values() if cell.ref.name == name), None)
        if cell is None:
            return None
        self._watch(cell)
        path = cell.ref.cls_path
        handlers = [Envelope.of(item).handler for item in cell.mailbox.queue]
        return {
            **actor_facts(self._host, cell),
            "queued": len(cell.mailbox),
            "queued_bytes": cell.mailbox.bytes,
            "by_method": dict(Counter(handler.name for handler in handlers)),
            "oldest": [_shown(handler) for handler in islice(handlers, most)],
            "handlers": handler_stats(row for row in self._host.times.raw() if row[0] == path),
        }

    def _watch(self, cell: Cell) -> None:
        """Have the messages of *cell* noted for a while; those of the actor looked at longest ago no more."""
        uid = cell.ref.uid
        watch = self._forget(uid)
        if watch is None:
            if len(self._watches) >= _MOST:
                self._end(next(iter(self._watches)))
            watch = MessageWatch(cell, self._host.loop, 1)
        self._watches[uid] = watch, self._host.loop.call_later(_LASTS, self._end, uid)

    def _forget(self, uid: int) -> MessageWatch | None:
        watch, timer = self._watches.pop(uid, (None, None))
        if timer is not None:
            timer.cancel()
        return watch

    def _end(self, uid: int) -> None:
        watch = self._forget(uid)
        if watch is not None:
            watch.close()


def _shown(handler: Any) -> dict[str, Any]:
    sender, age = origin_of(handler) or (None, None)
    return {
        "method": handler.name,
        "from": sender,
        "age": None if age is None else round(age, 3),
    }
