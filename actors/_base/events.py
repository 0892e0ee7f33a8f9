"""The event stream: what happened in a system, one `Event` each, for every subscriber.

Rule 1: reporting never waits: a slow subscriber loses the oldest events and gets their number.
Rule 2: the facts of an event are plain data, so that they mean the same on every node.
"""

from __future__ import annotations

import functools
import re
import time
import traceback
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from actors._base.log import write_records
from actors._base.readers import Readers
from actors._base.user_traceback import user_frames
from actors.supervisors import Exit, shown
from actors.transport import traceback_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actors._base.loop import Loop

__all__ = [
    "TRACE",
    "DelayedDelivery",
    "Event",
    "EventBus",
    "EventStream",
    "error_facts",
    "event_of",
]

TRACE: Final = "message"
"""The kind of the events that systems with `trace=` report for every message; they are not logged."""

_DELAY: Final = 0.002
"""Seconds between an event and its log line."""
_BOUND: Final = 4096
_WORD: Final = re.compile(r"(?<!^)(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: what, in snake case: ``child_ended``, ``node_ready``, ``dead_letter`` ...
        facts: everything else about it, as plain data.
        at: seconds on the loop's clock.
    """

    kind: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    at: float = 0.0


def _plain(value: object) -> Any:
    if isinstance(value, str | int | float | bool | None):
        return value
    return shown(value) if isinstance(value, BaseException) else str(value)


def error_facts(error: BaseException) -> dict[str, Any]:
    """Return an error as text, with its traceback: of the frames the user's alone, if there are any."""
    text = traceback_text(error) or "".join(traceback.format_exception(error))
    text = user_frames(text) or text
    return {"error": f"{type(error).__name__}: {shown(error)}", "traceback": text.rstrip()}


def _facts_of(record: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for item in fields(record):
        value = getattr(record, item.name)
        facts[item.name] = _plain(value)
        error = value.error if isinstance(value, Exit) else value
        if isinstance(error, BaseException) and "traceback" not in facts:
            facts |= {"traceback": error_facts(error)["traceback"]}
    return facts


class _RecordFacts(Mapping[str, Any]):
    """The fields of a record as facts, computed on first use: formatting a traceback is slow."""

    __slots__ = ("_facts", "_record")

    def __init__(self, record: Any) -> None:
        self._record = record
        self._facts: dict[str, Any] | None = None

    def _all(self) -> dict[str, Any]:
        if self._facts is None:
            self._facts = _facts_of(self._record)
        return self._facts

    def __getitem__(self, name: str) -> Any:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return repr(self._all())


@functools.cache
def _kind_of(name: str) -> str:
    return _WORD.sub("_", name).lower()


def event_of(record: Any, at: float) -> Event:
    """Return the event of a lower layer's record: the class name is the kind, the fields are the facts."""
    return Event(_kind_of(type(record).__name__), _RecordFacts(record), at)


class EventStream:
    """The events of one subscriber, in order: ``async for event in system.events()``."""

    def __init__(self, bus: EventBus, *, messages: bool = True) -> None:
        self._bus = bus
        self._readers = Readers(bus.loop.waiter)
        self._messages = messages
        self._records: deque[Event] = deque()
        self._lost = 0
        self._closed = False
        bus.subscribe(self)

    def __call__(self, event: Event) -> None:
        """Add *event*; drop the oldest if there are too many."""
        if not self._messages and event.kind == TRACE:
            return
        if len(self._records) >= _BOUND:
            self._records.popleft()
            self._lost += 1
        self._records.append(event)
        self.wake()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        while not self._records:
            if self._closed or self._bus.closed:
                raise StopAsyncIteration
            await self._readers.wait()
        if self._lost:
            lost, self._lost = self._lost, 0
            return Event("events_lost", {"count": lost}, self._bus.loop.now())
        return self._records.popleft()

    async def batch(self, most: int) -> list[Event]:
        """Return the events that are there, at most *most*; wait for the first; none at the end."""
        found: list[Event] = []
        async for event in self:
            found.append(event)
            if len(found) >= most or not (self._records or self._lost):
                break
        return found

    def take(self) -> list[Event]:
        """Return the events that are there, without waiting."""
        found = list(self._records)
        self._records.clear()
        return found

    def add(self, events: Iterable[Event]) -> None:
        """Add events that were kept elsewhere; a stream of those has no other source."""
        self._records.extend(events)

    def wake(self) -> None:
        """Wake the readers: there is an event, or the stream has ended."""
        self._readers.wake()

    def close(self) -> None:
        """Unsubscribe; the iteration ends after the events that are there."""
        self._closed = True
        self._bus.unsubscribe(self)
        self.wake()


class EventBus:
    """Passes each event to every subscriber, in order, at once."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.closed: bool = False
        self._subscribers: list[Callable[[Event], None]] = []

    def subscribe(self, take: Callable[[Event], None]) -> None:
        """Call *take* with every event from now on."""
        self._subscribers.append(take)

    def unsubscribe(self, take: Callable[[Event], None]) -> None:
        """Stop calling *take*."""
        if take in self._subscribers:
            self._subscribers.remove(take)

    def stream(self, *, messages: bool = True) -> EventStream:
        """Return a new stream of events; *messages* says whether traced messages are among them."""
        return EventStream(self, messages=messages)

    def report(self, event: Event) -> None:
        """Pass *event* to every subscriber."""
        for take in list(self._subscribers):
            take(event)

    def close(self) -> None:
        """End every stream after the events it has."""
        self.closed = True
        for take in self._subscribers:
            if isinstance(take, EventStream):
                take.wake()


class DelayedDelivery:
    """Hands events to *take* shortly after they happened, so that a restart does not wait for log lines."""

    def __init__(
        self, take: Callable[[Event, float], None], call_later: Callable[..., object]
    ) -> None:
        self._take = take
        self._call_later = call_later
        self._events: list[tuple[Event, float]] = []

    def __call__(self, event: Event) -> None:
        """Keep one event and its time of day until the next delivery."""
        self._events.append((event, time.time()))
        if len(self._events) == 1:
            self._call_later(_DELAY, self.flush)

    def flush(self) -> None:
        """Deliver now."""
        events, self._events = self._events, []
        for event, at in events:
            try:
                self._take(event, at)
            except Exception as error:  # noqa: BLE001 - a user's logging must not end the system
                what = f"event {event.kind} not logged: {type(error).__name__}: {shown(error)}"
                write_records("", [{"level": "error", "event": what}])
