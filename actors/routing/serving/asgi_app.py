"""Prepares an ASGI application on a node: a factory is called, the result checked and wrapped.

Rule 1: an application that cannot serve is one clear error at boot, not a 500 for every request.
"""

from __future__ import annotations

import inspect
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from actors.routing.errors import HandlerUnfit
from actors.routing.listen.listener import Asgi
from actors.routing.serving.affinity import Affinity
from actors.routing.serving.forwarded import ForwardedHeaders
from actors.routing.serving.set_cookie import SetCookie

__all__ = ["checked_app", "uvicorn_config", "with_middleware"]


def uvicorn_config(spec: Asgi) -> Config:
    """Make the configuration of uvicorn's protocols, without its logging and its import of the app."""
    config = Config(
        _placeholder,
        loop="none",
        http=HttpToolsProtocol,
        ws=WebSocketsSansIOProtocol,
        ws_max_size=spec.ws_max_size,
        ws_ping_interval=spec.ws_ping_interval,
        ws_ping_timeout=spec.ws_ping_timeout,
        lifespan="off",
        log_config=None,
        access_log=True,  # False would remove the handlers that the application gave uvicorn.access
        interface="asgi3",
        proxy_headers=False,
        root_path=spec.root_path,
        limit_concurrency=spec.limit_concurrency,
        timeout_keep_alive=spec.keep_alive,  # type: ignore[arg-type]  # uvicorn only compares it, so a float works
    )
    config.load()
    return config


def with_middleware(app: Any, spec: Asgi, affinity: Affinity | None) -> Any:
    """Wrap *app*: X-Forwarded-* headers are applied, and the sticky cookie is set."""
    if affinity is not None and affinity.cookies:
        app = SetCookie(app, affinity)
    if spec.proxy_headers:
        app = ForwardedHeaders(app, spec.forwarded_allow_ips)
    return app


async def _placeholder(_scope: object, _receive: object, _send: object) -> None:
    """Satisfy `Config`; the application itself is imported by `AsgiServer.start`, with better errors."""


def checked_app(spec: Asgi, found: Any) -> Any:
    """Return *found*, or what it returns if it is a factory; refuse it if it is not an ASGI application."""
    if not callable(found):
        raise HandlerUnfit(spec.app, f"an ASGI application is callable, got {found!r}")
    if spec.factory:
        try:
            found = found()
        except Exception as error:
            raise HandlerUnfit(
                spec.app, f"the factory raised {type(error).__name__}: {error}"
            ) from error
        if inspect.iscoroutine(found):
            found.close()
            raise HandlerUnfit(
                spec.app,
                "the factory is async: make it a plain function, and await in the lifespan",
            )
        if not callable(found):
            raise HandlerUnfit(spec.app, f"the factory returned {found!r}, no ASGI application")
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return found
    if _takes(signature, 3):
        return found
    hint = (
        "it takes no argument: did you mean factory=True (--factory)?"
        if _takes(signature, 0)
        else f"an ASGI application takes (scope, receive, send), this one takes {signature}"
    )
    raise HandlerUnfit(spec.app, hint)


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
