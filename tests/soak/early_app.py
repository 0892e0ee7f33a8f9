"""An application that answers uploads by their path: some before it has read anything of the body."""

from __future__ import annotations

from typing import Any, Final

EARLY: Final = {"/401": 401, "/413": 413}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the path's status at once, or with how long the body was."""
    assert scope["type"] == "http"
    status = EARLY.get(scope["path"], 200)
    read = 0
    more = status == 200
    while more:
        message = await receive()
        read += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"%d" % read
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [length]})
    await send({"type": "http.response.body", "body": body})
