"""Prepares an ASGI application on a node: a factory is called, the result checked and wrapped.

Rule 1: an application that cannot serve is one clear error at boot, not a 500 for every request.
"""

from __future__ import annotations

import inspect
from typing import Any

from actors.routing.errors import HandlerUnfit
from actors.routing.interfaces import KeyBinder
from actors.routing.listen.listener import Asgi
from actors.routing.serving.affinity import Affinity
from actors.routing.serving.forwarded import ForwardedHeaders
from actors.routing.serving.learn_keys import LearnKeys
from actors.routing.serving.set_cookie import SetCookie

__all__ = ["checked_app", "service_unavailable", "with_middleware"]


def with_middleware(
    app: Any, spec: Asgi, affinity: Affinity | None, binder: KeyBinder | None
) -> Any:
    """Wrap *app*: X-Forwarded-* headers are applied, the sticky cookie is set, and new keys are learned.

    Args:
        app: the application.
        spec: its options.
        affinity: which keys belong to this node; None without sticky keys.
        binder: binds the keys that the application makes; None if none are learned.
    """
    if affinity is not None and affinity.cookies:
        app = SetCookie(app, affinity)
    if affinity is not None and affinity.learned and binder is not None:
        app = LearnKeys(app, affinity, binder)
    if spec.proxy_headers:
        app = ForwardedHeaders(app, spec.forwarded_allow_ips)
    return app


async def service_unavailable(_scope: object, _receive: object, send: Any) -> None:
    """Answer 503, in place of an application that has too much to do."""
    body = b"Service Unavailable"
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})


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
