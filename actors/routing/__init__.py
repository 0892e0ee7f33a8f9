"""Routing: one port, many nodes.

In the parent a `Router` holds the listening socket of a `Listener`, accepts, lets a policy choose
a node and hands the connection's descriptor over; on the node a `Server` made by `serve` takes it.
Neither knows how the two are connected: see `Place`.

Rule 1: this facade is all that other floors import.
Rule 2: policies and keys are pure; a listener is frozen data.
"""

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
    Redispatched,
    RequestTimedOut,
)
from ._keys import Address, Key, Peeked, cookie, ip, key_from, query
from ._listener import Asgi, Listener, asgi, listen
from ._policy import LeastConnections, Policy, RoundRobin, Snapshot, Sticky, policy_from
from ._protocols import Loop, Place, Report, ServerLoop
from ._rendezvous import owner, rank
from ._router import PlaceStats, Router, RouterStats
from ._server import Server, import_handler, modules_of, serve

__all__ = [
    "AcceptPaused",
    "AcceptResumed",
    "Address",
    "Asgi",
    "BadListener",
    "Dropped",
    "HandOverFailed",
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
    "NodeSuspect",
    "NodeTrusted",
    "Peeked",
    "Place",
    "PlaceStats",
    "Policy",
    "PolicyFailed",
    "Redispatched",
    "Report",
    "RequestTimedOut",
    "RoundRobin",
    "Router",
    "RouterStats",
    "RoutingError",
    "Server",
    "ServerLoop",
    "Snapshot",
    "Sticky",
    "asgi",
    "cookie",
    "import_handler",
    "ip",
    "key_from",
    "listen",
    "modules_of",
    "owner",
    "policy_from",
    "query",
    "rank",
    "serve",
]
