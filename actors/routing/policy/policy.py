"""Which node gets a connection.

Rule 1: a policy is a pure function over snapshots of the nodes; it holds no state and reads no
clock. The snapshots carry what it needs to break ties.
Rule 2: a node that is not ready, or suspect, or full gets nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

from actors._known_options import known_options
from actors.routing.errors import BadListener
from actors.routing.policy.lag import lags_behind
from actors.routing.policy.rendezvous import owner
from actors.routing.policy.reuse_port import ReusePort
from actors.routing.sticky.http_keys import Cookie, Header, Path, Query
from actors.routing.sticky.keys import Chain, Ip, Key, Peeked, Proxy, Sni, sources_of
from actors.routing.sticky.parse import key_from

__all__ = [
    "LeastConnections",
    "OpaqueKey",
    "OpaquePolicy",
    "Policy",
    "PolicyName",
    "RoundRobin",
    "Snapshot",
    "Sticky",
    "is_by_load",
    "key_of",
    "node_policy",
    "policy_from",
]


class Snapshot(NamedTuple):
    """One node as a policy sees it."""

    name: str
    slot: int
    """Stable: a restarted node has the slot of the one it replaces."""
    open: int
    """Connections the node is serving."""
    pending: int
    """Connections queued for it or sent to it that it has not acknowledged yet."""
    ready: bool
    suspect: bool
    """It has not acknowledged a connection in time."""
    max_connections: int | None
    last: int = 0
    """The turn in which it was last chosen; 0 if never. Turns only grow."""
    lag: float = 0.0
    """Seconds that a connection would have waited for its loop, averaged over the last seconds."""

    @property
    def eligible(self) -> bool:
        """Whether it may get a connection now."""
        limit = self.max_connections
        room = limit is None or self.open + self.pending < limit
        return self.ready and not self.suspect and room


@runtime_checkable
class Policy(Protocol):
    """How to choose. Write your own as a frozen dataclass with this method.

    A policy that also has an attribute `key` (a `Key`, such as ``ip() | cookie("sid")``) is given
    that key of each connection; others are given None.
    """

    def choose(self, nodes: Sequence[Snapshot], key: bytes | None) -> Snapshot | None:
        """Choose one of *nodes*, or None to let the connection wait.

        Args:
            nodes: every node of the group, eligible or not, in order of slots.
            key: the connection's key; None if the policy has no key, or the connection has none.
        """
        ...


@known_options(BadListener)
@dataclass(frozen=True)
class LeastConnections:
    """The node with the fewest connections.

    Ties go to a node whose loop does not lag, then to the one that has had the fewest. The nodes accept from
    one socket themselves, each when it is its turn; one that does not react is passed over. When a node
    dies, the connections that it serves end, and one more at most: it may have accepted it and not read it.
    """

    def __str__(self) -> str:
        return "least-connections"

    def choose(self, nodes: Sequence[Snapshot], key: bytes | None) -> Snapshot | None:  # noqa: ARG002 - the interface of a policy
        """Choose the node with the fewest connections, pending ones included; see `Policy.choose`."""
        able = [node for node in nodes if node.eligible]
        least = min((node.lag for node in able), default=0.0)
        return min(
            able,
            key=lambda n: (n.open + n.pending, lags_behind(n.lag, least), n.last, n.slot),
            default=None,
        )


@known_options(BadListener)
@dataclass(frozen=True)
class RoundRobin:
    """Each node in turn, whatever its load: the one that has had the fewest connections.

    The nodes accept from one socket themselves, as under `LeastConnections`.
    """

    def __str__(self) -> str:
        return "round-robin"

    def choose(self, nodes: Sequence[Snapshot], key: bytes | None) -> Snapshot | None:  # noqa: ARG002 - the interface of a policy
        """Choose the node that was chosen longest ago; see `Policy.choose`."""
        able = [node for node in nodes if node.eligible]
        return min(able, key=lambda n: (n.last, n.slot), default=None)


_MOST_LEARNED: Final = 1 << 24


@known_options(BadListener)
@dataclass(frozen=True)
class Sticky:
    """Connections with the same key go to the same node, by rendezvous hashing over the slots.

    A restarted node keeps its keys; while it is down they go to the next slot in their order.
    *fallback* chooses for a connection without a key. Stickiness does not guarantee that only one
    node ever sees a key: for that, use an actor.

    Under `asgi()`, a cookie or a header by which a response names a new key binds that key to the node
    of the response, whatever the hash says. *learn* is how many such keys are remembered: of the
    least recently used, and of one client address the 16th part. 0 learns none.

    *across* is for nodes on several machines: "pass" has a machine pass a connection on to the one whose node
    its key belongs to, "serve" serves it where it came, by the slots of that machine alone.
    """

    key: Key
    fallback: Policy = field(default_factory=LeastConnections)
    learn: int = 65_536
    across: Literal["pass", "serve"] = "pass"

    def __post_init__(self) -> None:
        if not isinstance(self.key, Key):
            raise BadListener(
                f'Sticky needs a key such as ip(), cookie("sid") or query("room"), got {self.key!r}'
            )
        if not isinstance(self.fallback, Policy):
            raise BadListener(f"fallback must be a policy, got {self.fallback!r}")
        if isinstance(self.fallback, ReusePort):
            raise BadListener(f"fallback must choose a node, which {self.fallback} does not")
        count: object = self.learn
        if type(count) is not int or not 0 <= count <= _MOST_LEARNED:
            raise BadListener(
                f"learn must be a number of keys from 0 to {_MOST_LEARNED:,}, got {count!r}"
            )

        across: object = self.across
        if across not in {"pass", "serve"}:
            raise BadListener(f"across must be 'pass' or 'serve', got {across!r}")

    def __str__(self) -> str:
        return f"sticky={self.key}"

    def choose(self, nodes: Sequence[Snapshot], key: bytes | None) -> Snapshot | None:
        """Choose the node that *key* belongs to, by `fallback` if there is no key; see `Policy.choose`."""
        if key is None:
            return self.fallback.choose(nodes, None)
        able = {node.slot: node for node in nodes if node.eligible}
        best = owner(key, able)
        return None if best is None else able[best]


PolicyName: TypeAlias = Literal["least-connections", "round-robin", "reuse-port"]
"""The policies that have no options, as `listen` takes them and the command line writes them."""
_NAMES: Final[dict[str, Callable[[], Policy]]] = {
    "least-connections": LeastConnections,
    "round-robin": RoundRobin,
    "reuse-port": ReusePort,
}


def policy_from(text: str) -> Policy:
    """Read a policy as the command line writes it.

    Args:
        text: ``least-connections``, ``round-robin``, ``reuse-port``, or ``sticky=`` and a key, as
            `key_from` reads it.

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
    """Stands on a node for a source that only the parent can evaluate, such as a user's function."""

    def __str__(self) -> str:
        return "opaque"

    def extract(self, peeked: Peeked) -> None:  # noqa: ARG002 - the interface of a key
        """Find nothing."""
        return


@dataclass(frozen=True)
class OpaquePolicy:
    """Stands on a node for a policy that only the parent can apply, such as a user's own."""

    def __str__(self) -> str:
        return "opaque"

    def choose(self, nodes: Sequence[Snapshot], key: bytes | None) -> None:  # noqa: ARG002 - the interface of a policy
        """Choose nothing."""
        return


_SENDABLE: Final = frozenset({Cookie, Header, Ip, Path, Proxy, Query, Sni})


def node_policy(policy: Policy) -> Policy:
    """Return the part of *policy* that nodes are sent.

    Under the policies that nodes apply themselves it is the policy itself. Under `Sticky` a node does not
    choose; it needs the key to see that a later request belongs to another node. A user's own policy or
    function is not sent.
    """
    if type(policy) in (LeastConnections, RoundRobin, ReusePort):
        return policy
    if type(policy) is not Sticky:
        return OpaquePolicy()
    sources = [
        source if type(source) in _SENDABLE else OpaqueKey() for source in sources_of(policy.key)
    ]
    key = sources[0] if len(sources) == 1 else Chain(tuple(sources))
    return Sticky(key, learn=policy.learn, across=policy.across)


def is_by_load(policy: Policy) -> bool:
    """Whether *policy* chooses as `LeastConnections` does for a connection without a key."""
    if type(policy) is Sticky:
        return is_by_load(policy.fallback)
    return type(policy) is LeastConnections


def key_of(policy: Policy) -> Key | None:
    """Return the key source of *policy*, if it has one."""
    key = getattr(policy, "key", None)
    return key if isinstance(key, Key) else None
