"""How long the messages of a node wait and run, and how much CPU time they take, by handler; CPU time by actor.

Rule 1: nothing is measured, and nobody pays, until somebody looks: cells are of another class meanwhile.
Rule 2: then one message of some is measured, a few hundred a second, and counts for those that its actor has
handled since the last of its own that was measured. The others pay one subtraction.
Rule 3: a measured message is handled as it would be; its coroutine waits where it would wait.
"""

from __future__ import annotations

import random
import sys
from contextlib import contextmanager
from functools import lru_cache
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any, Final

from actors._base.durations import Histogram
from actors._base.thread_clocks import cpu_of_thread
from actors._messaging.message_table import Handler, MessageKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from actors._actor.cell import Cell
    from actors._base.loop import Loop, Timer
    from actors._messaging.mailbox import Envelope

__all__ = ["HandlerTimes", "Steps"]

_A_SECOND: Final = 400
"""Messages that are measured in a second, about."""
_TOGETHER: Final = 32
"""Measured messages after which their rate is looked at."""
_LONGEST_STRIDE: Final = 1 << 14
"""Messages of which one is measured, at most."""
_MOST_HANDLERS: Final = 4096
_ACTORS: Final = 4096
"""Ended actors that are remembered before they are looked for."""
_MEASURED: Final = frozenset({MessageKind.CALL, MessageKind.CONCURRENT})


class _Times:
    """What was measured of one handler."""

    __slots__ = ("cpu", "run", "wait")

    def __init__(self) -> None:
        self.wait = Histogram()
        self.run = Histogram()
        self.cpu = 0.0


class HandlerTimes:
    """What was measured of the messages of one node, while somebody looked.

    Args:
        cells: the node's actors.

    Attributes:
        left: messages until the next one that is measured.
        cpu: CPU seconds of actors, by their number.
    """

    def __init__(self, cells: Mapping[int, Cell]) -> None:
        self.left: int = sys.maxsize
        self.cpu: dict[int, float] = {}
        self._cells = cells
        self._watchers = 0
        self._until = 0.0
        self._timer: Timer | None = None
        self._stride = 1
        self._chosen, self._since = 0, 0.0
        self._handled: dict[int, int] = {}
        self._by_handler: dict[tuple[str, str], _Times] = {}

    @property
    def on(self) -> bool:
        """Whether messages are measured."""
        return self._watchers > 0

    def begin(self) -> None:
        """Measure from now on, until `end` was called as often as this."""
        self._watchers += 1
        if self._watchers == 1:
            self._stride, self._chosen, self._since = 1, 0, perf_counter()
            self.left = 1
            for cell in self._cells.values():
                self.include(cell)

    def end(self) -> None:
        """Measure no more, unless somebody else looks; what was measured is kept."""
        self._watchers -= 1
        if not self._watchers:
            self.left = sys.maxsize
            for cell in self._cells.values():
                kind: Any = type(cell)
                if vars(kind).get("samples"):
                    cell.__class__ = kind.__mro__[1]
                # One whose messages are watched is left as it is: it measures nothing.

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Measure during the block."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def begin_for(self, seconds: float, loop: Loop) -> None:
        """Measure for *seconds* from now on; a later call makes it longer."""
        self._until = loop.now() + seconds
        if self._timer is None:
            self.begin()
            self._timer = loop.call_later(seconds, self._end_after, loop)

    def _end_after(self, loop: Loop) -> None:
        left = self._until - loop.now()
        self._timer = loop.call_later(left, self._end_after, loop) if left > 0 else None
        if self._timer is None:
            self.end()

    def include(self, cell: Cell) -> None:
        """Measure messages of *cell* as well, unless they are watched; called while messages are measured."""
        if not (cell.samples or cell.watched):
            plain: Any = type(cell)
            cell.__class__ = _sampled(plain)
            run = cell.incarnation
            self._handled[cell.ref.uid] = 0 if run is None else run.message_loop.handled

    def measured(self, cell: Cell, handler: Handler, *, waits: bool = True) -> Handler:
        """Return a handler that measures one message, sent now; *handler* itself if it cannot be measured.

        The choice of the next message that is measured is made, too.
        """
        if handler.kind not in _MEASURED or isinstance(handler.fn, _Measured):
            return handler
        self._chosen += 1
        if self._chosen >= _TOGETHER:
            self._adapt()
        self.left = random.randint(1, 2 * self._stride - 1)  # noqa: S311 - no secret
        made = object.__new__(Handler)
        for name in Handler.__slots__:
            setattr(made, name, getattr(handler, name))
        sent = perf_counter() if waits else None
        made.fn = _Measured(self, cell, handler, sent)
        return made

    def add(self, cell: Cell, name: str, wait: float | None, run: float, cpu: float) -> None:
        """Count a message that was measured, for all that it stands for."""
        uid = cell.ref.uid
        incarnation = cell.incarnation
        handled = 0 if incarnation is None else incarnation.message_loop.handled
        before, self._handled[uid] = self._handled.get(uid, 0), handled
        times = max(1, handled - before) if handled >= before else max(1, handled)
        self.cpu[uid] = self.cpu.get(uid, 0.0) + cpu * times
        key = (cell.ref.cls_path, name)
        found = self._by_handler.get(key)
        if found is None:
            if len(self._by_handler) >= _MOST_HANDLERS:
                return
            found = self._by_handler[key] = _Times()
        if wait is not None:
            found.wait.add_many(wait, times)
        found.run.add_many(run, times)
        found.cpu += cpu * times

    def _adapt(self) -> None:
        """Measure more or fewer of the messages, as their rate is; forget actors that have ended."""
        now = perf_counter()
        took = now - self._since
        rate = self._chosen / took if took > 0 else 2.0 * _A_SECOND
        if rate > _A_SECOND:
            self._stride = min(2 * self._stride, _LONGEST_STRIDE)
        elif rate < _A_SECOND / 4:
            self._stride = max(1, self._stride // 2)
        self._chosen, self._since = 0, now
        if len(self._handled) > 2 * len(self._cells) + _ACTORS:
            for uid in self._handled.keys() - self._cells.keys():
                del self._handled[uid]
                self.cpu.pop(uid, None)

    def _look_again(self) -> None:
        """Measure more again, where a burst of messages is over."""
        if self.on and perf_counter() - self._since > 1:
            self._adapt()
            self.left = min(self.left, 2 * self._stride)

    def raw(self) -> list[list[Any]]:
        """Return the times of each handler as plain data that can be added up.

        Of each: its class, its method, how long messages waited and ran (`Histogram.raw`), and CPU seconds.
        """
        self._look_again()
        return [
            [path, name, found.wait.raw(), found.run.raw(), found.cpu]
            for (path, name), found in self._by_handler.items()
        ]


class _Measured:
    """What runs the handler of one message, and measures it."""

    __slots__ = ("_cell", "_name", "_sent", "_times", "inner")

    def __init__(
        self, times: HandlerTimes, cell: Cell, handler: Handler, sent: float | None
    ) -> None:
        self._times = times
        self._cell = cell
        self._name = handler.name
        self.inner: Callable[..., Any] = handler.fn
        self._sent = sent

    async def __call__(self, actor: Any, *args: Any, **kwargs: Any) -> Any:
        thread = self._thread()
        before = 0.0 if thread is None else cpu_of_thread(thread)
        began = perf_counter()
        steps = Steps(self.inner(actor, *args, **kwargs))
        try:
            return await steps
        finally:
            wait = None if self._sent is None else began - self._sent
            used = 0.0 if thread is None else cpu_of_thread(thread) - before
            cpu = steps.cpu + max(0.0, used)
            self._times.add(self._cell, self._name, wait, perf_counter() - began, cpu)

    def _thread(self) -> int | None:
        """Return the number of the actor's own thread; None if it has none."""
        run = self._cell.incarnation
        return None if run is None else run.message_loop.turn.thread


class Steps:
    """Awaits a coroutine, and adds up the CPU seconds of its steps.

    Attributes:
        inner: the coroutine.
        cpu: the CPU seconds so far.
    """

    __slots__ = ("cpu", "inner")

    def __init__(self, inner: Any) -> None:
        self.inner: Any = inner
        self.cpu = 0.0

    def __await__(self) -> Steps:
        return self

    def __iter__(self) -> Steps:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        """Run the coroutine up to where it waits next."""
        began = thread_time()
        try:
            return self.inner.send(value)
        finally:
            self.cpu += thread_time() - began

    def throw(self, *error: Any) -> Any:
        """Raise an error where it waits."""
        began = thread_time()
        try:
            return self.inner.throw(*error)
        finally:
            self.cpu += thread_time() - began

    def close(self) -> None:
        """End it where it waits."""
        self.inner.close()


def _count(cell: Any, envelope: Envelope) -> None:
    """Have *envelope* measured if it is its turn."""
    times: HandlerTimes = cell.host.times
    times.left -= 1
    if times.left < 1:
        envelope.handler = times.measured(cell, envelope.handler)


@lru_cache(maxsize=16)
def _sampled(base: Any) -> Any:
    """Return a class of cells of which some messages are measured, with the layout of *base*."""
    plain_send, plain_try_send, plain_deliver = base.send, base.try_send, base.deliver

    class SampledCell(base):  # type: ignore[misc] # one of the classes of cells
        __slots__ = ()
        samples = True

        # Not by `_count`: a call takes a good part of the time that a tell takes.
        def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            times = self.host.times
            times.left -= 1
            if times.left < 1:
                handler = times.measured(self, handler)
            return plain_send(self, handler, args, kwargs)

        def try_send(self, envelope: Envelope) -> Any:
            _count(self, envelope)
            return plain_try_send(self, envelope)

        def deliver(self, envelope: Envelope) -> None:
            _count(self, envelope)
            plain_deliver(self, envelope)

        def one_by_one(self) -> bool:
            times: HandlerTimes = self.host.times
            times.left -= 1
            return times.left < 1

        def of_own(self, envelope: Envelope) -> None:
            times = self.host.times
            times.left -= 1
            if times.left < 1:
                envelope.handler = times.measured(self, envelope.handler, waits=False)

    return SampledCell
