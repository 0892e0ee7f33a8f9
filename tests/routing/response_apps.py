"""An ASGI application that answers each path in a way of its own: hints, files, trailers, wrong lengths."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.routing.apps import happened
from tests.routing.http_apps import Message, Receive, Send

__all__ = ["FILE", "app", "here"]

FILE: list[Path] = []
"""The file that /file sends; a test puts it there."""

Answer = Callable[[Message, Send], Awaitable[None]]


def here(name: str) -> str:
    return f"tests.routing.response_apps:{name}"


async def start(send: Send, *headers: tuple[bytes, bytes], **more: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [*headers], **more})


async def body(send: Send, data: bytes, *, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def whole(_: Message, send: Send) -> None:
    await start(send)
    await body(send, b"whole")


async def late(_: Message, send: Send) -> None:
    await start(send)
    await asyncio.sleep(0.3)
    await body(send, b"late")


async def hint(_: Message, send: Send) -> None:
    link = b"</style.css>; rel=preload; as=style"
    await send({"type": "http.response.early_hint", "links": [link]})
    await start(send)
    await body(send, b"hinted")


async def mutable(_: Message, send: Send) -> None:
    content_type: Any = bytearray(b"Content-Type"), bytearray(b"text/plain")
    count: Any = bytearray(b"X-Count"), b"1"
    await start(send, count, content_type)
    await body(send, b"mutable")


async def file(_: Message, send: Send) -> None:
    await start(send, (b"content-type", b"image/png"))
    await send({"type": "http.response.pathsend", "path": str(FILE[-1])})


async def trailers(_: Message, send: Send) -> None:
    await start(send, (b"trailer", b"x-sum"), trailers=True)
    await body(send, b"one", more=True)
    await body(send, b"two")
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"6")]})


async def longer(_: Message, send: Send) -> None:
    await start(send, (b"content-length", b"2"))
    await body(send, b"three")


async def shorter(_: Message, send: Send) -> None:
    await start(send, (b"content-length", b"9"))
    await body(send, b"three")


async def text(_: Message, send: Send) -> None:
    await start(send, (b"x-secret", b"1"))
    await send({"type": "http.response.body", "body": "hello"})


async def changes_its_mind(_: Message, send: Send) -> None:
    await start(send, (b"content-length", b"9"), (b"x-secret", b"1"))
    raise RuntimeError("no")


async def without_body(_: Message, send: Send) -> None:
    await start(send)


async def bad_status(_: Message, send: Send) -> None:
    await send({"type": "http.response.start", "status": "200 OK", "headers": []})


async def slow(_: Message, send: Send) -> None:
    happened.append("slow begins")
    await asyncio.sleep(0.2)
    await start(send)
    await body(send, b"slow")


_ANSWERS: dict[str, Answer] = {
    f"/{answer.__name__}": answer
    for answer in (
        whole,
        late,
        hint,
        mutable,
        file,
        trailers,
        longer,
        shorter,
        text,
        changes_its_mind,
        without_body,
        bad_status,
        slow,
    )
}


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Answer as the path says; a WebSocket echoes what it receives."""
    if scope["type"] == "websocket" and scope["path"] == "/denied":
        await receive()
        for _ in range(2):  # the second one is an error
            await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    await _ANSWERS[scope["path"]](scope, send)
