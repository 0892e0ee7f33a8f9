"""Sticky keys on a node: does a later request belong here, and which cookie value would?

Rule 1: pure. The node uses the same key and the same hash as the router.
Rule 2: a node that does not know its slot, or cannot evaluate every source of the key, treats every
request as its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Final

from actors.routing.policy.policy import OpaqueKey
from actors.routing.policy.rendezvous import owner
from actors.routing.sticky.http_head import HEAD_LIMIT
from actors.routing.sticky.http_keys import Cookie
from actors.routing.sticky.keys import Address, Key, Peeked, sources_of

__all__ = ["Affinity"]

_TRIES: Final = 64
"""Values tried for each slot; the probability that none of them fits is below 1e-27."""


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
        return isinstance(found, bytes) and owner(found, self._live) != self._slot

    def new_cookie_value(self) -> str:
        """Return a new cookie value that belongs to this node."""
        value = self._random_value()
        if self._slot in self._every:
            for _ in range(_TRIES * len(self._every)):
                if owner(value.encode(), self._every) == self._slot:
                    break
                value = self._random_value()
        return value
