"""ASGI applications for HTTP/2: what a stream promises."""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from tests.routing.apps import happened

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
FILE = Path(__file__)
LARGE = bytes(range(256)) * 4096
"""A mebibyte: larger than any window."""
together = asyncio.Event()


async def start(send: Send, *headers: tuple[bytes, bytes], **more: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": list(headers), **more})


async def body(send: Send, data: bytes = b"", *, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def app(scope: Message, receive: Receive, send: Send) -> None:
    await PATHS[scope["path"]](scope, receive, send)


async def shows(scope: Message, receive: Receive, send: Send) -> None:
    """Answer with the scope, and how long the body was."""
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            happened.append("disconnect")
            return
        size += len(message["body"])
        if not message["more_body"]:
            break
    plain = ("http_version", "method", "scheme", "path", "root_path")
    found = {name: scope[name] for name in plain}
    found |= {name: scope[name].decode() for name in ("raw_path", "query_string")}
    found["headers"] = [[part.decode() for part in header] for header in scope["headers"]]
    await start(send, (b"connection", b"close"), (b"X-Odd", b"yes"))
    await body(send, json.dumps({**found, "size": size}).encode())


async def large(_: Message, __: Receive, send: Send) -> None:
    await start(send)
    for at in range(0, len(LARGE), 100_000):
        await body(send, LARGE[at : at + 100_000], more=True)
    await body(send)
    happened.append("sent")


async def file(_: Message, __: Receive, send: Send) -> None:
    await start(send)
    await send({"type": "http.response.pathsend", "path": str(FILE)})


async def trailers(_: Message, __: Receive, send: Send) -> None:
    await start(send, trailers=True)
    await body(send, b"before ")
    await send({"type": "http.response.trailers", "headers": [(b"x-sum", b"7")]})


async def hints(_: Message, __: Receive, send: Send) -> None:
    await send({"type": "http.response.early_hint", "links": [b"</a.css>"]})
    await start(send)
    await body(send, b"hinted")


async def breaks(_: Message, __: Receive, send: Send) -> None:
    await start(send, (b"content-length", b"99"))
    await body(send, b"part", more=True)
    raise LookupError("as the test wants it")


async def raises(_: Message, __: Receive, ___: Send) -> None:
    raise LookupError("as the test wants it")


async def first(_: Message, __: Receive, send: Send) -> None:
    """Wait for the second request."""
    await together.wait()
    await start(send)
    await body(send, b"first")


async def second(_: Message, __: Receive, send: Send) -> None:
    together.set()
    await start(send)
    await body(send, b"second")


async def waits(_: Message, receive: Receive, __: Send) -> None:
    """Wait for the client to leave."""
    while (await receive())["type"] != "http.disconnect":
        pass
    happened.append("left")


async def empty(_: Message, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await body(send)


PATHS: dict[str, Callable[[Message, Receive, Send], Awaitable[None]]] = {
    "/shows": shows,
    "/api/caf\u00e9 x": shows,
    "/large": large,
    "/file": file,
    "/trailers": trailers,
    "/hints": hints,
    "/breaks": breaks,
    "/raises": raises,
    "/first": first,
    "/second": second,
    "/waits": waits,
    "/empty": empty,
}
