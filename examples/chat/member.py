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
    """Takes what the room says and waits until the socket has room for it.

    While it waits, its mailbox fills; when that is full the room's messages to it wait too. So a
    slow client, or a node that stands still, holds up nobody but itself.
    """

    def __init__(self, room: str, outbox: ObjectSendStream[list[dict[str, Any]]]) -> None:
        self._room = room
        self._outbox = outbox

    async def welcome(self, you: str, people: list[str], seq: int) -> None:
        """Be let in: the room's first message, before anything else."""
        await self._down(protocol.welcome(self.context.node, self._room, you, people, seq))

    async def said(self, batch: list[Said | Hidden]) -> None:
        """Hear what was said, in order."""
        await self._down(*map(protocol.said, batch))

    async def people(self, people: list[str]) -> None:
        """Hear who is here now."""
        await self._down(protocol.people(people))

    async def refused(self, why: str, id: str | None) -> None:  # noqa: A002 - the protocol's word
        """Hear that something this member said was not taken."""
        await self._down(protocol.error(why, id))

    async def _down(self, *messages: dict[str, Any]) -> None:
        # The socket may be gone already; this member is ended when the room has heard of that.
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._outbox.send(list(messages))
