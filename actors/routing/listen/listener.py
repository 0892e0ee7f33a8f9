"""Listeners as frozen data: what is served, where, by which nodes, distributed how.

Rule 1: everything is checked here, before anything starts; nothing is imported, resolved or bound.
Certificate files are read, to check that they can be used.
Rule 2: a handler is stored as its import path, because it runs on nodes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from inspect import iscoroutinefunction, isfunction
from typing import Final, TypeAlias

from actors._known_options import known_options
from actors.routing.errors import BadListener
from actors.routing.listen.address import Inet, InheritedSocket, Udp, Unix, Where, parse_address
from actors.routing.listen.application import Asgi
from actors.routing.listen.checks import check_count, check_path, check_positive
from actors.routing.listen.tls import ClientCerts, Tls, checked_tls
from actors.routing.policy.policy import (
    LeastConnections,
    Policy,
    PolicyName,
    Sticky,
    key_of,
    policy_from,
)
from actors.routing.policy.reuse_port import ReusePort
from actors.routing.sticky.datagram_source import Source
from actors.routing.sticky.http_keys import Cookie
from actors.routing.sticky.keys import Proxy, sources_of

__all__ = ["Handler", "Listener", "handler_path", "listen", "passes_on"]


def passes_on(spec: Listener) -> bool:
    """Return whether a connection of this listener may be passed on to another machine, by its key."""
    return (
        type(spec.policy) is Sticky
        and spec.policy.across == "pass"
        and isinstance(spec.where, Inet)
    )


Handler: TypeAlias = Callable[..., Awaitable[object]]

_ALL: Final = 0o777


@dataclass(frozen=True, kw_only=True)
class Listener:
    """One listening address and how its connections are distributed: the arguments of `listen`."""

    handler: str | Asgi
    address: str
    nodes: str
    policy: Policy = field(default_factory=LeastConnections)
    backlog: int = 1024
    max_pending: int = 1024
    max_connections: int | tuple[int, ...] | None = None
    max_peeking: int = 1024
    tls: Tls | None = None
    proxy_protocol: bool = False
    unavailable_after: float = 5.0
    uds_permissions: int | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.handler, Asgi):
            check_path(self.handler, "handler")
        parse_address(self.address)
        group: object = self.nodes
        if not isinstance(group, str) or not group:
            raise BadListener(f"nodes must be the name of a group of nodes, got {group!r}")
        if isinstance(self.policy, type) or not isinstance(self.policy, Policy):
            raise BadListener(f"policy must be a policy such as RoundRobin(), got {self.policy!r}")
        for name in ("backlog", "max_pending", "max_peeking"):
            check_count(name, getattr(self, name))
        check_positive("unavailable_after", self.unavailable_after)
        _check_limits(self.max_connections)
        _check_key(self)
        _check_address_kind(self)
        if not self.name:  # a default that depends on another field of a frozen class
            object.__setattr__(self, "name", self.address)

    @property
    def where(self) -> Where:
        """The address, parsed."""
        return parse_address(self.address)

    @property
    def port(self) -> int:
        """The TCP port; 0 if it has none, or the system chooses it."""
        where = self.where
        return where.port if isinstance(where, Inet) else 0

    def limit(self, slot: int) -> int | None:
        """Return how many connections the node of *slot* serves at a time; None for no limit."""
        limits = self.max_connections
        return limits[min(slot, len(limits) - 1)] if isinstance(limits, tuple) else limits

    @property
    def path(self) -> str:
        """The import path of the handler or application."""
        return self.handler.app if isinstance(self.handler, Asgi) else self.handler

    @property
    def preloaded(self) -> str:
        """The module that its nodes are forked with; "" for none."""
        preload = isinstance(self.handler, Asgi) and self.handler.preload
        return self.path.partition(":")[0] if preload else ""


@known_options(BadListener)
def listen(
    handler: str | Handler | Asgi,
    address: str = "127.0.0.1:8000",
    *,
    nodes: str = "web",
    policy: Policy | PolicyName | None = None,
    backlog: int = 1024,
    max_pending: int = 1024,
    max_connections: int | Sequence[int] | None = None,
    max_peeking: int = 1024,
    certfile: str | None = None,
    keyfile: str | None = None,
    keyfile_password: str | None = None,
    handshake_timeout: float = 10.0,
    client_ca: str | None = None,
    client_certs: ClientCerts = "required",
    ciphers: str | None = None,
    proxy_protocol: bool = False,
    unavailable_after: float = 5.0,
    uds_permissions: int | None = None,
    name: str | None = None,
) -> Listener:
    """Describe a listener.

    Args:
        handler: an ``async def handle(stream)`` of a module, its import path ``pkg.mod:attr``, or
            ``asgi("pkg:app")``; for UDP an ``async def handle(datagram, reply)``, which answers by
            ``await reply(data)``.
        address: ``127.0.0.1:8000``, ``[::1]:8000``, ``[::]:8000`` for IPv6 and IPv4 or
            ``unix:/path``; port 0 lets the system choose. ``fd://3`` or ``fd://NAME`` is a
            listening socket that this process inherited (LISTEN_FDS, LISTEN_FDNAMES);
            ``udp://127.0.0.1:5353`` is for datagrams.
        nodes: the group of nodes that serve.
        policy: how connections are distributed; `LeastConnections` if not given. The name of one that
            has no options will do; another is made, such as ``Sticky(keys.cookie("sid"))``. Datagrams
            need a policy with a key such as `Sticky`; the default key is the sender's address and port.
        backlog: connections the kernel queues while nobody accepts.
        max_pending: under `Sticky` and policies of your own, accepted connections that no node has
            taken yet; at this number accepting stops. For UDP: datagrams that one node handles at a time.
        max_connections: connections one node serves at a time, or one number for each slot, the
            last of which applies to all later slots. When all nodes are full clients wait in the
            backlog. None for no limit.
        max_peeking: connections whose sticky key is awaited; beyond this number the oldest is
            routed without a key.
        certfile: a PEM file with the certificate and the intermediate ones: connections are TLS 1.2
            or newer, the nodes do the handshake, and replaced files are used for new connections
            about a second later. None for no TLS.
        keyfile: a PEM file with the private key; `certfile` if not given.
        keyfile_password: the password of an encrypted key.
        handshake_timeout: seconds a client may take for the handshake.
        client_ca: a PEM file with authorities: a client without a certificate of one of them is
            disconnected in the handshake.
        client_certs: "required", or "optional": clients without any certificate are served, too.
        ciphers: the ciphers of TLS 1.2, as OpenSSL names them; OpenSSL's own if not given.
        proxy_protocol: a proxy in front begins every connection with a PROXY header, version 1 or
            2. The header is removed, and keys, handlers and applications see the client that it
            names. A connection without one is closed. Any client that can reach the address can
            pretend to be another, so only the proxy may be able to reach it.
        unavailable_after: seconds without any ready node after which clients wait no longer: those of
            asgi() without TLS are answered 503, others are disconnected, until a node is ready.
            ``math.inf`` lets them wait.
        uds_permissions: the mode of the Unix socket, such as ``0o660``; None keeps that of a socket
            that is there already, or is 0o666: every user may connect.
        name: unique in a system; the address if not given.

    Raises:
        BadListener: an option is wrong; the message shows the bad value.
    """
    chosen = policy_from(policy) if isinstance(policy, str) else policy
    limits = max_connections
    return Listener(
        handler=handler if isinstance(handler, str | Asgi) else handler_path(handler),
        address=address,
        nodes=nodes,
        policy=_default_policy(address) if chosen is None else chosen,
        backlog=backlog,
        max_pending=max_pending,
        max_connections=tuple(limits) if isinstance(limits, Sequence) else limits,
        max_peeking=max_peeking,
        tls=checked_tls(
            certfile,
            keyfile,
            keyfile_password,
            handshake_timeout,
            client_ca=client_ca,
            client_certs=client_certs,
            ciphers=ciphers,
        ),
        proxy_protocol=proxy_protocol,
        unavailable_after=unavailable_after,
        uds_permissions=uds_permissions,
        name=name or "",
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


def _check_key(spec: Listener) -> None:
    """Refuse keys that no client of this listener can send."""
    if spec.tls is not None:
        check_positive("handshake_timeout", spec.tls.handshake_timeout)
    key = key_of(spec.policy)
    web = isinstance(spec.handler, Asgi)
    for source in () if key is None else sources_of(key):
        if source.layer == "http" and spec.tls is not None:
            raise BadListener(
                f"the sticky key {source} of {spec.address} is encrypted by TLS, so the router cannot "
                f"read it: use sni() or ip(), or terminate TLS in a proxy"
            )
        if source.layer == "http" and isinstance(spec.handler, Asgi) and spec.handler.http2:
            raise BadListener(
                f"the sticky key {source} of {spec.path!r} is compressed by HTTP/2, so the router cannot "
                f"read it: use ip() or sni(), or serve HTTP/1.1 alone"
            )
        if source.layer == "tls" and spec.tls is None:
            raise BadListener(
                f"the sticky key {source} needs TLS, and {spec.address} has no certfile"
            )
        if isinstance(source, Cookie) and source.set and not (web and type(spec.policy) is Sticky):
            raise BadListener(
                f"the sticky key {source} sets a cookie, which only asgi() under Sticky does, "
                f"got {spec.path!r} under {spec.policy}"
            )
        if isinstance(source, Proxy) and web and not spec.proxy_protocol:
            raise BadListener(
                f"the sticky key {source} under asgi() needs proxy_protocol=True on "
                f"{spec.address}, or the application would read the header as HTTP"
            )


def _default_policy(address: str) -> Policy:
    return Sticky(Source()) if isinstance(parse_address(address), Udp) else LeastConnections()


def _check_address_kind(spec: Listener) -> None:
    """Refuse policies and options that do not work with this kind of address."""
    where, policy = spec.where, spec.policy
    mode: object = spec.uds_permissions
    if mode is not None and not (type(mode) is int and 0 <= mode <= _ALL):
        raise BadListener(f"uds_permissions must be a mode such as 0o660, got {mode!r}")
    if mode is not None and not isinstance(where, Unix):
        raise BadListener(f"uds_permissions are for a Unix address, got {spec.address!r}")
    if isinstance(policy, ReusePort) and isinstance(where, Unix | InheritedSocket):
        raise BadListener(f"{policy} binds one TCP socket for each node, got {spec.address!r}")
    if not isinstance(where, Udp):
        return
    for_connections = {
        "asgi()": isinstance(spec.handler, Asgi),
        "max_connections": spec.max_connections is not None,
        "proxy_protocol": spec.proxy_protocol,
        "a certificate": spec.tls is not None,
        f"the policy {policy}": isinstance(policy, ReusePort) or key_of(policy) is None,
    }
    for what in (what for what, used in for_connections.items() if used):
        raise BadListener(f"{what} is for connections, and {spec.address!r} has datagrams")


def _check_limits(limits: object) -> None:
    for limit in limits if isinstance(limits, tuple) else (limits,):
        if limit is not None or limits is not None:
            check_count("max_connections", limit)
    if limits == ():
        raise BadListener("max_connections needs a number for the first slot, got ()")
