"""Topics of one node: its own subscribers, and which other nodes have some.

Rule 1: values go straight to the nodes that have subscribers, over the same links as messages.
Rule 2: a link that is full loses values, and the next one that fits says how many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from actors._base.errors import NodeDown
from actors._remoting import protocol as wire
from actors.transport import TooBig, TransportError, Unsendable, snapshot, snapshot_for_many

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors._base.loop import Loop
    from actors._messaging.topic import Subscription
    from actors._remoting.link import Link

__all__ = ["TopicAuthority", "Topics", "TopicsHost"]


class TopicAuthority(Protocol):
    """Who tells the other nodes."""

    async def topic_join(self, name: str) -> None: ...
    def topic_leave(self, name: str) -> None: ...
    def event(self, kind: str, facts: dict[str, Any]) -> None: ...


class TopicPeer(Protocol):
    """Another node, as far as topics need it."""

    link: Link | None

    def connect(self, ref: Any, envelope: None) -> Link: ...


class TopicsHost(Protocol):
    """The runtime, as its topics see it."""

    loop: Loop

    @property
    def authority(self) -> TopicAuthority: ...
    def peer(self, name: str) -> TopicPeer: ...


class Topics:
    """The `TopicHome` of one node."""

    def __init__(self, node: TopicsHost) -> None:
        self.loop = node.loop
        self._node = node
        self._here: dict[str, list[Subscription]] = {}
        # By topic: the nodes that have subscribers, and how many values each has lost since its last.
        self._away: dict[str, dict[str, int]] = {}

    # -- what subscribers and publishers here do -----------------------------------------------

    async def join(self, name: str, subscription: Subscription) -> None:
        """Add a subscriber; when this returns, every ready node knows."""
        here = self._here.setdefault(name, [])
        here.append(subscription)
        # Each asks: the first one's question may still be under way.
        await self._node.authority.topic_join(name)

    def leave(self, name: str, subscription: Subscription) -> None:
        """Remove a subscriber."""
        here = self._here.get(name, [])
        if subscription in here:
            here.remove(subscription)
            if not here:
                del self._here[name]
                self._node.authority.topic_leave(name)

    def publish(self, name: str, value: Any) -> None:
        """Send *value* to every subscriber.

        Raises:
            Unsendable: nobody got it.
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
        peer = self._node.peer(node)
        try:
            link = peer.link or peer.connect(node, None)
            if link.congested:
                away[node] += 1
                return
            packed = link.encoder.encode_value(value)
            link.ship([wire.PUBLISH, name, away[node], packed])
        except (Unsendable, TooBig):
            raise
        except (NodeDown, TransportError):
            away[node] += 1  # it is going down: its interest goes with it in a moment
        else:
            away[node] = 0

    # -- what other nodes say --------------------------------------------------------------------

    def deliver(self, name: str, missed: int, value: Any) -> None:
        """Take a value that another node published."""
        here = self._here.get(name, ())
        for subscription in list(here):
            if missed:
                subscription.miss(missed)
            subscription.put(value if len(here) == 1 else snapshot(value))

    def lose(self, name: str, missed: int, error: Exception) -> None:
        """Take note of a value that this node cannot read."""
        self._node.authority.event("topic_unreadable", {"topic": name, "error": str(error)})
        for subscription in self._here.get(name, ()):
            subscription.miss(missed)

    def interest(self, name: str, node: str, *, wanted: bool) -> None:
        """Another node has subscribers now, or has none any more."""
        if wanted:
            self._away.setdefault(name, {}).setdefault(node, 0)
        elif name in self._away:
            self._away[name].pop(node, None)
            if not self._away[name]:
                del self._away[name]

    def interests(self, wanted: Iterable[tuple[str, str]]) -> None:
        """What other nodes wanted before this one began."""
        for name, node in wanted:
            self.interest(name, node, wanted=True)

    def forget(self, node: str) -> None:
        """A node is gone, and with it its subscribers."""
        for name in list(self._away):
            self.interest(name, node, wanted=False)
