"""ASGI middleware that sets the sticky cookie for clients that have none.

Rule 1: only the first message of a response is touched, and only for a client that needs it.
"""

from __future__ import annotations

from typing import Any, Final

from actors.routing.serving.affinity import Affinity
from actors.routing.serving.lifespan import App, Message
from actors.routing.sticky.http_keys import cookie_value

__all__ = ["SetCookie"]

_ANSWERS: Final = {"http": "http.response.start", "websocket": "websocket.accept"}
_SECURE: Final = frozenset({"https", "wss"})


class SetCookie:
    """Wraps *app* and sets the cookies that `Affinity.cookies` names."""

    def __init__(self, app: App, affinity: Affinity) -> None:
        self._app = app
        self._affinity = affinity

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        """Serve one request."""
        sent = [value for name, value in scope["headers"] if name.lower() == b"cookie"]
        missing = [name for name in self._affinity.cookies if cookie_value(sent, name) is None]
        if not missing:
            await self._app(scope, receive, send)
            return
        answer = _ANSWERS.get(scope["type"])
        secure = scope.get("scheme") in _SECURE

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == answer:
                headers = [(bytes(n), bytes(v)) for n, v in message.get("headers", ())]
                new = [self._header(name, secure) for name in missing if not _sets(headers, name)]
                message = {**message, "headers": headers + new}
            await send(message)

        await self._app(scope, receive, send_with_cookie)

    def _header(self, name: str, secure: bool) -> tuple[bytes, bytes]:  # noqa: FBT001 - private, called once
        text = f"{name}={self._affinity.new_cookie_value()}; Path=/; HttpOnly; SameSite=Lax"
        return b"set-cookie", (text + "; Secure" * secure).encode("ascii")


def _sets(headers: list[tuple[bytes, bytes]], name: str) -> bool:
    """Whether the application itself sets the cookie *name*."""
    begin = f"{name}=".encode("ascii")
    return any(
        key.lower() == b"set-cookie" and value.lstrip().startswith(begin) for key, value in headers
    )
