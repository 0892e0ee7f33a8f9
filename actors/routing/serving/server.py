"""Makes the server of a listener on a node, and imports its handler.

Rule 1: one interface for every kind of handler: `start`, `take`, `drain`, `stop`.
Rule 2: a handler is imported on the node and nowhere else.
Rule 3: each connection is acknowledged or refused at once; each acknowledged one is reported closed
exactly once.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Any

from actors._base.loop import Loop
from actors._base.slow_imports import timed_import
from actors.routing.errors import HandlerNotFound, HandlerUnfit
from actors.routing.interfaces import Acks, KeyBinder, Report, Server
from actors.routing.listen.address import Udp
from actors.routing.listen.application import Asgi
from actors.routing.listen.listener import Listener
from actors.routing.policy.reuse_port import ReusePort
from actors.routing.policy.turn import accepts_in_nodes
from actors.routing.serving.self_accepting import SelfAcceptingServer
from actors.routing.serving.stream import StreamServer
from actors.routing.serving.udp import DatagramServer

__all__ = ["import_handler", "modules_of", "serve"]


def import_handler(path: str) -> Any:
    """Import ``pkg.mod:attr``.

    Raises:
        HandlerNotFound: there is no such module or attribute, or the module raised.
    """
    module_name, _, attribute = path.partition(":")
    try:
        found: Any = timed_import(module_name)
    except (Exception, SystemExit) as error:  # a script that exits on import must not end the node
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
    """Return what to do about a module that runs a program when it is imported."""
    if isinstance(error, SystemExit) or "event loop" in str(error):
        return "; what runs a program belongs under `if __name__ == '__main__'`"
    return ""


def modules_of(spec: Listener) -> tuple[str, ...]:
    """Return the modules that `serve` imports for *spec*, for a process that imports them beforehand."""
    return ("actors.routing.serving.asgi",) if isinstance(spec.handler, Asgi) else ()


def serve(
    spec: Listener,
    loop: Loop,
    acks: Acks,
    *,
    report: Report,
    counted: Callable[[int, int], object] = lambda _open, _total: None,
    system: object = None,
    resolve: Callable[[str], Any] = import_handler,
    binder: KeyBinder | None = None,
    middleware: Callable[[Any], Any] | None = None,
) -> Server:
    """Make the server of *spec* for this node; nothing starts before its `start`.

    If nodes take their work from a socket (UDP, or they accept for themselves) it is a `SocketServer`.

    Args:
        spec: the listener.
        loop: the node's event loop.
        acks: called for each connection that was handed over.
        report: takes the records of `actors.routing.events`; must not raise.
        counted: called by a `SocketServer` with how much work is open and how much there was.
        system: what ASGI applications find as ``request.state.actors``.
        resolve: imports a path; nodes know `__main__` under another name.
        binder: binds the sticky keys that an application makes; None to bind none.
        middleware: wraps an ASGI application; None leaves it as it is.

    Raises:
        HandlerUnfit: it is an ASGI application and the extra ``web`` is not installed.
    """
    if isinstance(spec.where, Udp):
        return DatagramServer(spec, loop, acks, counted=counted, report=report, resolve=resolve)
    make = partial(
        _connection_server,
        spec,
        loop,
        report=report,
        system=system,
        resolve=resolve,
        binder=binder,
        middleware=middleware,
    )
    if isinstance(spec.policy, ReusePort) or accepts_in_nodes(spec.policy):
        return SelfAcceptingServer(make, spec, loop, counted=counted, report=report)
    return make(acks)


def _connection_server(
    spec: Listener,
    loop: Loop,
    acks: Acks,
    *,
    report: Report,
    system: object,
    resolve: Callable[[str], Any],
    binder: KeyBinder | None,
    middleware: Callable[[Any], Any] | None,
) -> Server:
    """Make the server of connections, whether the parent or this node accepts them."""
    if not isinstance(spec.handler, Asgi):
        return StreamServer(spec, loop, acks, report=report, resolve=resolve)
    try:
        from actors.routing.serving.asgi import AsgiServer  # noqa: PLC0415 - httptools and websockets are optional
    except ImportError as error:
        raise HandlerUnfit(
            spec.path, f"asgi() needs {error.name}: pip install 'actors-framework[web]'"
        ) from error
    return AsgiServer(
        spec,
        spec.handler,
        acks,
        report=report,
        system=system,
        resolve=resolve,
        binder=binder,
        middleware=middleware,
    )
