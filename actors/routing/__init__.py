"""Routing: one port, many nodes.

In the parent a `Router` holds the listening socket of a `Listener`, accepts, lets a policy choose
a node and hands the connection's descriptor over; on the node a `Server` made by `serve` takes it.
Neither knows how the two are connected: see `Place`.

Rule 1: this facade is all that other floors import.
Rule 2: policies and keys are pure; a listener is frozen data.
"""

from ._bind import probe
from ._descriptors import nearly_full
from ._errors import (
    BadListener,
    HandlerNotFound,
    HandlerUnfit,
    LifespanFailed,
    ListenFailed,
    RoutingError,
)
from ._events import (
    AcceptPaused,
    AcceptResumed,
    Dropped,
    HandlerFailed,
    HandOverFailed,
    Listening,
    NodeSuspect,
    NodeTrusted,
    PolicyFailed,
    ProxyHeaderMissing,
    Redispatched,
    RequestTimedOut,
    TlsReloaded,
    TlsReloadFailed,
)
from ._head import NEED_MORE, NeedMore
from ._http_keys import cookie, header, path, query
from ._kernel import ByKernel, ReusePort, SharedListener
from ._key_text import key_from
from ._keys import Address, Key, Peeked, ip, key, proxy, sni
from ._listener import Asgi, Listener, asgi, listen
from ._policy import LeastConnections, Policy, RoundRobin, Snapshot, Sticky, policy_from, told
from ._protocols import HandedOver, Loop, NodeLoop, Place, Report, Seat, ServerLoop
from ._rendezvous import owner, rank
from ._router import PlaceStats, Router, RouterStats
from ._routers import AnyRouter, new_router
from ._server import Seated, Server, import_handler, modules_of, serve
from ._telling import Telling
from ._tls import Tls
from ._udp_server import Reply

__all__ = [
    "NEED_MORE",
    "AcceptPaused",
    "AcceptResumed",
    "Address",
    "AnyRouter",
    "Asgi",
    "BadListener",
    "ByKernel",
    "Dropped",
    "HandOverFailed",
    "HandedOver",
    "HandlerFailed",
    "HandlerNotFound",
    "HandlerUnfit",
    "Key",
    "LeastConnections",
    "LifespanFailed",
    "ListenFailed",
    "Listener",
    "Listening",
    "Loop",
    "NeedMore",
    "NodeLoop",
    "NodeSuspect",
    "NodeTrusted",
    "Peeked",
    "Place",
    "PlaceStats",
    "Policy",
    "PolicyFailed",
    "ProxyHeaderMissing",
    "Redispatched",
    "Reply",
    "Report",
    "RequestTimedOut",
    "ReusePort",
    "RoundRobin",
    "Router",
    "RouterStats",
    "RoutingError",
    "Seat",
    "Seated",
    "Server",
    "ServerLoop",
    "SharedListener",
    "Snapshot",
    "Sticky",
    "Telling",
    "Tls",
    "TlsReloadFailed",
    "TlsReloaded",
    "asgi",
    "cookie",
    "header",
    "import_handler",
    "ip",
    "key",
    "key_from",
    "listen",
    "modules_of",
    "nearly_full",
    "new_router",
    "owner",
    "path",
    "policy_from",
    "probe",
    "proxy",
    "query",
    "rank",
    "serve",
    "sni",
    "told",
]
