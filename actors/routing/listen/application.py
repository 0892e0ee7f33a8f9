"""An application as frozen data: what is served, and by which limits.

Rule: everything is checked here, and nothing is imported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from actors._known_options import known_options
from actors.routing.errors import BadListener
from actors.routing.listen.checks import check_count, check_path, check_positive

__all__ = ["Asgi", "Interface", "Lifespan", "asgi", "wsgi"]

Lifespan: TypeAlias = Literal["auto", "on", "off"]
Interface: TypeAlias = Literal["asgi", "wsgi", "auto"]
"""How an application is called; auto asks its signature."""
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_LIFESPANS: Final = get_args(Lifespan)
_INTERFACES: Final = get_args(Interface)


@dataclass(frozen=True, kw_only=True)
class Asgi:
    """An ASGI application as data, served by asyncio nodes.

    Times are in seconds, sizes in bytes.
    """

    app: str
    """Import path, ``pkg.mod:attr``."""
    interface: Interface = "asgi"
    threads: int = 8
    """How many threads of a node run a WSGI application, each with one request at a time."""
    factory: bool = False
    """`app` is called without arguments, once per node, and returns the application."""
    lifespan: Lifespan = "auto"
    root_path: str = ""
    http2: bool = False
    """Clients may speak HTTP/2: by ALPN where there is TLS, else by beginning with it (prior knowledge)."""
    preload: bool = False
    """The module of `app` is imported once for all process nodes, which are forked from the process that
    has it: a node that was killed serves again in tens of milliseconds. Its import may leave no threads;
    what the application opens belongs into its lifespan."""
    head_timeout: float = 10.0
    """How long a client may take for a complete request head."""
    max_head: int = 64 * 1024
    """How long a request head may be."""
    body_timeout: float = 60.0
    """How long a client may pause while it sends a request body."""
    send_timeout: float = 60.0
    """After how long a client is disconnected that takes nothing of what it is sent, be it a response, an event
    stream or messages of a WebSocket (HTTP/2: that stream ends). Whatever it takes begins the time anew;
    `math.inf` is for ever."""
    keep_alive: float = 5.0
    """How long an idle connection stays open between two requests."""
    ws_ping_interval: float | None = 20.0
    ws_ping_timeout: float | None = 20.0
    ws_max_size: int = 16 * 1024 * 1024
    ws_deflate: bool = True
    """The messages of WebSockets are compressed for clients that can."""
    headers: tuple[tuple[str, str], ...] = ()
    """Headers of every response, beside those of the application."""
    date_header: bool = True
    """Responses have a Date, if the application gives none."""
    limit_concurrency: int | None = None
    """Connections of a node beyond which requests are answered 503."""
    timeout: float | None = None
    """How long a request may take, until its response is written: then it is answered 504 and cancelled,
    or disconnected if its response has begun. WebSockets and event streams have no limit."""
    slow: float | None = None
    """After so long a request that is still running is reported, with its stack: the event ``request_slow``."""
    access_log: bool = False
    """Log every request as the event ``request``; an application's own handlers of ``uvicorn.access``
    get its line in any case."""
    proxy_headers: bool = True
    """Trust X-Forwarded-For and -Proto from the addresses in `forwarded_allow_ips`."""
    forwarded_allow_ips: str | None = None
    """Addresses and networks, with commas between; ``unix`` for Unix sockets that every user may
    write to, ``*`` for everybody. None is FORWARDED_ALLOW_IPS of the environment, or
    ``127.0.0.1,::1``. Unix sockets that not every user may write to are trusted."""

    def __post_init__(self) -> None:
        check_path(self.app, "app")
        for name, known in (("lifespan", _LIFESPANS), ("interface", _INTERFACES)):
            if (value := getattr(self, name)) not in known:
                choices = f"{', '.join(known[:-1])} or {known[-1]}"
                raise BadListener(f"{name} must be {choices}, got {value!r}")
        self._check_numbers()
        for name in ("preload", "http2"):
            if type(getattr(self, name)) is not bool:
                raise BadListener(f"{name} must be True or False, got {getattr(self, name)!r}")
        allowed: object = self.forwarded_allow_ips
        if allowed is not None and not isinstance(allowed, str):
            raise BadListener(
                f'forwarded_allow_ips must be text such as "10.0.0.7,10.1.0.0/16", got {allowed!r}'
            )

    def _check_numbers(self) -> None:
        for header in self.headers:
            _check_header(header)
        for name in ("head_timeout", "body_timeout", "send_timeout", "keep_alive"):
            check_positive(name, getattr(self, name))
        for name in ("ws_ping_interval", "ws_ping_timeout", "limit_concurrency", "timeout", "slow"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))
        for name in ("max_head", "ws_max_size", "threads"):
            check_count(name, getattr(self, name))


def _check_header(header: object) -> None:
    if isinstance(header, tuple) and len(header) == 2:  # noqa: PLR2004 - a pair
        name, value = header
        text = isinstance(name, str) and isinstance(value, str)
        if text and _NAME.fullmatch(name) and _VALUE.fullmatch(value):
            return
    raise BadListener(f'headers must be pairs such as ("x-frame-options", "DENY"), got {header!r}')


@known_options(BadListener)
def asgi(
    app: str,
    *,
    factory: bool = False,
    lifespan: Lifespan = "auto",
    root_path: str = "",
    http2: bool = False,
    preload: bool = False,
    head_timeout: float = 10.0,
    max_head: int = 64 * 1024,
    body_timeout: float = 60.0,
    send_timeout: float = 60.0,
    keep_alive: float = 5.0,
    ws_ping_interval: float | None = 20.0,
    ws_ping_timeout: float | None = 20.0,
    ws_max_size: int = 16 * 1024 * 1024,
    ws_deflate: bool = True,
    headers: Sequence[tuple[str, str]] = (),
    date_header: bool = True,
    limit_concurrency: int | None = None,
    timeout: float | None = None,
    slow: float | None = None,
    access_log: bool = False,
    proxy_headers: bool = True,
    forwarded_allow_ips: str | None = None,
) -> Asgi:
    """Describe an ASGI application to be served; the options are the fields of `Asgi`.

    Raises:
        BadListener: an option is wrong; the message shows the bad value.
    """
    return Asgi(
        app=app,
        factory=factory,
        lifespan=lifespan,
        root_path=root_path,
        http2=http2,
        preload=preload,
        head_timeout=head_timeout,
        max_head=max_head,
        body_timeout=body_timeout,
        send_timeout=send_timeout,
        keep_alive=keep_alive,
        ws_ping_interval=ws_ping_interval,
        ws_ping_timeout=ws_ping_timeout,
        ws_max_size=ws_max_size,
        ws_deflate=ws_deflate,
        headers=tuple(tuple(header) for header in headers),  # type: ignore[misc] # checked there
        date_header=date_header,
        limit_concurrency=limit_concurrency,
        timeout=timeout,
        slow=slow,
        access_log=access_log,
        proxy_headers=proxy_headers,
        forwarded_allow_ips=forwarded_allow_ips,
    )


@known_options(BadListener)
def wsgi(
    app: str,
    *,
    threads: int = 8,
    factory: bool = False,
    root_path: str = "",
    http2: bool = False,
    preload: bool = False,
    head_timeout: float = 10.0,
    max_head: int = 64 * 1024,
    body_timeout: float = 60.0,
    send_timeout: float = 60.0,
    keep_alive: float = 5.0,
    headers: Sequence[tuple[str, str]] = (),
    date_header: bool = True,
    limit_concurrency: int | None = None,
    timeout: float | None = None,
    slow: float | None = None,
    access_log: bool = False,
    proxy_headers: bool = True,
    forwarded_allow_ips: str | None = None,
) -> Asgi:
    """Describe a WSGI application such as one of Flask or Django; the options are the fields of `Asgi`.

    It runs in *threads* threads of each node. ``environ["actors.system"]`` is the node's `System`; a thread
    asks actors by its `blocking`. A request that has taken too long (*timeout*) is answered, but its
    thread cannot be ended: it goes on until the application reads or writes.

    Raises:
        BadListener: an option is wrong; the message shows the bad value.
    """
    return Asgi(
        app=app,
        interface="wsgi",
        threads=threads,
        factory=factory,
        lifespan="off",
        root_path=root_path,
        http2=http2,
        preload=preload,
        head_timeout=head_timeout,
        max_head=max_head,
        body_timeout=body_timeout,
        send_timeout=send_timeout,
        keep_alive=keep_alive,
        headers=tuple(tuple(header) for header in headers),  # type: ignore[misc] # checked there
        date_header=date_header,
        limit_concurrency=limit_concurrency,
        timeout=timeout,
        slow=slow,
        access_log=access_log,
        proxy_headers=proxy_headers,
        forwarded_allow_ips=forwarded_allow_ips,
    )
