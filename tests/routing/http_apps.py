"""ASGI applications for what HTTP itself promises: early answers, odd headers, endless streams."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.routing.apps import happened

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]


async def answer(send: Send, *headers: tuple[bytes, bytes], body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def early(scope: Message, receive: Receive, send: Send) -> None:
    """Answer before the body is read, unless the path is /all; then with how long it was."""
    size = 0
    more = scope["path"] == "/all"
    while more:
        message = await receive()
        size += len(message["body"])
        more = message["more_body"]
    body = f"{scope['path']} {size}".encode()
    await answer(send, (b"content-length", b"%d" % len(body)), body=body)


async def waits(scope: Message, receive: Receive, send: Send) -> None:
    """Answer in chunks, with turns of the loop before and between them; note what is received."""
    message = await receive()
    happened.append(f"{message['type']} {message['body'].decode()}")
    happened.append((await receive())["type"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for part in (b"one ", b"two ", b"three"):
        await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def injects(scope: Message, receive: Receive, send: Send) -> None:
    """Send a header that would be two."""
    await answer(send, (b"location", scope["query_string"].replace(b"%0d%0a", b"\r\n")))


async def counts_headers(scope: Message, receive: Receive, send: Send) -> None:
    """Read the body, then answer with the names of the request's headers."""
    while (await receive())["more_body"]:
        pass
    await answer(send, body=b" ".join(name for name, _ in scope["headers"]))


async def make_app() -> object:
    return early


def events(kind: str, pause: float) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(_: Request) -> Response:
        async def parts() -> Any:
            happened.append(f"{kind} begins")
            try:
                while True:
                    yield b"data: x\n\n"
                    await asyncio.sleep(pause)
            finally:
                happened.append(f"{kind} ends")

        return StreamingResponse(parts(), media_type=kind)

    return endpoint


async def raw_events(scope: Message, receive: Receive, send: Send) -> None:
    """An event stream that waits for ``http.disconnect``, and takes its time to end."""
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"data: hello\n\n", "more_body": True})
    happened.append("raw begins")
    happened.append((await receive())["type"])
    for _ in range(10):
        await asyncio.sleep(0.02)
    happened.append("raw ends")


async def long_poll(scope: Message, receive: Receive, send: Send) -> None:
    """Wait for the client to leave, then answer anyway."""
    await receive()
    happened.append("poll begins")
    happened.append((await receive())["type"])
    await answer(send, (b"content-length", b"4"), body=b"done")


async def call(scope: Message, receive: Receive, send: Send) -> None:
    """Answer by an event stream that takes its time, unless the client leaves."""
    headers = [(b"content-type", b"text/event-stream"), (b"connection", b"keep-alive")]
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"data: wait\n\n", "more_body": True})
    happened.append("call begins")
    with anyio.move_on_after(0.2):
        happened.append((await receive())["type"])
    await send({"type": "http.response.body", "body": b"data: done\n\n"})


async def last_word(scope: Message, receive: Receive, send: Send) -> None:
    """Accept a WebSocket, and send as soon as it has ended."""
    await receive()
    await send({"type": "websocket.accept"})
    happened.append((await receive())["type"])
    try:
        await send({"type": "websocket.send", "text": "wait"})
    except OSError as error:
        happened.append(str(error))
        raise


streams = Starlette(
    routes=[
        Route("/events", events("text/event-stream", 0.01)),
        Route("/idle", events("text/event-stream", 3600)),
        Route("/lines", events("text/plain", 0.01)),
    ]
)


def here(name: str) -> str:
    return f"tests.routing.http_apps:{name}"
