"""A session: one WebSocket in one room, from its welcome to its end."""

from contextlib import suppress
from typing import Any, Final

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

import actors
from actors.errors import LimitReached, StartFailed, SystemStopped

from . import _protocol as protocol
from ._rate_limiter import RateLimiter
from ._settings import messages_per_second
from .member import Member
from .room import Full, Room

__all__ = ["CLOSE_TIMEOUT", "Session"]

CLOSE_TIMEOUT: Final = 2.0
"""Seconds to close the WebSocket, and to leave the room."""

_ROOM_LOST: Final = (
    Full,
    LimitReached,
    actors.ActorCrashed,
    actors.ActorStopped,
    actors.NodeDown,
    StartFailed,
    SystemStopped,
)
_BURST: Final = 20
"""Messages that are accepted at once; `CHAT_PACE` limits the following."""
_TYPING_INTERVAL: Final = 1.0
"""Seconds between two `typing` messages that are passed on."""


class Session:
    """Connects one WebSocket with a room: sends what the room says, and passes on what the client says."""

    def __init__(
        self, socket: WebSocket, join: protocol.Join, rooms: actors.Keyed[str, Room]
    ) -> None:
        self._socket = socket
        self._join = join
        self._room = rooms[join.room]
        self._welcomed = anyio.Event()
        self._lost: Exception | None = None
        self._tasks = anyio.create_task_group()
        # Typing notices may be lost: they go through a topic, and not through the room.
        self._typing = actors.current().topic(f"typing:{join.room}")
        self._last_typing = float("-inf")

    async def run(self) -> Exception | None:
        """Run until the client leaves; return the error if the room has ended instead."""
        system = actors.current()
        outbox, inbox = anyio.create_memory_object_stream[list[dict[str, Any]]](0)
        self._member = await system.spawn(
            Member,
            self._join.room,
            actors.local(outbox),
            on=system.node,
            restart=actors.Restart.TEMPORARY,
            mailbox=4,
        )
        try:
            async with outbox, inbox, self._tasks:
                self._tasks.start_soon(self._attend)
                self._tasks.start_soon(self._send_all, inbox)
                self._tasks.start_soon(self._receive_all)
                self._tasks.start_soon(self._send_typing, outbox)
        finally:
            with anyio.CancelScope(shield=True):
                await self._leave()
        return self._lost

    async def _attend(self) -> None:
        """Attend the room: an ask that ends with the room, or when it is cancelled."""
        try:
            await self._room.ask(Room.attend, self._member, self._join.name, self._join.after)
        except _ROOM_LOST as error:
            self._end(error)

    async def _send_all(self, inbox: ObjectReceiveStream[list[dict[str, Any]]]) -> None:
        try:
            async for messages in inbox:
                for message in messages:
                    await self._socket.send_json(message)
                self._welcomed.set()
        except (WebSocketDisconnect, RuntimeError):
            self._end()

    async def _receive_all(self) -> None:
        # A client that sends too much is slowed down: its messages wait in the socket until they are read here.
        limiter = RateLimiter(messages_per_second(), _BURST)
        await self._welcomed.wait()
        try:
            while True:
                await self._handle(await self._socket.receive())
                if wait := limiter.take(anyio.current_time()):
                    await anyio.sleep(wait)
        except WebSocketDisconnect:
            self._end()
        except _ROOM_LOST as error:
            self._end(error)

    async def _handle(self, message: Message) -> None:
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"])
        text = message.get("text")
        try:
            said = protocol.said_of(message["bytes"] if text is None else text)
        except protocol.Refused as refused:
            await self._member.tell(Member.refused, str(refused), refused.id)
            return
        if isinstance(said, protocol.Say):
            await self._room.tell(Room.say, self._member, said.id, said.text, said.to)
        elif (now := anyio.current_time()) >= self._last_typing + _TYPING_INTERVAL:
            self._last_typing = now
            self._typing.publish(self._join.name)

    async def _send_typing(self, outbox: ObjectSendStream[list[dict[str, Any]]]) -> None:
        await self._welcomed.wait()
        try:
            async with self._typing.subscribe(buffer=8) as names:
                async for name in names:
                    # A slow reader gets a `Lagged` instead of the names that it has missed.
                    if isinstance(name, str) and name != self._join.name:
                        await outbox.send([protocol.typing(name)])
        except _ROOM_LOST as error:
            self._end(error)

    def _end(self, lost: Exception | None = None) -> None:
        self._lost = self._lost or lost
        self._tasks.cancel_scope.cancel()

    async def _leave(self) -> None:
        """End the member, after the room has handled the end of `attend`."""
        with anyio.move_on_after(CLOSE_TIMEOUT), suppress(actors.ActorsError):
            await self._room.wait_ready()
        await self._member.stop()
