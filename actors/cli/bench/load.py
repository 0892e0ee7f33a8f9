"""The load of `actors bench`: requests that are due at their time, over a number of connections."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from actors.cli._failure import CommandFailed
from actors.cli.bench.http_connection import BadResponse

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Connection", "Load", "Outcome"]

_PAUSE: Final = 0.1
"""Seconds for which a connection rests after it was refused, so that nothing spins."""


class Connection(Protocol):
    """What sends one request and waits for its answer."""

    async def ask(self) -> int: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class Outcome:
    """What came of a load.

    Attributes:
        waited: seconds of each request that was answered, and of each that had to be left unsent at the end.
        statuses: how many answers had each status.
        failures: how many requests failed, by why.
        unsent: how many were due and had no connection free until the end.
        seconds: how long it took.
        busy: the part of that time which this program computed.
    """

    waited: array[float] = field(default_factory=lambda: array("d"))
    statuses: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    unsent: int = 0
    seconds: float = 0.0
    busy: float = 0.0


class Load:
    """Sends requests for some seconds.

    Args:
        connect: makes one connection.
        connections: how many there are.
        seconds: how long requests are due.
        rate: how many are due in a second; None sends the next as soon as there was an answer.
        timeout: seconds after which a request has failed.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        connections: int,
        seconds: float,
        rate: float | None,
        timeout: float,
    ) -> None:
        self._connect = connect
        self._connections = connections
        self._seconds = seconds
        self._rate = rate
        self._timeout = timeout
        self._taken = 0
        self._begin = self._end = 0.0
        self._outcome = Outcome()

    async def run(self) -> Outcome:
        """Send it all; return what came of it."""
        computed, self._begin = time.process_time(), time.perf_counter()
        self._end = self._begin + self._seconds
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._connections):
                tasks.create_task(self._use(self._connect()))
        outcome = self._outcome
        outcome.seconds = time.perf_counter() - self._begin
        outcome.busy = (time.process_time() - computed) / outcome.seconds
        if self._rate is not None:
            for number in range(self._taken, round(self._rate * self._seconds)):
                outcome.unsent += 1
                outcome.waited.append(self._end - (self._begin + number / self._rate))
        return outcome

    def _next(self) -> float | None:
        """Return when the next request is due, None when no more are."""
        now = time.perf_counter()
        if self._rate is None:
            return now if now < self._end else None
        due = self._begin + self._taken / self._rate
        if due >= self._end or now >= self._end:
            return None
        self._taken += 1
        return due

    async def _use(self, connection: Connection) -> None:
        try:
            while (due := self._next()) is not None:
                delay = due - time.perf_counter()
                if delay > 0:
                    await asyncio.sleep(delay)
                await self._ask(connection, due)
        finally:
            connection.close()

    async def _ask(self, connection: Connection, due: float) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                status = await connection.ask()
        except CommandFailed:
            raise
        except TimeoutError:
            self._failed(connection, f"no answer within {self._timeout:g} s")
        except BadResponse as error:
            self._failed(connection, str(error))
        except OSError as error:
            self._failed(connection, error.strerror or str(error))
            await asyncio.sleep(_PAUSE)
        except Exception as error:  # noqa: BLE001 - of the library for WebSockets: it is counted
            self._failed(connection, f"{type(error).__name__}: {error}")
            await asyncio.sleep(_PAUSE)
        else:
            self._outcome.statuses[status] += 1
            self._outcome.waited.append(time.perf_counter() - due)

    def _failed(self, connection: Connection, why: str) -> None:
        connection.close()
        failures = self._outcome.failures
        failures[why if why in failures or len(failures) < 20 else "other reasons"] += 1  # noqa: PLR2004 - lines
