"""Which node gets a connection.

Rule 1: a policy is a pure function over snapshots of the nodes; it holds no state and reads no
clock. What it needs to break ties, the snapshots carry.
Rule 2: a node that is not ready, suspect or full gets nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final, NamedTuple, Protocol, runtime_checkable

from actors.routing.errors import BadListener
from actors.routing.policy.kernel import KERNEL_POLICIES, ByKernel
from actors.routing.policy.lag import lags
from actors.routing.policy.rendezvous import owner
from actors.routing.sticky.http_keys import Cookie, Header, Path, Query
from actors.routing.sticky.keys import Chain, Ip, Key, Peeked, Proxy, Sni, sources_of
from actors.routing.sticky.parse import key_from

__all__ = [
    "LeastConnections",
    "OpaqueKey",
    "Policy",
    "RoundRobin",
    "Snapshot",
    "Sticky",
    "key_of",
    "policy_from",
    "told",
]


class Snapshot(NamedTuple):
    """One node as a policy sees it."""

    name: str
    slot: int
    """Stable: a restarted node has the slot of the one it replaces."""
    open: int
    """Connections the node is serving."""
    pending: int
    """Connections meant for it that it has not acknowledged yet."""
    ready: bool
    suspect: bool
    """It has not acknowledged a connection in time."""
    max_connections: int | None
    last: int = 0
    """The turn in which it was last chosen; 0 if never. Turns only grow."""
    lag: float = 0.0
    """Seconds that a connection would have waited for its loop, on the average of the last few."""

    @property
    def eligible(self) -> bool:
        """Whether it may get a connection now."""
        limit = self.max_connections
        room = limit is None or self.open + self.pending < limit
        return self.ready and not self.suspect and room


@runtime_checkable
class Policy(Protocol):
    """How to choose. Write your own as a frozen dataclass with this method.

    One that also has an attribute `key` (a `Key`, such as ``ip() | cookie("sid")``) is handed
    that key of each connection; others are handed None.
    """

    def choose(self, nodes: Sequence[Snapshot], key: bytes | None) -> Snapshot | None:
        """Choose one of *nodes*, or None to let the connection wait.

        Args:
            nodes: every node of the group, eligible or not, in order of slots.
            key: the connection's key, if the policy has one and the connection too.
        """
        ...


@dataclass(frozen=True)
class LeastConnections:
    """The node with the fewest connections.

    Among equals one whose loop does not lag behind the others' by milliseconds; among those the one
    chosen longest ago.
    """

    def __str__(self) -> str:
        return "least-connections"

    def choose(self, nodes: Sequence[Snapshot], key: bytes | None) -> Snapshot | None:  # noqa: ARG002 - balancing needs no key
        """Choose by load."""
        able = [node for node in nodes if node.eligible]
        every = [node.lag for node in able]
        return min(
            able,
            key=lambda n: (n.open + n.pending, lags(n.lag, every), n.last, n.slot),
            default=None,
        )


@dataclass(frozen=True)
class RoundRobin:
    """The node chosen longest ago, whatever it has to do."""

    def __str__(self) -> str:
        return "round-robin"

    def choose(self, nodes: Sequence[Snapshot], key: bytes | None) -> Snapshot | None:  # noqa: ARG002 - turns need no key
        """Choose by turn."""
        able = [node for node in nodes if node.eligible]
        return min(able, key=lambda n: (n.last, n.slot), default=None)


@dataclass(frozen=True)
class Sticky:
    """One key, one node: by rendezvous hashing over the slots.

    A restarted node keeps its keys; while it is away they go to the next slot in their order. A
    connection without a key goes where *fallback* says. Stickiness saves work; it does not make
    anybody the only owner of a key, which is an actor's job.
    """

    key: Key
    fallback: Policy = field(default_factory=LeastConnections)

    def __post_init__(self) -> None:
        if not isinstance(self.key, Key):
            raise BadListener(
                f'Sticky needs a key such as ip(), cookie("sid") or query("room"), got {self.key!r}'
            )
        if not isinstance(self.fallback, Policy):
            raise BadListener(f"fallback must be a policy, got {self.fallback!r}")
        if isinstance(self.fallback, ByKernel):
            raise BadListener(f"fallback must choose a node, which {self.fallback} does not")

    def __str__(self) -> str:
        return f"sticky={self.key}"

    def choose(self, nodes: Sequence[Snapshot], key: bytes | None) -> Snapshot | None:
        """Choose by key."""
        if key is None:
            return self.fallback.choose(nodes, None)
        able = {node.slot: node for node in nodes if node.eligible}
        best = owner(key, able)
        return None if best is None else able[best]


_NAMES: Final[dict[str, Callable[[], Policy]]] = {
    "least-connections": LeastConnections,
    "round-robin": RoundRobin,
    **KERNEL_POLICIES,
}


def policy_from(text: str) -> Policy:
    """Read a policy as the command line writes it.

    Args:
        text: ``least-connections``, ``round-robin``, ``reuse-port``, ``shared-listener``, or
            ``sticky=`` and a key as `key_from` reads.

    Raises:
        BadListener: no policy has that name.
    """
    kind, equals, key = text.partition("=")
    if kind == "sticky" and equals:
        return Sticky(key_from(key))
    make = _NAMES.get(text)
    if make is None:
        close = get_close_matches(kind, ["sticky=ip", *_NAMES], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise BadListener(f"a policy is {', '.join(_NAMES)} or sticky=KEY, got {text!r}{hint}")
    return make()


@dataclass(frozen=True)
class OpaqueKey(Key):
    """Stands on a node for a source that only the parent can ask: a user's function, a user's class."""

    def __str__(self) -> str:
        return "untold"

    def extract(self, peeked: Peeked) -> None:  # noqa: ARG002 - there is nobody to ask
        """Find nothing."""
        return


_TOLD: Final = frozenset({Cookie, Header, Ip, Path, Proxy, Query, Sni})


def told(policy: Policy) -> Policy:
    """Return what a node is told of *policy*: how keys are read, if it is `Sticky`.

    A node does not choose; it needs the key to see that a later request belongs elsewhere. A user's
    own policy or function need not travel.
    """
    if isinstance(policy, ByKernel):
        return policy
    if type(policy) is not Sticky:
        return LeastConnections()
    sources = [
        source if type(source) in _TOLD else OpaqueKey() for source in sources_of(policy.key)
    ]
    return Sticky(sources[0] if len(sources) == 1 else Chain(tuple(sources)))


def key_of(policy: Policy) -> Key | None:
    """Return the key source of *policy*, if it has one."""
    key = getattr(policy, "key", None)
    return key if isinstance(key, Key) else None
