"""ASGI middleware that has the router know the sticky keys that an application makes.

Rule 1: a response that names a new key is not sent before the router has bound the key, so that the client's
next connection, with that key, comes to this node; after `_PATIENCE` it is sent all the same.
Rule 2: a key is new if the client has not sent it: an application that repeats a header learns nothing.
Rule 3: of several cookies of one name a client keeps the last, so one response binds one key of each source.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from actors._base.errors import ActorsError
from actors.routing.interfaces import KeyBinder
from actors.routing.serving.affinity import Affinity
from actors.routing.serving.lifespan import App, Message
from actors.routing.sticky.http_keys import Cookie, Header, cookie_value, set_cookie_value

__all__ = ["LearnKeys", "new_keys"]

_ANSWERS: Final = frozenset(
    {"http.response.start", "websocket.accept", "websocket.http.response.start"}
)
_PATIENCE: Final = 0.1
"""Seconds for which a response waits for the router."""

Headers = Iterable[tuple[bytes, bytes]]


class LearnKeys:
    """Wraps *app*: keys that its responses name are bound to this node by *binder*."""

    def __init__(self, app: App, affinity: Affinity, binder: KeyBinder) -> None:
        self._app = app
        self._affinity = affinity
        self._binder = binder
        self._sources = affinity.learned
        self._names = frozenset(_response_header(source) for source in self._sources)

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        """Serve one request."""

        async def send_learned(message: Message) -> None:
            if message["type"] in _ANSWERS:
                named = [
                    (name, bytes(value))
                    for key, value in message.get("headers", ())
                    if (name := bytes(key).lower()) in self._names
                ]
                if named:
                    await self._learn(new_keys(self._sources, scope["headers"], named), scope)
            await send(message)

        await self._app(scope, receive, send_learned)

    async def _learn(self, keys: list[bytes], scope: Message) -> None:
        digests = self._affinity.to_bind(keys)
        if not digests:
            return
        client = scope.get("client")
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._binder.bind(digests, str(client[0]) if client else "")
        except (ActorsError, TimeoutError):
            self._binder.unlearned()


def new_keys(sources: Iterable[Cookie | Header], sent: Headers, named: Headers) -> list[bytes]:
    """Return the keys that a response names and its request did not.

    Args:
        sources: where keys come from.
        sent: the headers of the request, names in lower case.
        named: the headers of the response that may name a key, names in lower case.
    """
    sent, named = list(sent), list(named)
    found = []
    for source in sources:
        name = _response_header(source)
        values = [value for key, value in named if key == name]
        if isinstance(source, Cookie):
            new = set_cookie_value(values, source.name)
            before = cookie_value([v for key, v in sent if key == b"cookie"], source.name)
        else:
            new = values[-1].strip(b" \t") if values else b""
            before = next((value for key, value in sent if key == name), None)
        if new and new != before and new not in found:
            found.append(new)
    return found


def _response_header(source: Cookie | Header) -> bytes:
    return b"set-cookie" if isinstance(source, Cookie) else source.name.lower().encode("ascii")
