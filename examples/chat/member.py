"""A member: somebody's WebSocket as an actor, on the node that holds the socket."""

from contextlib import suppress
from typing import Any

import anyio
from anyio.abc import ObjectSendStream

import actors

from . import _protocol as protocol
from ._store import Hidden, Said

__all__ = ["Member"]


class Member(actors.Actor):
    """Receives messages of the room, and passes each on when the socket can take it.

    Meanwhile its mailbox fills; when that is full, the room's task for this member waits too. A slow
    client or a stopped node therefore delays no other member.
    """

    def __init__(self, room: str, outbox: ObjectSendStream[list[dict[str, Any]]]) -> None:
        self._room = room
        self._outbox = outbox

    async def welcome(self, you: str, people: list[str], seq: int) -> None:
        """Receive the first message of the room."""
        await self._send(protocol.welcome(self.context.node, self._room, you, people, seq))

    async def said(self, batch: list[Said | Hidden]) -> None:
        """Receive messages, in order."""
        await self._send(*map(protocol.said, batch))

    async def people(self, people: list[str]) -> None:
        """Receive the names of all who are here."""
        await self._send(protocol.people(people))

    async def refused(self, why: str, id: str | None) -> None:  # noqa: A002 - the protocol's word
        """Receive an error about a message of this member."""
        await self._send(protocol.error(why, id))

    async def _send(self, *messages: dict[str, Any]) -> None:
        # The socket may be closed already; then the session is about to stop this member.
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._outbox.send(list(messages))
