"""The node's side: what a listener's connections are handed to.

Rule 1: one interface for every kind of handler: `start`, `take`, `drain`, `stop`.
Rule 2: a handler is imported here, on the node, and nowhere else.
Rule 3: each connection taken is acknowledged at once, or refused; each acknowledged one is closed
exactly once.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from typing import Any

from actors.routing.errors import HandlerNotFound, HandlerUnfit
from actors.routing.interfaces import NodeLoop, Report, Server, ServerLoop, SocketServer
from actors.routing.listen.address import Udp
from actors.routing.listen.listener import Asgi, Listener
from actors.routing.policy.kernel import ByKernel, ReusePort
from actors.routing.serving.self_accepting import SelfAcceptingServer
from actors.routing.serving.stream import StreamServer
from actors.routing.serving.udp import DatagramServer

__all__ = ["Server", "SocketServer", "import_handler", "modules_of", "serve"]


def import_handler(path: str) -> Any:
    """Import ``pkg.mod:attr``.

    Raises:
        HandlerNotFound: there is no such module or attribute, or the module raised.
    """
    module_name, _, attribute = path.partition(":")
    try:
        found: Any = import_module(module_name)
    except (Exception, SystemExit) as error:  # a script that ends itself must not end the node
        raise HandlerNotFound(path, f"{type(error).__name__}: {error}{_hint(error)}") from error
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            close = get_close_matches(part, dir(found), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise HandlerNotFound(path, f"{error}{hint}") from error
    return found


def _hint(error: BaseException) -> str:
    """Return what to do about a module that does on import what a program does."""
    if isinstance(error, SystemExit) or "event loop" in str(error):
        return "; what runs a program belongs under `if __name__ == '__main__'`"
    return ""


def modules_of(spec: Listener) -> tuple[str, ...]:
    """Return the modules that `serve` imports for *spec*; a process that is to serve it may have them ready."""
    return ("actors.routing.serving.asgi",) if isinstance(spec.handler, Asgi) else ()


def serve(
    spec: Listener,
    loop: NodeLoop,
    *,
    acknowledge: Callable[[int], object],
    refused: Callable[[int], object],
    closed: Callable[[int], object],
    report: Report,
    counted: Callable[[int, int], object] = lambda _open, _total: None,
    system: object = None,
    resolve: Callable[[str], Any] = import_handler,
) -> Server:
    """Make the server of *spec* for this node; nothing starts before its `start`.

    Where a node gets its work from a socket of its own, it is a `SocketServer`.

    Args:
        spec: the listener.
        loop: the node's event loop.
        acknowledge: told each connection that is taken, before anything is read from it.
        refused: told each connection that was closed unread because the server is draining.
        closed: told once each acknowledged connection that has ended.
        report: takes facts (`_events`); must not raise.
        counted: told, where nobody hands it over, how much work is open and how much there was.
        system: what ASGI applications find as ``request.state.actors``.
        resolve: imports a path; for nodes that know `__main__` under another name.

    Raises:
        HandlerUnfit: it is an ASGI application and the extra ``web`` is not installed.
    """
    if isinstance(spec.where, Udp):
        return DatagramServer(
            spec, loop, refused=refused, counted=counted, report=report, resolve=resolve
        )
    make = partial(_connections, spec, loop, report=report, system=system, resolve=resolve)
    if isinstance(spec.policy, ByKernel):
        return SelfAcceptingServer(
            make,
            loop,
            listener=spec.name,
            alone=isinstance(spec.policy, ReusePort),
            counted=counted,
            report=report,
        )
    return make(acknowledge=acknowledge, refused=refused, closed=closed)


def _connections(
    spec: Listener,
    loop: ServerLoop,
    *,
    acknowledge: Callable[[int], object],
    refused: Callable[[int], object],
    closed: Callable[[int], object],
    report: Report,
    system: object,
    resolve: Callable[[str], Any],
) -> Server:
    """Make what serves connections, whoever accepts them."""
    if not isinstance(spec.handler, Asgi):
        return StreamServer(
            spec,
            loop,
            acknowledge=acknowledge,
            refused=refused,
            closed=closed,
            report=report,
            resolve=resolve,
        )
    try:
        from actors.routing.serving.asgi import AsgiServer  # noqa: PLC0415 - uvicorn's door, optional
    except ImportError as error:
        raise HandlerUnfit(
            spec.path, "asgi() needs uvicorn: pip install actors-framework[web]"
        ) from error
    return AsgiServer(
        spec,
        spec.handler,
        acknowledge=acknowledge,
        refused=refused,
        closed=closed,
        report=report,
        system=system,
        resolve=resolve,
    )
