"""Listeners as frozen data: what is served, where, by which nodes, shared out how.

Rule 1: everything is checked here, before anything starts; nothing is imported, resolved or bound.
Rule 2: a handler is held as its import path, because it runs on nodes.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from inspect import iscoroutinefunction, isfunction
from typing import Any, Final, Literal, TypeAlias, get_args

from actors._options import known_options

from ._address import Inet, Unix, parse_address
from ._errors import BadListener
from ._policy import LeastConnections, Policy, policy_from

__all__ = ["Asgi", "Handler", "Lifespan", "Listener", "asgi", "handler_path", "listen"]

Handler: TypeAlias = Callable[[Any], Awaitable[object]]
Lifespan: TypeAlias = Literal["auto", "on", "off"]

_PATH: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_LIFESPANS: Final = get_args(Lifespan)


@dataclass(frozen=True, kw_only=True)
class Asgi:
    """An ASGI application as data, served with uvicorn's protocols inside asyncio nodes.

    Times are in seconds, sizes in bytes.
    """

    app: str
    """Import path, ``pkg.mod:attr``."""
    factory: bool = False
    """`app` is to be called without arguments, once per node, and returns the application."""
    lifespan: Lifespan = "auto"
    root_path: str = ""
    head_timeout: float = 10.0
    """How long a client may take for a complete request head."""
    max_head: int = 64 * 1024
    """How long a request head may be."""
    body_timeout: float = 60.0
    """How long a client may send nothing of a request body that is being waited for."""
    keep_alive: float = 5.0
    """How long an idle connection is kept between two requests."""
    ws_ping_interval: float | None = 20.0
    ws_ping_timeout: float | None = 20.0
    ws_max_size: int = 16 * 1024 * 1024
    limit_concurrency: int | None = None
    """Connections of a node beyond which requests are answered 503."""
    proxy_headers: bool = True
    """Believe X-Forwarded-For and -Proto of the addresses in `forwarded_allow_ips`."""
    forwarded_allow_ips: str = "127.0.0.1,::1"

    def __post_init__(self) -> None:
        _check_path(self.app, "app")
        if self.lifespan not in _LIFESPANS:
            raise BadListener(f"lifespan must be auto, on or off, got {self.lifespan!r}")
        for name in ("head_timeout", "body_timeout", "keep_alive"):
            _check_positive(name, getattr(self, name))
        for name in ("ws_ping_interval", "ws_ping_timeout", "limit_concurrency"):
            if getattr(self, name) is not None:
                _check_positive(name, getattr(self, name))
        for name in ("max_head", "ws_max_size"):
            _check_count(name, getattr(self, name))

    @property
    def path(self) -> str:
        """The import path of what serves."""
        return self.app


@dataclass(frozen=True, kw_only=True)
class Listener:
    """One listening address and how its connections are shared out. Made by `listen`."""

    handler: str | Asgi
    """Import path of an ``async def handle(stream)``, or an ASGI application."""
    address: str
    nodes: str
    """The group of nodes that serve."""
    policy: Policy = field(default_factory=LeastConnections)
    backlog: int = 1024
    """Connections the kernel holds while the router does not accept."""
    max_pending: int = 1024
    """Accepted connections no node has taken yet, beyond which accepting stops."""
    max_connections: int | None = None
    """Connections one node serves at a time; None for no limit."""
    max_peeking: int = 1024
    """Connections whose key is being waited for, beyond which the oldest goes without."""
    name: str = ""
    """Unique in a system; the address if not given."""

    def __post_init__(self) -> None:
        if not isinstance(self.handler, Asgi):
            _check_path(self.handler, "handler")
        parse_address(self.address)
        _check_name("nodes", self.nodes)
        if isinstance(self.policy, type) or not isinstance(self.policy, Policy):
            raise BadListener(f"policy must be a policy such as RoundRobin(), got {self.policy!r}")
        for name in ("backlog", "max_pending", "max_peeking"):
            _check_count(name, getattr(self, name))
        if self.max_connections is not None:
            _check_count("max_connections", self.max_connections)
        if not self.name:  # a frozen default that depends on another field
            object.__setattr__(self, "name", self.address)

    @property
    def where(self) -> Inet | Unix:
        """The address, parsed."""
        return parse_address(self.address)

    @property
    def path(self) -> str:
        """The import path of what serves."""
        return self.handler.path if isinstance(self.handler, Asgi) else self.handler

    @property
    def beyond_loopback(self) -> bool:
        """Whether other machines can connect; there is no TLS, so this deserves a warning."""
        return self.where.beyond_loopback


@known_options
def listen(
    handler: str | Handler | Asgi,
    address: str = "127.0.0.1:8000",
    *,
    nodes: str = "web",
    policy: Policy | str | None = None,
    backlog: int = 1024,
    max_pending: int = 1024,
    max_connections: int | None = None,
    max_peeking: int = 1024,
    name: str | None = None,
) -> Listener:
    """Describe a listener.

    Args:
        handler: an ``async def handle(stream)`` of a module, its import path ``pkg.mod:attr``, or
            ``asgi("pkg:app")``.
        address: ``127.0.0.1:8000``, ``[::1]:8000`` or ``unix:/path``; port 0 lets the system
            choose.
        nodes: the group of nodes that serve.
        policy: how connections are shared out; `LeastConnections` if not given. Text as
            `policy_from` reads it will do.
        backlog: connections the kernel holds while the router does not accept.
        max_pending: accepted connections no node has taken yet, beyond which accepting stops.
        max_connections: connections one node serves at a time; None for no limit.
        max_peeking: connections whose sticky key is being waited for, beyond which the oldest is
            handed over without one.
        name: unique in a system; the address if not given.

    Raises:
        BadListener: something of this cannot be; the message shows the bad value.
    """
    chosen = policy_from(policy) if isinstance(policy, str) else policy
    return Listener(
        handler=handler if isinstance(handler, str | Asgi) else handler_path(handler),
        address=address,
        nodes=nodes,
        policy=LeastConnections() if chosen is None else chosen,
        backlog=backlog,
        max_pending=max_pending,
        max_connections=max_connections,
        max_peeking=max_peeking,
        name=name or "",
    )


@known_options
def asgi(
    app: str,
    *,
    factory: bool = False,
    lifespan: Lifespan = "auto",
    root_path: str = "",
    head_timeout: float = 10.0,
    max_head: int = 64 * 1024,
    body_timeout: float = 60.0,
    keep_alive: float = 5.0,
    ws_ping_interval: float | None = 20.0,
    ws_ping_timeout: float | None = 20.0,
    ws_max_size: int = 16 * 1024 * 1024,
    limit_concurrency: int | None = None,
    proxy_headers: bool = True,
    forwarded_allow_ips: str = "127.0.0.1,::1",
) -> Asgi:
    """Describe an ASGI application to be served; the fields of `Asgi` say what each is.

    Raises:
        BadListener: something of this cannot be; the message shows the bad value.
    """
    return Asgi(
        app=app,
        factory=factory,
        lifespan=lifespan,
        root_path=root_path,
        head_timeout=head_timeout,
        max_head=max_head,
        body_timeout=body_timeout,
        keep_alive=keep_alive,
        ws_ping_interval=ws_ping_interval,
        ws_ping_timeout=ws_ping_timeout,
        ws_max_size=ws_max_size,
        limit_concurrency=limit_concurrency,
        proxy_headers=proxy_headers,
        forwarded_allow_ips=forwarded_allow_ips,
    )


def handler_path(handler: object) -> str:
    """Return the import path of an ``async def handle(stream)`` of a module.

    Raises:
        BadListener: nodes could not import it, or it is not async.
    """
    if not isfunction(handler):
        raise BadListener(
            f'handler must be an async function, its path "pkg.mod:attr" or asgi("pkg:app"), '
            f"got {handler!r}"
        )
    name = f"{handler.__module__}:{handler.__qualname__}"
    if "<" in handler.__qualname__:
        raise BadListener(
            f"handler {name} is a lambda or inside a function: nodes cannot import it"
        )
    if not iscoroutinefunction(handler):
        raise BadListener(f"handler {name} must be async: async def {handler.__name__}(stream)")
    return name


def _check_path(path: object, what: str) -> None:
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise BadListener(f'{what} must be an import path such as "pkg.mod:attr", got {path!r}')


def _check_name(what: str, name: object) -> None:
    if not isinstance(name, str) or not name:
        raise BadListener(f"{what} must be the name of a group of nodes, got {name!r}")


def _check_positive(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise BadListener(f"{name} must be more than 0, got {value!r}")


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadListener(f"{name} must be a whole number from 1 up, got {value!r}")
