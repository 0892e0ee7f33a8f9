"""The address books that one process uses: a client for each, and what the parent says about their actors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._keyed.book import Keyed, KeyedRef, keyed_fields, keyed_ref_fields
from actors._keyed.client import KeyedClient
from actors._keyed.facts import KeyedFacts
from actors._keyed.key import key_of
from actors._remoting import directory_operations as directory
from actors.transport import Extra

if TYPE_CHECKING:
    from actors._keyed.client import KeyedOffice
    from actors._keyed.key import Key
    from actors._messaging.ref import Ref
    from actors._remoting.actor_host import ActorHost
    from actors._remoting.link import Link
    from actors._remoting.operations import Chain

__all__ = ["KeyedClients", "LinkOffice", "keyed_extra", "keyed_ref_extra"]


class KeyedClients:
    """A `Holder`: what it is told goes to the client of the book.

    Args:
        host: of this process.
        office: the parent.
    """

    def __init__(self, host: ActorHost, office: KeyedOffice) -> None:
        self._host = host
        self._office = office
        self._clients: dict[int, KeyedClient] = {}
        host.keyed = self

    def serve(self) -> None:
        """Take what the parent says over the link; in the parent's own process it calls directly."""
        handlers = self._host.handlers
        handlers.on_call(
            directory.recall_keyed,
            lambda _, book, key, uid, idle: self.recall(book, key, uid, idle=idle),
        )
        handlers.on_note(directory.keyed_gone, lambda _, book, key, uid: self.gone(book, key, uid))
        handlers.on_note(directory.keyed_ended, lambda _, book, why: self.book_ended(book, why))

    def book(self, fields: list[Any]) -> Keyed[Any, Any]:
        """Return the book with these fields, as an address of this process."""
        return Keyed(self._client(fields))

    def ref(self, fields: list[Any]) -> KeyedRef[Any]:
        """Return the address of one key with these fields."""
        book, key = fields
        return KeyedRef(self._client(book), key_of(key))

    def _client(self, fields: list[Any]) -> KeyedClient:
        facts = KeyedFacts(*fields)
        client = self._clients.get(facts.number)
        if client is None:
            client = self._clients[facts.number] = KeyedClient(self._host, facts, self._office)
        return client

    # -- `Holder` -----------------------------------------------------------------------------

    async def recall(self, book: int, key: Key, uid: int, *, idle: bool) -> bool:
        """As `Holder.recall`."""
        client = self._clients.get(book)
        return client is None or await client.recall(key, uid, idle=idle)

    def gone(self, book: int, key: Key, uid: int) -> None:
        """As `Holder.gone`."""
        client = self._clients.get(book)
        if client is not None:
            client.gone(key, uid)

    def book_ended(self, book: int, why: str) -> None:
        """As `Holder.book_ended`."""
        client = self._clients.pop(book, None)
        if client is not None:
            client.end(why)


class LinkOffice:
    """The parent, as the books of a node reach it: over the link."""

    def __init__(self, parent: Link) -> None:
        self._parent = parent

    def starting(self, _name: str) -> None:
        """As `KeyedOffice.starting`: the parent alone knows who starts with a name."""

    async def find(self, book: int, key: Key, ended: int, chain: Chain) -> Ref[Any]:
        """As `KeyedOffice.find`."""
        return await self._parent.call(directory.find_keyed, book, key, ended, chain)

    async def stop(self, book: int, key: Key, grace: float | None, chain: Chain) -> bool:
        """As `KeyedOffice.stop`."""
        return await self._parent.call(directory.stop_keyed, book, key, grace, chain)

    async def keys(self, book: int) -> list[Key]:
        """As `KeyedOffice.keys`."""
        return await self._parent.call(directory.keyed_keys, book)

    async def has(self, book: int, key: Key) -> bool:
        """As `KeyedOffice.has`."""
        return await self._parent.call(directory.has_keyed, book, key)

    async def count(self, book: int) -> int:
        """As `KeyedOffice.count`."""
        return await self._parent.call(directory.count_keyed, book)


def keyed_extra(host: ActorHost) -> Extra[Keyed[Any, Any]]:
    """Return how addresses of books travel to and from a process."""
    return Extra(Keyed, keyed_fields, lambda fields: host.keyed.book(fields))  # noqa: PLW0108 - it has them later


def keyed_ref_extra(host: ActorHost) -> Extra[KeyedRef[Any]]:
    """Return how addresses of keys travel to and from a process."""
    return Extra(KeyedRef, keyed_ref_fields, lambda fields: host.keyed.ref(fields))  # noqa: PLW0108 - as above
