"""What the servers of nodes say to the router of their listener, wherever that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors._remoting import listener_operations as ops
from actors.routing import Router

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._remoting.link import Link
    from actors._remoting.operation import Handlers
    from actors.routing import AnyRouter

__all__ = ["RouterRequests"]


class RouterRequests:
    """Serves them.

    Args:
        router_of: returns the router of a listener, None if there is none here.
        slot_of: returns the slot of the node at the other end of a link, None if that has ended.
    """

    def __init__(
        self,
        router_of: Callable[[str], AnyRouter | None],
        slot_of: Callable[[Link], int | None],
    ) -> None:
        self._router_of = router_of
        self._slot_of = slot_of

    def register(self, handlers: Handlers[Link]) -> None:
        """Have these operations served."""
        handlers.on_note(ops.connection_results, self._connection_results)
        handlers.on_note(ops.connection_counts, self._connection_counts)
        handlers.on_note(ops.socket_lost, self._socket_lost)
        handlers.on_note(ops.bind_keys, self._bind_keys)
        handlers.on_note(ops.key_unlearned, self._key_unlearned)

    def _connection_results(
        self,
        link: Link,
        listener: str,
        acknowledged: list[int],
        refused: list[int],
        closed: list[int],
    ) -> None:
        router = self._router_of(listener)
        if isinstance(router, Router):  # others hand nothing over
            router.on_acks(link.peer, acknowledged, refused, closed)

    def _connection_counts(self, link: Link, listener: str, open_: int, total: int) -> None:
        router = self._router_of(listener)
        if router is not None and not isinstance(router, Router):
            router.on_counts(link.peer, open_, total)

    def _socket_lost(self, link: Link, listener: str) -> None:
        router = self._router_of(listener)
        if router is not None and not isinstance(router, Router):
            router.on_socket_lost(link.peer)

    def _bind_keys(
        self, link: Link, listener: str, number: int, digests: list[bytes], client: str
    ) -> None:
        router, slot = self._router_of(listener), self._slot_of(link)
        if isinstance(router, Router) and slot is not None:
            router.bind(slot, digests, client)
            link.note(ops.keys_bound, listener, number)

    def _key_unlearned(self, link: Link, listener: str) -> None:
        router = self._router_of(listener)
        if isinstance(router, Router):
            router.on_unlearned(link.peer)
