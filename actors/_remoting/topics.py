"""Topics of one node: its own subscribers, and which other nodes have some.

Rule 1: values go directly to the nodes that have subscribers, over the same links as messages.
Rule 2: a congested link loses values; how many is said as soon as it has room, with the next value or alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._base.errors import NodeDown
from actors._remoting import protocol as wire
from actors.transport import TooBig, TransportError, Unsendable, snapshot, snapshot_for_many

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors._base.loop import Loop
    from actors._messaging.topic import Subscriber
    from actors._remoting.peer import PeerHost

__all__ = ["Topics"]


class Topics:
    """The `TopicCarrier` of one node."""

    def __init__(self, host: PeerHost) -> None:
        self.loop: Loop = host.loop
        self._host = host
        # By topic, in the order in which they came.
        self._here: dict[str, dict[Subscriber, None]] = {}
        # By topic: the nodes with subscribers, and how many values were lost since the last that fitted.
        self._away: dict[str, dict[str, int]] = {}

    # -- for subscribers and publishers of this node -------------------------------------------

    async def join(self, name: str, subscription: Subscriber) -> None:
        """Add a subscriber; when this returns, every ready node knows."""
        self._here.setdefault(name, {})[subscription] = None
        # Every subscriber calls: the call of the first may still be unanswered.
        await self._host.services.topic_join(name)

    def leave(self, name: str, subscription: Subscriber) -> None:
        """Remove a subscriber."""
        here = self._here.get(name, {})
        if subscription in here:
            del here[subscription]
            if not here:
                del self._here[name]
                self._host.services.topic_leave(name)

    def keep(self, name: str, value: Any) -> None:
        """Keep *value* for those who subscribe later.

        Raises:
            NotSendable, MessageTooBig: it cannot be kept.
        """
        self._host.services.topic_keep(name, value)

    async def last(self, name: str) -> tuple[Any, ...]:
        """Return the last value that was kept, or nothing."""
        return await self._host.services.topic_last(name)

    def publish(self, name: str, value: Any) -> None:
        """Send *value* to every subscriber.

        Raises:
            Unsendable: it cannot be copied; nobody got it.
        """
        here = self._here.get(name, ())
        away = self._away.get(name)
        kept = snapshot_for_many(value)
        if away:
            for node in list(away):
                self._forward(name, node, away, value)
        for subscription in list(here):
            subscription.put(kept if len(here) == 1 else snapshot(kept))

    def _forward(self, name: str, node: str, away: dict[str, int], value: Any) -> None:
        peer = self._host.peer(node)
        try:
            link = peer.link or peer.connect(node, None)
            if link.out.congested:
                away[node] += 1
                return
            packed = link.encoder.encode_value(value)
            link.write_encoded([wire.PUBLISH, name, away[node], packed])
        except TooBig as error:
            error.why = self._host.memory.describe()
            raise
        except Unsendable:
            raise
        except (NodeDown, TransportError):
            away[node] += 1  # it is going down, and is removed from here when that is known
        else:
            away[node] = 0

    def link_has_room(self, node: str) -> None:
        """Tell the subscribers on *node* how many values were dropped because the link was congested."""
        link = self._host.peer(node).link
        for name, away in self._away.items():
            missed = away.get(node, 0)
            if link is None or link.out.congested or link.full_for(name):
                continue
            if missed:
                link.send([wire.PUBLISH, name, missed])
                away[node] = 0

    # -- for other nodes ---------------------------------------------------------------------------

    def deliver(self, name: str, missed: int, value: Any) -> None:
        """Give a value that another node published to the subscribers here."""
        here = self._here.get(name, ())
        if missed:
            self.miss(name, missed)
        for subscription in list(here):
            subscription.put(value if len(here) == 1 else snapshot(value))

    def lose(self, name: str, missed: int, error: Exception) -> None:
        """Report a value that this node cannot decode, and count it as missed."""
        self._host.services.event("topic_unreadable", {"topic": name, "error": str(error)})
        self.miss(name, missed)

    def miss(self, name: str, missed: int) -> None:
        """Count *missed* values as lost by the subscribers here."""
        for subscription in list(self._here.get(name, ())):
            subscription.miss(missed)

    def interest(self, name: str, node: str, *, wanted: bool) -> None:
        """Record whether another node has subscribers."""
        if wanted:
            self._away.setdefault(name, {}).setdefault(node, 0)
        elif name in self._away:
            self._away[name].pop(node, None)
            if not self._away[name]:
                del self._away[name]

    def interests(self, wanted: Iterable[tuple[str, str]]) -> None:
        """Note which nodes had subscribers before this one started."""
        for name, node in wanted:
            self.interest(name, node, wanted=True)

    def forget(self, node: str) -> None:
        """Forget the subscribers of a node that has ended."""
        for name in list(self._away):
            self.interest(name, node, wanted=False)
