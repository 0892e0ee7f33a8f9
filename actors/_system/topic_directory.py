"""Which nodes have subscribers to which topics: kept in the parent, sent to every node.

Rule: a subscription is confirmed when every ready node knows of it, or after a second; a node that
does not answer in time still gets the message when it reads again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from anyio import create_task_group, move_on_after

from actors._base.errors import ActorsError
from actors._remoting import operations as ops
from actors._remoting.last_value import LastValues
from actors.nodes import NodeState

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.nodes import ActorHost, Link, RemoteRun

__all__ = ["TopicDirectory"]

_ANSWER: Final = 1.0
"""Seconds that a node has to answer."""


class TopicDirectory:
    """Every subscription of the system, by topic and node, or client.

    Args:
        host: of this process.
        runs: of the nodes.
        tell_clients: tells all clients of a topic and a node, and whether that has subscribers; nobody waits
            for a client.

    Attributes:
        values: the last value of each topic that keeps one.
    """

    def __init__(
        self,
        host: ActorHost,
        runs: dict[str, RemoteRun],
        tell_clients: Callable[[str, str, bool], None],
    ) -> None:
        self._host = host
        self._runs = runs
        self._tell_clients = tell_clients
        self._subscribed: dict[str, set[str]] = {}
        self.values: LastValues = LastValues()
        handlers = host.handlers
        handlers.on_note(
            ops.keep_topic_value, lambda _, topic, value: self.values.keep(topic, value)
        )
        handlers.on_call(ops.last_topic_value, lambda _, topic: self._last(topic))
        handlers.on_call(ops.subscribe_topic, lambda link, topic: self.join(topic, link.peer))
        handlers.on_note(ops.unsubscribe_topic, lambda link, topic: self.leave(topic, link.peer))

    async def _last(self, topic: str) -> list[bytes]:
        return self.values.last(topic)

    def table(self) -> list[tuple[str, str]]:
        """Return pairs of a topic and a node, for a node that boots."""
        return [(name, node) for name, nodes in self._subscribed.items() for node in sorted(nodes)]

    async def join(self, name: str, node: str) -> None:
        """Note that *node* has subscribers to topic *name*, and tell the other nodes."""
        self._subscribed.setdefault(name, set()).add(node)
        host = self._host
        if node != host.name:
            host.topics.interest(name, node, wanted=True)
        self._tell_clients(name, node, True)
        with move_on_after(_ANSWER):
            async with create_task_group() as tasks:
                for other, link in self._others(node):
                    if other.state is NodeState.READY:
                        tasks.start_soon(self._tell, link, name, node)
                    else:
                        link.note(ops.topic_interest, name, node, True)

    async def _tell(self, link: Link, name: str, node: str) -> None:
        with suppress(ActorsError):  # it has just ended
            await link.call(ops.topic_joined, name, node)

    def leave(self, name: str, node: str) -> None:
        """Note that *node* has no subscribers to topic *name* any more, and tell the other nodes."""
        self._subscribed.get(name, set()).discard(node)
        if not self._subscribed.get(name):
            self._subscribed.pop(name, None)
        host = self._host
        if node != host.name:
            host.topics.interest(name, node, wanted=False)
        self._tell_clients(name, node, False)
        for _, link in self._others(node):
            link.note(ops.topic_interest, name, node, False)

    def forget(self, node: str) -> None:
        """Drop the subscriptions of a node that has ended; `node_down` tells the other nodes."""
        for name in list(self._subscribed):
            self._subscribed[name].discard(node)
            if not self._subscribed[name]:
                del self._subscribed[name]

    def _others(self, node: str) -> list[tuple[RemoteRun, Link]]:
        return [
            (run, run.link)
            for run in self._runs.values()
            if run.address != node and run.link is not None
        ]
