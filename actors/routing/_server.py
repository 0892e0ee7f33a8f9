"""The node's side: what a listener's connections are handed to.

Rule 1: one interface for every kind of handler: `start`, `take`, `drain`, `stop`.
Rule 2: a handler is imported here, on the node, and nowhere else.
Rule 3: each connection taken is acknowledged at once, or refused; each acknowledged one is closed
exactly once.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

from ._errors import HandlerNotFound, HandlerUnfit
from ._listener import Asgi, Listener
from ._protocols import Report, ServerLoop
from ._stream import StreamServer

__all__ = ["Server", "import_handler", "modules_of", "serve"]


class Server(Protocol):
    """Serves the connections of one listener on one node."""

    @property
    def open(self) -> int:
        """Connections being served."""
        ...

    async def start(self) -> None:
        """Import the handler and make it ready.

        Raises:
            HandlerNotFound: it cannot be imported.
            HandlerUnfit: it cannot serve on this node.
            LifespanFailed: the application's startup failed.
        """
        ...

    def take(self, connection: int, sock: socket.socket) -> None:
        """Serve *sock*, which is the server's from here; acknowledge or refuse it at once."""
        ...

    async def drain(self, seconds: float) -> None:
        """Take no more, let what is being served end, and after *seconds* abort the rest."""
        ...

    async def stop(self) -> None:
        """Abort what is being served and end the handler.

        Raises:
            LifespanFailed: the application's shutdown failed.
        """
        ...


def import_handler(path: str) -> Any:
    """Import ``pkg.mod:attr``.

    Raises:
        HandlerNotFound: there is no such module or attribute, or the module raised.
    """
    module_name, _, attribute = path.partition(":")
    try:
        found: Any = import_module(module_name)
    except (Exception, SystemExit) as error:  # a script that ends itself must not end the node
        raise HandlerNotFound(path, f"{type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise HandlerNotFound(path, str(error)) from error
    return found


def modules_of(spec: Listener) -> tuple[str, ...]:
    """Return the modules that `serve` imports for *spec*; a process that is to serve it may have them ready."""
    return ("actors.routing._asgi",) if isinstance(spec.handler, Asgi) else ()


def serve(
    spec: Listener,
    loop: ServerLoop,
    *,
    acknowledge: Callable[[int], object],
    refused: Callable[[int], object],
    closed: Callable[[int], object],
    report: Report,
    system: object = None,
    resolve: Callable[[str], Any] = import_handler,
) -> Server:
    """Make the server of *spec* for this node; nothing starts before its `start`.

    Args:
        spec: the listener.
        loop: the node's event loop.
        acknowledge: told each connection that is taken, before anything is read from it.
        refused: told each connection that was closed unread because the server is draining.
        closed: told once each acknowledged connection that has ended.
        report: takes facts (`_events`); must not raise.
        system: what ASGI applications find as ``request.state.actors``.
        resolve: imports a path; for nodes that know `__main__` under another name.

    Raises:
        HandlerUnfit: it is an ASGI application and the extra ``web`` is not installed.
    """
    if not isinstance(spec.handler, Asgi):
        return StreamServer(
            spec.handler,
            loop,
            listener=spec.name,
            acknowledge=acknowledge,
            refused=refused,
            closed=closed,
            report=report,
            resolve=resolve,
        )
    try:
        from ._asgi import AsgiServer  # noqa: PLC0415 - uvicorn's door, optional
    except ImportError as error:
        raise HandlerUnfit(
            spec.path, "asgi() needs uvicorn: pip install actors-framework[web]"
        ) from error
    return AsgiServer(
        spec.handler,
        listener=spec.name,
        acknowledge=acknowledge,
        refused=refused,
        closed=closed,
        report=report,
        system=system,
        resolve=resolve,
    )
