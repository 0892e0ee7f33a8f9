"""Prepares an application on a node: a factory is called, the result checked and wrapped.

Rule 1: an application that cannot serve is one clear error at boot, not a 500 for every request.
"""

from __future__ import annotations

import inspect
from typing import Any, Final

from actors.routing.errors import HandlerUnfit
from actors.routing.interfaces import KeyBinder
from actors.routing.listen.application import Asgi
from actors.routing.serving.affinity import Affinity
from actors.routing.serving.learn_keys import LearnKeys
from actors.routing.serving.set_cookie import SetCookie
from actors.routing.serving.wsgi_app import WsgiApp

__all__ = ["checked_app", "service_unavailable", "with_middleware"]

_LONGEST: Final = 100
"""Letters of what is no application that its error shows."""


def with_middleware(app: Any, affinity: Affinity | None, binder: KeyBinder | None) -> Any:
    """Wrap *app*: the sticky cookie is set, and new keys are learned.

    Args:
        app: the application.
        affinity: which keys belong to this node; None without sticky keys.
        binder: binds the keys that the application makes; None if none are learned.
    """
    if affinity is not None and affinity.cookies:
        app = SetCookie(app, affinity)
    if affinity is not None and affinity.learned and binder is not None:
        app = LearnKeys(app, affinity, binder)
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
    """Return *found*, or what it returns if it is a factory, as an ASGI application.

    Raises:
        HandlerUnfit: it is none, and no WSGI application where one may be.
    """
    if not callable(found):
        raise HandlerUnfit(spec.app, f"an application is callable, got {_shown(found)}")
    if spec.factory:
        found = _made_by(spec, found)
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return WsgiApp(found, spec.threads) if spec.interface == "wsgi" else found
    if spec.interface != "wsgi" and _takes(signature, 3):
        return found
    if spec.interface != "asgi" and _takes(signature, 2):
        return WsgiApp(found, spec.threads)
    raise HandlerUnfit(spec.app, _hint(spec, signature))


def _shown(found: object) -> str:
    if type(found).__name__ == "Topology":  # which this floor does not know
        return "a Topology: `actors run` runs it"
    text = repr(found)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _made_by(spec: Asgi, factory: Any) -> Any:
    try:
        made = factory()
    except Exception as error:
        why = f"the factory raised {type(error).__name__}: {error}"
        raise HandlerUnfit(spec.app, why) from error
    if inspect.iscoroutine(made):
        made.close()
        why = "the factory is async: make it a plain function, and await in the lifespan"
        raise HandlerUnfit(spec.app, why)
    if not callable(made):
        raise HandlerUnfit(spec.app, f"the factory returned {made!r}, no application")
    return made


def _hint(spec: Asgi, signature: inspect.Signature) -> str:
    """Return what is wrong with an application that takes other arguments, and what helps."""
    if _takes(signature, 0):
        return "it takes no argument: did you mean factory=True (--factory)?"
    if spec.interface == "wsgi":
        wanted = "a WSGI application takes (environ, start_response)"
        return f"{wanted}, this one takes {signature}"
    if _takes(signature, 1):
        name = spec.app.rpartition(":")[2]
        return (
            f"it looks like ASGI 2, which takes (scope) alone; serve this instead: "
            f"async def asgi3(scope, receive, send): await {name}(scope)(receive, send)"
        )
    if _takes(signature, 2):
        return f"it takes {signature} as WSGI does: did you mean wsgi({spec.app!r}) (--interface wsgi)?"
    return f"an ASGI application takes (scope, receive, send), this one takes {signature}"


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
