"""The pools that one process uses: a client for each, and what the parent says about their tasks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from actors._pools.client import PoolClient
from actors._pools.facts import PoolFacts
from actors._pools.pool import Pool
from actors._pools.submitter import Loss
from actors._remoting import pool_operations as ops
from actors.transport import Extra

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._messaging.blocking_ref import ThreadPortal
    from actors._messaging.ref import Ref
    from actors._pools.places import Places
    from actors._remoting.actor_host import ActorHost

__all__ = ["PoolClients", "pool_extra"]


class PoolClients:
    """A `Submitter`: what it is told goes to the client of the pool.

    Args:
        host: of this process.
        portal: brings calls of other threads to its loop.
        places: returns a pool's queue, by the pool's number.
    """

    def __init__(
        self, host: ActorHost, portal: ThreadPortal, places: Callable[[int], Places]
    ) -> None:
        self._host = host
        self._portal = portal
        self._places = places
        self._clients: dict[int, PoolClient] = {}
        host.pools = self

    def serve(self) -> None:
        """Take what the parent says over the link; in the parent's own process it calls directly."""
        handlers = self._host.handlers
        handlers.on_note(ops.place_given, lambda _, *given: self.place_given(*given))
        handlers.on_note(ops.task_returned, lambda _, *task: self.task_returned(*task))
        handlers.on_note(
            ops.task_lost,
            lambda _, pool, ticket, why, loss: self.task_lost(pool, ticket, why, Loss(loss)),
        )
        handlers.on_note(ops.pool_room, lambda _, pool, room: self.room_changed(pool, room))
        handlers.on_note(ops.pool_draining, lambda _, pool, why: self.pool_draining(pool, why))
        handlers.on_note(ops.pool_ended, lambda _, pool, why: self.pool_ended(pool, why))

    def pool(self, fields: list[Any]) -> Pool[Any]:
        """Return the pool with these fields, as an address of this process."""
        facts = PoolFacts(*fields)
        client = self._clients.get(facts.number)
        if client is None:
            find = partial(self._host.class_of, facts.cls_path)
            client = self._clients[facts.number] = PoolClient(
                self._host,
                facts,
                self._places(facts.number),
                self._portal,
                find if facts.cls_path else _no_class,
            )
        return Pool(facts, client)

    # -- `Submitter` -------------------------------------------------------------------------

    def place_given(
        self, pool: int, ticket: int, member: Ref[Any], functions: Ref[Any], number: int
    ) -> None:
        """As `Submitter.place_given`."""
        self._clients[pool].place_given(ticket, member, functions, number)

    def task_returned(self, pool: int, ticket: int, value: Any) -> None:
        """As `Submitter.task_returned`."""
        self._clients[pool].task_returned(ticket, value)

    def task_lost(self, pool: int, ticket: int, why: str, loss: Loss) -> None:
        """As `Submitter.task_lost`."""
        self._clients[pool].task_lost(ticket, why, loss)

    def room_changed(self, pool: int, room: bool) -> None:  # noqa: FBT001 - a wire field
        """As `Submitter.room_changed`."""
        self._clients[pool].room_changed(room)

    def pool_draining(self, pool: int, why: str) -> None:
        """A pool takes no new tasks."""
        client = self._clients.get(pool)
        if client is not None:
            client.refuse_new(why)

    def pool_ended(self, pool: int, why: str) -> None:
        """A pool is over."""
        client = self._clients.pop(pool, None)
        if client is not None:
            client.pool_ended(why)


def pool_extra(host: ActorHost) -> Extra[Pool[Any]]:
    """Return how addresses of pools travel to and from a process."""
    return Extra(Pool, lambda pool: pool.facts.fields, lambda fields: host.pools.pool(fields))  # noqa: PLW0108 - it has pools later


def _no_class() -> None:
    """A pool of functions has no class."""
