"""Routing: one port, many nodes.

In the parent a `Router` holds the listening socket of a `Listener`, accepts, lets a policy choose
a node and hands the connection's descriptor over; on the node a `Server` made by `serve` takes it.
Neither knows how the two processes are connected: see `RouterNode`.

Rule 1: other packages of `actors` import only from here.
Rule 2: policies and keys are pure; a listener is frozen data.
"""

from actors.routing.balancer.accept_router import AcceptRouter
from actors.routing.balancer.bound_router import NodeStats, RouterStats
from actors.routing.balancer.factory import AnyRouter, new_router
from actors.routing.balancer.records import Connection
from actors.routing.balancer.router import Router
from actors.routing.errors import (
    BadListener,
    HandlerNotFound,
    HandlerUnfit,
    LifespanFailed,
    ListenFailed,
    NotSticky,
    RoutingError,
)
from actors.routing.events import (
    AcceptPaused,
    AcceptResumed,
    Available,
    ConnectionDropped,
    ConnectionsRedispatched,
    HandlerFailed,
    HandOverFailed,
    KeyUnlearned,
    Listening,
    NodeSuspect,
    NodeTrusted,
    PolicyFailed,
    ProxyHeaderMissing,
    RequestEnded,
    RequestSlow,
    RequestTimedOut,
    ShutdownFailed,
    StillStarting,
    TlsReloaded,
    TlsReloadFailed,
    Unavailable,
)
from actors.routing.interfaces import (
    Acks,
    HandedOver,
    KeyBinder,
    LearningServer,
    Report,
    RouterNode,
    Server,
    SocketNode,
    SocketServer,
)
from actors.routing.listen.address import (
    Inet,
    InheritedSocket,
    Udp,
    Unix,
    beyond_loopback,
    parse_address,
)
from actors.routing.listen.application import Asgi, asgi, wsgi
from actors.routing.listen.bind import probe
from actors.routing.listen.fd_limit import nearly_full
from actors.routing.listen.inherited import inherited_names
from actors.routing.listen.listener import Listener, listen, passes_on
from actors.routing.listen.passed_socket import passed_pair
from actors.routing.listen.tls import Tls
from actors.routing.policy.bound import learns
from actors.routing.policy.policy import (
    LeastConnections,
    OpaquePolicy,
    Policy,
    PolicyName,
    RoundRobin,
    Snapshot,
    Sticky,
    node_policy,
    policy_from,
)
from actors.routing.policy.rendezvous import owner
from actors.routing.policy.reuse_port import ReusePort
from actors.routing.serving.acknowledgements import AckBatcher
from actors.routing.serving.affinity import new_owned_id
from actors.routing.serving.server import import_handler, modules_of, serve
from actors.routing.serving.udp import Reply
from actors.routing.sticky.http_head import NEED_MORE, NeedMore
from actors.routing.sticky.http_keys import cookie, header, path, query
from actors.routing.sticky.keys import Address, Key, Peeked, ip, key, proxy, sni
from actors.routing.sticky.parse import key_from
from actors.routing.sticky.proxy_protocol import proxy_header_of

__all__ = [
    "NEED_MORE",
    "AcceptPaused",
    "AcceptResumed",
    "AcceptRouter",
    "AckBatcher",
    "Acks",
    "Address",
    "AnyRouter",
    "Asgi",
    "Available",
    "BadListener",
    "Connection",
    "ConnectionDropped",
    "ConnectionsRedispatched",
    "HandOverFailed",
    "HandedOver",
    "HandlerFailed",
    "HandlerNotFound",
    "HandlerUnfit",
    "Inet",
    "InheritedSocket",
    "Key",
    "KeyBinder",
    "KeyUnlearned",
    "LearningServer",
    "LeastConnections",
    "LifespanFailed",
    "ListenFailed",
    "Listener",
    "Listening",
    "NeedMore",
    "NodeStats",
    "NodeSuspect",
    "NodeTrusted",
    "NotSticky",
    "OpaquePolicy",
    "Peeked",
    "Policy",
    "PolicyFailed",
    "PolicyName",
    "ProxyHeaderMissing",
    "Reply",
    "Report",
    "RequestEnded",
    "RequestSlow",
    "RequestTimedOut",
    "ReusePort",
    "RoundRobin",
    "Router",
    "RouterNode",
    "RouterStats",
    "RoutingError",
    "Server",
    "ShutdownFailed",
    "Snapshot",
    "SocketNode",
    "SocketServer",
    "Sticky",
    "StillStarting",
    "Tls",
    "TlsReloadFailed",
    "TlsReloaded",
    "Udp",
    "Unavailable",
    "Unix",
    "asgi",
    "beyond_loopback",
    "cookie",
    "header",
    "import_handler",
    "inherited_names",
    "ip",
    "key",
    "key_from",
    "learns",
    "listen",
    "modules_of",
    "nearly_full",
    "new_owned_id",
    "new_router",
    "node_policy",
    "owner",
    "parse_address",
    "passed_pair",
    "passes_on",
    "path",
    "policy_from",
    "probe",
    "proxy",
    "proxy_header_of",
    "query",
    "serve",
    "sni",
    "wsgi",
]
