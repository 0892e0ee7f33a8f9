"""Pools: tasks that wait in one queue, and workers that take the next one as soon as they are free."""

from actors._pools.blocking_pool import BlockingPool
from actors._pools.clients import PoolClients, pool_extra
from actors._pools.facts import PoolFacts
from actors._pools.figures import Durations, PoolStats, WorkerStats
from actors._pools.function_worker import FunctionWorker, refuse_function
from actors._pools.link_places import LinkPlaces
from actors._pools.pool import Pool
from actors._pools.queue import Loss, PoolQueue, PoolWorker, Submitter
from actors._pools.sizing import clamped, grown, shrunk

__all__ = [
    "BlockingPool",
    "Durations",
    "FunctionWorker",
    "LinkPlaces",
    "Loss",
    "Pool",
    "PoolClients",
    "PoolFacts",
    "PoolQueue",
    "PoolStats",
    "PoolWorker",
    "Submitter",
    "WorkerStats",
    "clamped",
    "grown",
    "pool_extra",
    "refuse_function",
    "shrunk",
]
