"""Routing: one port, many nodes.

In the parent a `Router` holds the listening socket of a `Listener`, accepts, lets a policy choose
a node and hands the connection's descriptor over; on the node a `Server` made by `serve` takes it.
Neither knows how the two are connected: see `RouterNode`.

Rule 1: this facade is all that other floors import.
Rule 2: policies and keys are pure; a listener is frozen data.
"""

from actors.routing.balancer.factory import AnyRouter, new_router
from actors.routing.balancer.router import NodeStats, Router, RouterStats
from actors.routing.errors import (
    BadListener,
    HandlerNotFound,
    HandlerUnfit,
    LifespanFailed,
    ListenFailed,
    RoutingError,
)
from actors.routing.events import (
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
from actors.routing.interfaces import (
    HandedOver,
    KernelNode,
    NodeLoop,
    Report,
    RouterLoop,
    RouterNode,
    ServerLoop,
)
from actors.routing.listen.bind import probe
from actors.routing.listen.fd_limit import nearly_full
from actors.routing.listen.listener import Asgi, Listener, asgi, listen
from actors.routing.listen.tls import Tls
from actors.routing.policy.kernel import ByKernel, ReusePort, SharedListener
from actors.routing.policy.policy import (
    LeastConnections,
    Policy,
    RoundRobin,
    Snapshot,
    Sticky,
    policy_from,
    told,
)
from actors.routing.policy.rendezvous import owner, rank
from actors.routing.serving.acknowledgements import AckBatcher
from actors.routing.serving.server import Server, SocketServer, import_handler, modules_of, serve
from actors.routing.serving.udp import Reply
from actors.routing.sticky.http_head import NEED_MORE, NeedMore
from actors.routing.sticky.http_keys import cookie, header, path, query
from actors.routing.sticky.keys import Address, Key, Peeked, ip, key, proxy, sni
from actors.routing.sticky.parse import key_from

__all__ = [
    "NEED_MORE",
    "AcceptPaused",
    "AcceptResumed",
    "AckBatcher",
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
    "KernelNode",
    "Key",
    "LeastConnections",
    "LifespanFailed",
    "ListenFailed",
    "Listener",
    "Listening",
    "NeedMore",
    "NodeLoop",
    "NodeStats",
    "NodeSuspect",
    "NodeTrusted",
    "Peeked",
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
    "RouterLoop",
    "RouterNode",
    "RouterStats",
    "RoutingError",
    "Server",
    "ServerLoop",
    "SharedListener",
    "Snapshot",
    "SocketServer",
    "Sticky",
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
