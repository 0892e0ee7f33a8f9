"""Sticky keys on a node: does a later request belong here, and which new keys would, or have to be bound?

Rule 1: pure, but for the bindings, which are read. The node uses the same key, the same hash and the same
bindings as the router.
Rule 2: a node that does not know its slot, or cannot evaluate every source of the key, treats every
request as its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from actors.routing.policy.policy import OpaqueKey
from actors.routing.policy.rendezvous import owner
from actors.routing.sticky.bindings import SharedBindings, digest_of
from actors.routing.sticky.http_head import HEAD_LIMIT
from actors.routing.sticky.http_keys import Cookie, Header
from actors.routing.sticky.keys import Address, Key, Peeked, sources_of

__all__ = ["Affinity", "new_owned_id"]

_TRIES: Final = 64
"""Values tried for each slot; the probability that none of them fits is below 1e-27."""


def new_owned_id(
    slot: int | None,
    every: Sequence[int],
    random_value: Callable[[], str] = lambda: secrets.token_urlsafe(16),
) -> str:
    """Return a new id that belongs to *slot* of *every* slot by the hash; any if *slot* is none of them."""
    value = random_value()
    if slot in every:
        for _ in range(_TRIES * len(every)):
            if owner(value.encode(), every) == slot:
                break
            value = random_value()
    return value


class Affinity:
    """Which keys belong to one node of a sticky listener.

    Args:
        key: where keys come from, as `node_policy` gives it to nodes.
        random_value: makes new cookie values.
    """

    def __init__(
        self, key: Key, *, random_value: Callable[[], str] = lambda: secrets.token_urlsafe(16)
    ) -> None:
        sources = sources_of(key)
        known = not any(isinstance(source, OpaqueKey) for source in sources)
        self._key = key
        self._random_value = random_value
        self._per_request = known and any(source.layer == "http" for source in sources)
        self._slot: int | None = None
        self._live: tuple[int, ...] = ()
        self._every: tuple[int, ...] = ()
        self.cookies: tuple[str, ...] = tuple(
            source.name for source in sources if isinstance(source, Cookie) and source.set
        )
        """Names of the cookies to set for clients that have none."""
        self.learned: tuple[Cookie | Header, ...] = tuple(
            source for source in sources if isinstance(source, Cookie | Header)
        )
        """Keys that a response may name."""
        self._bindings: SharedBindings | None = None

    def slots_changed(self, slot: int, live: Sequence[int], every: Sequence[int]) -> None:
        """Set the slots that share the listener; see `Server.slots_changed`."""
        self._slot, self._live, self._every = slot, tuple(live), tuple(every)

    @property
    def per_request(self) -> bool:
        """Whether a later request of a connection may belong to another node."""
        return self._per_request and len(self._live) > 1 and self._slot in self._live

    def belongs_elsewhere(self, head: bytes, client: Address, proxied: Address) -> bool:
        """Whether the request with this head belongs to another node than this one.

        Args:
            head: the request's complete head.
            client: the client's address.
            proxied: the client's address if a PROXY header named it.
        """
        if not self.per_request:
            return False
        peeked = Peeked(head[:HEAD_LIMIT], client, complete=True, proxied=proxied)
        found = self._key.extract(peeked)
        if not isinstance(found, bytes):
            return False
        bound = None if self._bindings is None else self._bindings.slot_of(digest_of(found))
        return (bound if bound in self._live else owner(found, self._live)) != self._slot

    def attach_bindings(self, fd: int) -> None:
        """Read from *fd* which slot has made which key; see `LearningServer.attach_bindings`."""
        before, self._bindings = self._bindings, SharedBindings(fd)
        if before is not None:
            before.close()

    def close(self) -> None:
        """Give the memory of the bindings back."""
        before, self._bindings = self._bindings, None
        if before is not None:
            before.close()

    def to_bind(self, keys: Iterable[bytes]) -> list[bytes]:
        """Return the digests of those of *keys*, made here, that the router would take to another node."""
        slot, every, bindings = self._slot, self._every, self._bindings
        if slot not in every or len(every) == 1:
            return []
        found = []
        for key in keys:
            digest = digest_of(key)
            bound = None if bindings is None else bindings.slot_of(digest)
            if (owner(key, every) if bound is None else bound) != slot:
                found.append(digest)
        return found

    def new_cookie_value(self) -> str:
        """Return a new cookie value that belongs to this node."""
        return new_owned_id(self._slot, self._every, self._random_value)
