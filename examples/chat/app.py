"""The ASGI application of the chat: a page, and a WebSocket that joins a room. Runs on every `web` node."""

import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import anyio
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

import actors

from . import _protocol as protocol
from .session import CLOSE_TIMEOUT, Session

__all__ = ["app"]

_PAGE: Final = Path(__file__).with_name("page")
_MONTH: Final = 30 * 24 * 60 * 60

# Close codes. The page gives up after the first and reconnects after the second.
_REFUSED: Final = 1008
_TRY_AGAIN: Final = 1013
_LONGEST_REASON: Final = 123
"""Bytes that fit into a close frame."""

_KEY: Final = "chat_key"
"""The cookie from which the tag of a name is made; see `_protocol`."""


async def page(request: Request) -> Response:
    """Serve the page; keep a room in its address in a cookie, for the next request without one."""
    response = FileResponse(_PAGE / "index.html")
    room = request.query_params.get("room", "").strip()
    if 0 < len(room) <= protocol.LONGEST_ROOM:
        response.set_cookie("room", quote(room), max_age=_MONTH, samesite="lax")
    # `lax` also keeps it from a WebSocket that the page of another site opens.
    key = request.cookies.get(_KEY) or secrets.token_urlsafe(16)
    response.set_cookie(_KEY, key, max_age=12 * _MONTH, httponly=True, samesite="lax")
    return response


async def serve_socket(socket: WebSocket) -> None:
    """Serve one WebSocket, from its first message to its close."""
    await socket.accept()
    try:
        join = protocol.join_of(socket.query_params, socket.cookies.get(_KEY))
    except protocol.Refused as refused:
        await _close(socket, _REFUSED, str(refused), protocol.error(str(refused)))
        return
    rooms = await actors.current().keyed("rooms")
    assert rooms is not None
    lost = await Session(socket, join, rooms).run()
    if lost is not None:
        await _close(socket, _TRY_AGAIN, str(lost))


async def _close(socket: WebSocket, code: int, reason: str, *messages: dict[str, Any]) -> None:
    reason = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
    with anyio.move_on_after(CLOSE_TIMEOUT), suppress(WebSocketDisconnect, RuntimeError):
        for message in messages:
            await socket.send_json(message)
        await socket.close(code, reason)


class Headers:
    """ASGI middleware that adds headers to every HTTP response, such as the node that made it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-actors-node"] = actors.current().node.name
                headers["cache-control"] = "no-cache"  # the browser asks whether it has changed
                headers["content-security-policy"] = "default-src 'self'; img-src data:"
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


# Around Starlette, so that its error responses have the headers too.
app = Headers(
    Starlette(
        routes=[
            Route("/", page),
            Mount("/page", StaticFiles(directory=_PAGE)),
            WebSocketRoute("/ws", serve_socket),
        ]
    )
)
