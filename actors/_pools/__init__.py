"""Pools: tasks that wait in one queue, and workers that take the next one as soon as they are free."""

from actors._base.durations import Durations
from actors._pools.blocking_pool import BlockingPool
from actors._pools.clients import PoolClients, pool_extra
from actors._pools.facts import PoolFacts
from actors._pools.figures import PoolStats, WorkerStats
from actors._pools.function_worker import FunctionWorker
from actors._pools.line_journal import LineReader
from actors._pools.link_places import LinkPlaces
from actors._pools.pool import Pool
from actors._pools.pool_worker import PoolWorker
from actors._pools.queue import PoolQueue
from actors._pools.sent_function import refuse_function
from actors._pools.sizing import clamped, grown, shrunk
from actors._pools.submitter import Loss, Submitter

__all__ = [
    "BlockingPool",
    "Durations",
    "FunctionWorker",
    "LineReader",
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
