"""A pool's queue as a node reaches it: over the link to the parent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._messaging.deadlock import waiting_chain
from actors._remoting import pool_operations as ops

if TYPE_CHECKING:
    from actors._messaging.ref import Ref
    from actors._pools.figures import PoolStats
    from actors._remoting.link import Link
    from actors._remoting.operations import Chain

__all__ = ["LinkPlaces"]


class LinkPlaces:
    """The `Places` of one pool on a node."""

    def __init__(self, link: Link, pool: int) -> None:
        self._link = link
        self._pool = pool

    def enter(
        self, ticket: int, priority: int, *, again: bool, asked_by: Chain, in_line: bool
    ) -> None:
        """Have a task wait for a worker."""
        self._link.note(ops.task_queued, self._pool, ticket, priority, again, asked_by, in_line)

    def withdraw(self, ticket: int) -> None:
        """Forget a task that waits; it may have been given a place meanwhile."""
        self._link.note(ops.task_withdrawn, self._pool, ticket)

    def done(self, ticket: int, *, failed: bool, renew: str) -> None:
        """Free a place."""
        self._link.note(ops.task_done, self._pool, ticket, failed, renew)

    def undelivered(self, ticket: int, priority: int) -> None:
        """Put a task back."""
        self._link.note(ops.task_undelivered, self._pool, ticket, priority)

    def given_back(self, ticket: int, priority: int) -> None:
        """Put a task back that its worker has given back."""
        self._link.note(ops.task_given_back, self._pool, ticket, priority)

    def broken(self, ticket: int) -> None:
        """The link to the task's worker has ended."""
        self._link.note(ops.task_broken, self._pool, ticket)

    def overdue(self, ticket: int, why: str) -> None:
        """End the worker of a task that was to end."""
        self._link.note(ops.task_overdue, self._pool, ticket, why)

    async def members(self) -> list[Ref[Any]]:
        """Return the addresses of the members."""
        return await self._link.call(ops.pool_members, self._pool)

    async def stats(self) -> PoolStats:
        """Return the pool's figures."""
        stats: PoolStats = await self._link.call(ops.pool_stats, self._pool)
        return stats

    async def stop(self, *, drain: bool) -> None:
        """Stop the pool for good."""
        await self._link.call(ops.stop_pool, self._pool, drain, waiting_chain())

    async def wait(self) -> str:
        """Wait for the end of the pool; return why."""
        return await self._link.call(ops.wait_pool, self._pool, waiting_chain())

    async def resize(self, size: int) -> int:
        """Start or stop workers."""
        return await self._link.call(ops.resize_pool, self._pool, size)
