"""The web side of the chat: a page, and a WebSocket that joins a room. Runs on every `web` node."""

from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import anyio
from anyio.abc import ObjectReceiveStream
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

import actors
from actors.errors import StartFailed, SystemStopped

from . import _protocol as protocol
from ._settings import database
from .member import Member
from .room import Room

__all__ = ["app"]

_PAGE: Final = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
_MONTH: Final = 30 * 24 * 60 * 60

# Close codes. The page gives up after the first and comes again after the second.
_REFUSED: Final = 1008
_TRY_AGAIN: Final = 1013
_LONGEST_REASON: Final = 123
"""Bytes: what a close frame has room for."""

_ROOM_LOST: Final = (
    actors.ActorCrashed,
    actors.ActorStopped,
    actors.NodeDown,
    StartFailed,
    SystemStopped,
)
_LEAVING: Final = 2.0
"""Seconds that saying goodbye may take, to the client as to the room."""


async def page(request: Request) -> HTMLResponse:
    """Serve the page; a room in its address is remembered, so that its next request finds it."""
    response = HTMLResponse(_PAGE)
    room = request.query_params.get("room", "").strip()
    if 0 < len(room) <= protocol.LONGEST_ROOM:
        response.set_cookie("room", quote(room), max_age=_MONTH, samesite="lax")
    return response


async def talk(socket: WebSocket) -> None:
    """Serve one WebSocket, from its first message to its close."""
    await socket.accept()
    try:
        visit = Visit(socket, protocol.join_of(socket.query_params))
    except protocol.Refused as refused:
        await _close(socket, _REFUSED, str(refused), protocol.error(str(refused)))
        return
    lost = await visit.run()
    if lost is not None:
        await _close(socket, _TRY_AGAIN, str(lost))


async def _close(socket: WebSocket, code: int, reason: str, *messages: dict[str, Any]) -> None:
    reason = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
    with anyio.move_on_after(_LEAVING), suppress(WebSocketDisconnect, RuntimeError):
        for message in messages:
            await socket.send_json(message)
        await socket.close(code, reason)


class Visit:
    """Somebody in a room: what it says goes down the socket, what they say goes up to it."""

    def __init__(self, socket: WebSocket, join: protocol.Join) -> None:
        self._socket = socket
        self._join = join
        self._welcomed = anyio.Event()
        self._lost: Exception | None = None
        self._tasks = anyio.create_task_group()

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
        await self._welcomed.wait()
        try:
            while True:
                await self._take(await self._socket.receive())
        except WebSocketDisconnect:
            self._end()
        except _ROOM_LOST as error:
            self._end(error)

    async def _take(self, message: Message) -> None:
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"])
        text = message.get("text")
        try:
            say = protocol.say_of(message["bytes"] if text is None else text)
        except protocol.Refused as refused:
            await self._member.tell(Member.refused, str(refused), refused.id)
        else:
            await self._room.tell(Room.say, self._member, say.id, say.text)

    def _end(self, lost: Exception | None = None) -> None:
        self._lost = self._lost or lost
        self._tasks.cancel_scope.cancel()

    async def _leave(self) -> None:
        """End the member, as soon as the room has nothing more under way to it."""
        with anyio.move_on_after(_LEAVING), suppress(actors.ActorsError):
            await self._room.wait_ready()
        await self._member.stop()


class NodeHeader:
    """ASGI middleware: every HTTP response says which node made it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-actors-node"] = actors.current().node.name
            await send(message)

        await self._app(scope, receive, send_named if scope["type"] == "http" else send)


# Around Starlette, not inside: what it answers to its own errors is a response too.
app = NodeHeader(Starlette(routes=[Route("/", page), WebSocketRoute("/ws", talk)]))
