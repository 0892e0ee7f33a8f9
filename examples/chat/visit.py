"""A visit: one WebSocket in one room, from its welcome to its end."""

from contextlib import suppress
from typing import Any, Final

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

import actors
from actors.errors import StartFailed, SystemStopped

from . import _protocol as protocol
from ._pace import Pace
from ._settings import database, pace
from .member import Member
from .room import Full, Room

__all__ = ["LEAVING", "Visit"]

LEAVING: Final = 2.0
"""Seconds that saying goodbye may take, to the client as to the room."""

_ROOM_LOST: Final = (
    Full,
    actors.ActorCrashed,
    actors.ActorStopped,
    actors.NodeDown,
    StartFailed,
    SystemStopped,
)
_BURST: Final = 20
"""Messages that may come at once; then `CHAT_PACE` decides."""
_TYPING_EVERY: Final = 1.0
"""Seconds in which somebody types once, however often they say so."""


class Visit:
    """Somebody in a room: what it says goes down the socket, what they say goes up to it."""

    def __init__(self, socket: WebSocket, join: protocol.Join) -> None:
        self._socket = socket
        self._join = join
        self._welcomed = anyio.Event()
        self._lost: Exception | None = None
        self._tasks = anyio.create_task_group()
        # Who is typing is no message: nobody misses it, so it goes by a topic, past the room.
        self._typing = actors.current().topic(f"typing:{join.room}")
        self._typed = float("-inf")

    async def run(self) -> Exception | None:
        """Stay until the client leaves; return what ended it if that was the room."""
        name = self._join.room
        system = actors.current()
        outbox, inbox = anyio.create_memory_object_stream[list[dict[str, Any]]](0)
        try:
            self._room = await system.spawn(
                Room,
                name,
                database(),
                name=f"room:{name}",
                on="rooms",
                if_exists="return",
                mailbox=128,
            )
        except _ROOM_LOST as error:
            return error
        self._member = await system.spawn(
            Member,
            name,
            actors.local(outbox),
            on=system.node,
            restart=actors.Restart.TEMPORARY,
            mailbox=4,
        )
        try:
            async with outbox, inbox, self._tasks:
                self._tasks.start_soon(self._attend)
                self._tasks.start_soon(self._down, inbox)
                self._tasks.start_soon(self._up)
                self._tasks.start_soon(self._see_typing, outbox)
        finally:
            with anyio.CancelScope(shield=True):
                await self._leave()
        return self._lost

    async def _attend(self) -> None:
        """Be in the room: an ask that ends only with the room, or when it is cancelled."""
        try:
            await self._room.ask(Room.attend, self._member, self._join.name, self._join.after)
        except _ROOM_LOST as error:
            self._end(error)

    async def _down(self, inbox: ObjectReceiveStream[list[dict[str, Any]]]) -> None:
        try:
            async for messages in inbox:
                for message in messages:
                    await self._socket.send_json(message)
                self._welcomed.set()
        except (WebSocketDisconnect, RuntimeError):
            self._end()

    async def _up(self) -> None:
        # A flood is slowed down, not refused: what is not read here waits at the client.
        turns = Pace(pace(), _BURST)
        await self._welcomed.wait()
        try:
            while True:
                await self._take(await self._socket.receive())
                if wait := turns.take(anyio.current_time()):
                    await anyio.sleep(wait)
        except WebSocketDisconnect:
            self._end()
        except _ROOM_LOST as error:
            self._end(error)

    async def _take(self, message: Message) -> None:
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
        elif (now := anyio.current_time()) >= self._typed + _TYPING_EVERY:
            self._typed = now
            self._typing.publish(self._join.name)

    async def _see_typing(self, outbox: ObjectSendStream[list[dict[str, Any]]]) -> None:
        await self._welcomed.wait()
        try:
            async with self._typing.subscribe(buffer=8) as names:
                async for name in names:
                    # Whoever is slow gets a `Lagged` instead of a name, and misses nothing in it.
                    if isinstance(name, str) and name != self._join.name:
                        await outbox.send([protocol.typing(name)])
        except _ROOM_LOST as error:
            self._end(error)

    def _end(self, lost: Exception | None = None) -> None:
        self._lost = self._lost or lost
        self._tasks.cancel_scope.cancel()

    async def _leave(self) -> None:
        """End the member, as soon as the room has nothing more under way to it."""
        with anyio.move_on_after(LEAVING), suppress(actors.ActorsError):
            await self._room.wait_ready()
        await self._member.stop()
