"""What routing reports upwards, as records.

Rule 1: data only; `actors._base.event_log` makes the log lines. Times are in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.routing.policy.policy import Policy

__all__ = [
    "AcceptPaused",
    "AcceptResumed",
    "Available",
    "ConnectionDropped",
    "ConnectionsRedispatched",
    "HandOverFailed",
    "HandlerFailed",
    "KeyUnlearned",
    "Listening",
    "NodeSuspect",
    "NodeTrusted",
    "PolicyFailed",
    "ProxyHeaderMissing",
    "RequestEnded",
    "RequestSlow",
    "RequestTimedOut",
    "ShutdownFailed",
    "StillStarting",
    "TlsReloadFailed",
    "TlsReloaded",
    "Unavailable",
    "WebsocketWithoutKey",
]


@dataclass(frozen=True)
class ListenerEvent:
    """Base of these records; `listener` is the listener's name."""

    listener: str


@dataclass(frozen=True)
class Listening(ListenerEvent):
    """A router listens; `beyond_loopback` without `tls` is logged as a warning.

    `nodes` is the group that serves it, `via` how its connections come to a node, `count` how many nodes there
    are at the time, where that is known.
    """

    address: str
    policy: Policy
    nodes: str
    via: str
    beyond_loopback: bool
    tls: bool = False
    count: int | None = None


@dataclass(frozen=True)
class AcceptPaused(ListenerEvent):
    """Accepting failed (for example `EMFILE`) and is retried every `seconds`; reported once."""

    errno: int
    seconds: float


class AcceptResumed(ListenerEvent):
    """Accepting works again."""


@dataclass(frozen=True)
class NodeSuspect(ListenerEvent):
    """A node has `unacknowledged` connections, the oldest for `seconds`; it gets no more."""

    node: str
    unacknowledged: int
    seconds: float


@dataclass(frozen=True)
class NodeTrusted(ListenerEvent):
    """A suspect node acknowledges again."""

    node: str


@dataclass(frozen=True)
class ConnectionsRedispatched(ListenerEvent):
    """Connections that a node died without acknowledging went to others."""

    node: str
    connections: int


@dataclass(frozen=True)
class ConnectionDropped(ListenerEvent):
    """A connection was closed because `tries` nodes died without acknowledging it."""

    tries: int


@dataclass(frozen=True)
class HandOverFailed(ListenerEvent):
    """A node could not be reached; the connection goes to another node."""

    node: str
    error: Exception


@dataclass(frozen=True)
class PolicyFailed(ListenerEvent):
    """A user's policy or key failed; reported once, and the default policy or no key is used."""

    error: Exception


@dataclass(frozen=True)
class KeyUnlearned(ListenerEvent):
    """A response of `node` with a new key was sent before the router had bound it: its client may go astray."""

    node: str


@dataclass(frozen=True)
class Unavailable(ListenerEvent):
    """No node of the group has been ready for `seconds`: clients are refused until one is."""

    nodes: str
    seconds: float


@dataclass(frozen=True)
class Available(ListenerEvent):
    """A node is ready again, or the listener ends; `refused` clients were told that there was none."""

    refused: int


@dataclass(frozen=True)
class StillStarting(ListenerEvent):
    """A node has been importing and starting the `handler` for `seconds`; reported once a start."""

    node: str
    handler: str
    seconds: float


@dataclass(frozen=True)
class ShutdownFailed(ListenerEvent):
    """The shutdown of an application raised; the node ends all the same."""

    error: Exception


@dataclass(frozen=True)
class HandlerFailed(ListenerEvent):
    """A handler raised; its connection was closed, others are not affected."""

    connection: int
    error: Exception


@dataclass(frozen=True)
class RequestTimedOut(ListenerEvent):
    """A client took longer than `seconds` for the `part` of a request ("head" or "body").

    Or it took nothing of what it was sent for so long ("response").
    """

    connection: int
    part: str
    seconds: float


@dataclass(frozen=True)
class RequestSlow(ListenerEvent):
    """A request has been running for `seconds`; `stack` is where the application is."""

    client: str
    method: str
    path: str
    seconds: float
    stack: str


@dataclass(frozen=True)
class RequestEnded(ListenerEvent):
    """A request was ended, because it took longer than `seconds`; `stack` is where the application was."""

    client: str
    method: str
    path: str
    seconds: float
    stack: str


@dataclass(frozen=True)
class ProxyHeaderMissing(ListenerEvent):
    """A connection without the expected PROXY header was closed; reported once for each node."""

    connection: int


@dataclass(frozen=True)
class TlsReloaded(ListenerEvent):
    """New connections use the certificate that is now in `certfile`."""

    certfile: str


@dataclass(frozen=True)
class TlsReloadFailed(ListenerEvent):
    """The certificate files have changed and cannot be used; the old pair stays in use."""

    certfile: str
    error: Exception


@dataclass(frozen=True)
class WebsocketWithoutKey(ListenerEvent):
    """A WebSocket was opened on a listener with several nodes and no key.

    `count` is the number of nodes, `advice` what to do.
    """

    count: int
    advice: str
