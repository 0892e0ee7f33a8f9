"""Facts that routing reports upwards.

Rule 1: frozen records without words; `actors._base.log` words them. Times are in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.routing.policy.policy import Policy

__all__ = [
    "AcceptPaused",
    "AcceptResumed",
    "Dropped",
    "HandOverFailed",
    "HandlerFailed",
    "Listening",
    "NodeSuspect",
    "NodeTrusted",
    "PolicyFailed",
    "ProxyHeaderMissing",
    "Redispatched",
    "RequestTimedOut",
    "TlsReloadFailed",
    "TlsReloaded",
]


@dataclass(frozen=True)
class Listening:
    """A router listens; `beyond_loopback` without TLS deserves a loud warning."""

    listener: str
    address: str
    policy: Policy
    nodes: str
    beyond_loopback: bool
    tls: bool = False


@dataclass(frozen=True)
class AcceptPaused:
    """Accepting failed (`EMFILE` and such) and is tried again every `seconds`; told once."""

    listener: str
    errno: int
    seconds: float


@dataclass(frozen=True)
class AcceptResumed:
    """Accepting works again."""

    listener: str


@dataclass(frozen=True)
class NodeSuspect:
    """A node has `unacknowledged` connections, the oldest for `seconds`; it gets no more."""

    listener: str
    node: str
    unacknowledged: int
    seconds: float


@dataclass(frozen=True)
class NodeTrusted:
    """A suspect node acknowledges again."""

    listener: str
    node: str


@dataclass(frozen=True)
class Redispatched:
    """Connections that a node died without acknowledging went to others."""

    listener: str
    node: str
    connections: int


@dataclass(frozen=True)
class Dropped:
    """A connection was closed because `tries` nodes died without acknowledging it."""

    listener: str
    tries: int


@dataclass(frozen=True)
class HandOverFailed:
    """A node could not be reached; the connection goes to another."""

    listener: str
    node: str
    error: Exception


@dataclass(frozen=True)
class PolicyFailed:
    """A policy or key of the user raised or chose nonsense; told once, the default served."""

    listener: str
    error: Exception


@dataclass(frozen=True)
class HandlerFailed:
    """A handler raised; its connection was closed, others are not touched."""

    listener: str
    connection: int
    error: Exception


@dataclass(frozen=True)
class RequestTimedOut:
    """A client took too long; `part` is "head" or "body"."""

    listener: str
    connection: int
    part: str
    seconds: float


@dataclass(frozen=True)
class ProxyHeaderMissing:
    """A connection without the PROXY header its listener expects was closed; told once a node."""

    listener: str
    connection: int


@dataclass(frozen=True)
class TlsReloaded:
    """New connections get the certificate that is now in `certfile`."""

    listener: str
    certfile: str


@dataclass(frozen=True)
class TlsReloadFailed:
    """The certificate files have changed and cannot be used; the pair before stays in use."""

    listener: str
    certfile: str
    error: Exception
