"""A client manager for python-socketio: rooms across the nodes of a system, without a Redis beside it.

Every node that serves the application makes a server of its own, with this manager::

    import socketio
    from actors.socketio import TopicManager

    sio = socketio.AsyncServer(async_mode="asgi", client_manager=TopicManager())
    sio.eio.generate_id = actors.sticky_id
    app = socketio.ASGIApp(sio)

An event for a room goes to its members on all nodes. An actor, on whichever node, sends one by
``await TopicManager(write_only=True).emit("price", 12, room="gold")``.

Rule: what servers say to each other is a topic, so nobody waits for a slow node; what that one lost is logged.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, Final

from socketio.async_pubsub_manager import AsyncPubSubManager

from actors._base.errors import ActorsError
from actors._messaging.topic import Lagged
from actors._system.system import current

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actors._messaging.topic import Topic

__all__ = ["TopicManager"]

_PATIENCE: Final = 5.0
"""Seconds for which a client waits until the other nodes know this one."""
_AGAIN: Final = 1.0


class TopicManager(AsyncPubSubManager):
    """Shares the clients and rooms of the servers of all nodes.

    Args:
        channel: the topic of this application; servers with the same one belong together.
        write_only: True for a manager without a server, which only sends events.
        buffer: events of other nodes that may wait for this one; then it loses some.
        logger: as in python-socketio.
        json: as in python-socketio.

    Raises:
        NoSystem: at the first client or event: this process has no system.
    """

    name = "actors"

    def __init__(
        self,
        channel: str = "socketio",
        *,
        write_only: bool = False,
        buffer: int = 4096,
        logger: Any = None,
        json: Any = None,
    ) -> None:
        super().__init__(channel=channel, write_only=write_only, logger=logger, json=json)
        self._buffer = buffer
        self._known = asyncio.Event()
        """Set when the other nodes know that this one has clients."""

    def initialize(self) -> None:
        """Begin to listen to the other nodes, before the first client is let in."""
        current()
        self.host_id: str = uuid.uuid4().hex  # a process that was forked has one of its own
        super().initialize()

    async def connect(self, eio_sid: str, namespace: str) -> Any:
        """Let a client in once no event for it can be missed."""
        if not self._known.is_set():
            async with asyncio.timeout(_PATIENCE):
                await self._known.wait()
        return await super().connect(eio_sid, namespace)

    def _topic(self) -> Topic:
        return current().topic(f"socketio/{self.channel}")

    async def _publish(self, data: dict[str, Any]) -> None:
        self._topic().publish(data)

    async def _listen(self) -> AsyncIterator[dict[str, Any]]:
        try:
            async with self._topic().subscribe(buffer=self._buffer) as values:
                self._known.set()
                async for value in values:
                    if isinstance(value, Lagged):
                        self._get_logger().error("%d events of other nodes were lost", value.missed)
                    else:
                        yield value
        except ActorsError:
            await asyncio.sleep(_AGAIN)  # the library calls this again, without a pause of its own
            raise
