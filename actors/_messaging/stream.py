"""Streams: an async generator of an actor, read by somebody else, a window at a time.

Rule 1: the generator holds nothing while it is suspended at `yield`; each resume is one turn.
Rule 2: at most `WINDOW` items are under way; taking one asks for one more.
Rule 3: an ended stream says why: nothing, the generator's own error, or what ended its actor.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from actors._base.errors import ActorCrashed, not_sendable
from actors._messaging.mailbox import Envelope
from actors._messaging.message_table import Handler, MessageKind
from actors.transport import Unsendable, snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from actors._base.loop import Waiter
    from actors._messaging.deadlock import StreamEdge
    from actors._messaging.mailbox import DeliveryHooks

__all__ = ["WINDOW", "ItemSink", "Stream", "StreamProducer", "StreamProducers"]

R = TypeVar("R")
WINDOW: Final = 16
_RESUME: Final = Handler("(resume)", lambda: None, MessageKind.RESUME)


class ItemSink(Protocol):
    """Where a generator's items go: a stream of this node, or a link."""

    producer: StreamProducer | None

    def done(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def put(self, value: Any) -> object: ...
    def set_result(self, value: Any, /) -> None: ...
    def set_exception(self, error: BaseException, /) -> None: ...


class Stream(Generic[R]):
    """The reader's end: items in order, then the end or the error."""

    def __init__(self, make_waiter: Callable[[], Waiter]) -> None:
        self.producer: StreamProducer | None = None
        # A link sets this to tell the other node that an item was taken.
        self.on_item_taken: Callable[[], None] | None = None
        # Of a reader that is an actor: whom it waits for, while it does.
        self.edge: StreamEdge | None = None
        self._make_waiter = make_waiter
        self._items: deque[R] = deque()
        self._waiter: Waiter | None = None
        self._error: BaseException | None = None
        self._ended = False

    def done(self) -> bool:
        """Whether nothing more will come."""
        return self._ended

    def cancelled(self) -> bool:
        """Whether the reader went away; a stream is closed instead."""
        return False

    def put(self, value: R) -> None:
        """Take a snapshot of the next item from the generator."""
        try:
            self.put_own(snapshot(value, "item"))
        except Unsendable as error:
            raise not_sendable(error) from error

    def put_own(self, value: R) -> None:
        """Take the next item, this reader's own."""
        self._items.append(value)
        self._wake()

    def set_result(self, _value: object = None, /) -> None:
        """End the stream."""
        self._ended = True
        self._wake()

    def set_exception(self, error: BaseException, /) -> None:
        """End the stream by *error*, after what has already come."""
        if self._ended:
            return
        self._error = error
        self.set_result()

    def _wake(self) -> None:
        if self.edge is not None:
            self.edge.remove()
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def __aiter__(self) -> AsyncIterator[R]:
        return self

    async def __anext__(self) -> R:
        while not self._items:
            if self._ended:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                raise StopAsyncIteration
            await self._next()
        value = self._items.popleft()
        if self.producer is not None:
            self.producer.pull(1)
        elif self.on_item_taken is not None and not self._ended:
            self.on_item_taken()
        return value

    async def _next(self) -> None:
        self._waiter = waiter = self._make_waiter()
        if self.edge is None:
            await waiter
            return
        self.edge.add()
        try:
            await waiter
        finally:
            self.edge.remove()


class StreamProducer:
    """The generator's end, in the actor's own turns."""

    __slots__ = ("_busy", "_credit", "_deliver", "_generator", "_origin", "closing", "sink")

    def __init__(
        self,
        generator: Any,
        sink: ItemSink,
        deliver: Callable[[Envelope], None],
        hooks: DeliveryHooks | None = None,
    ) -> None:
        self._generator = generator
        self._deliver = deliver
        self._origin = hooks
        self._credit = WINDOW
        self._busy = False
        self.sink = sink
        self.closing = False
        sink.producer = self
        self._next_turn()

    def pull(self, items: int) -> None:
        """Let the generator make *items* more."""
        self._credit += items
        self._next_turn()

    def close(self) -> None:
        """End the generator in a turn of its own; nobody reads any more."""
        self.closing = True
        self._next_turn()

    def _next_turn(self) -> None:
        if not self._busy and (self._credit > 0 or self.closing):
            self._busy = True
            self._deliver(Envelope(_RESUME, (self,), {}, hooks=self._origin))

    async def resume(self) -> bool:
        """Make one item, or close; return whether the generator goes on."""
        self._busy = False
        if self.closing or self.sink.done():
            await self._generator.aclose()
            return False
        try:
            self.sink.put(await anext(self._generator))
        except StopAsyncIteration:
            self._end(None)
            return False
        except Exception as error:  # noqa: BLE001 - it goes to the reader, who awaits it
            self._end(error)
            # The generator lives if it was its item that could not travel.
            await self._generator.aclose()
            return False
        self._credit -= 1
        self._next_turn()
        return True

    def _end(self, error: BaseException | None) -> None:
        if self.sink.done():
            return
        if error is None:
            self.sink.set_result(None)
        else:
            self.sink.set_exception(error)

    def crash(self, error: BaseException) -> None:
        """The actor is gone: the reader is told."""
        self._end(error)


class StreamProducers:
    """The producers of one incarnation, by the message that opened each."""

    def __init__(self, ref: object, deliver: Callable[[Envelope], None]) -> None:
        self._ref = ref
        self._deliver = deliver
        self._open: dict[Envelope, StreamProducer] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(self, actor: object, envelope: Envelope) -> None:
        """Make the generator that *envelope* asks for, if somebody still reads."""
        sink: Any = envelope.reply
        if not sink.done():
            generator = envelope.handler.fn(actor, *envelope.args, **envelope.kwargs)
            hooks = None if envelope.hooks is None else envelope.hooks.for_resume()
            self._open[envelope] = StreamProducer(generator, sink, self._deliver, hooks)

    def close(self, envelope: Envelope) -> None:
        """End the generator that *envelope* opened, if it is one of these."""
        if envelope in self._open:
            self._open[envelope].close()

    async def resume(self, producer: StreamProducer) -> None:
        """Let *producer* take its turn; one of an earlier incarnation has none any more."""
        key = next((known for known, own in self._open.items() if own is producer), None)
        if key is None:
            producer.crash(ActorCrashed(self._ref, "it restarted"))
        elif not await producer.resume():
            del self._open[key]

    def crash(self, gone: Callable[[], BaseException]) -> None:
        """Tell every reader *gone*."""
        for producer in self._open.values():
            producer.crash(gone())

    async def aclose(self, gone: Callable[[], BaseException]) -> None:
        """End all of them; each reader is told *gone*."""
        self.crash(gone)
        while self._open:
            # Taken out first: one whose end fails or is broken off has had its turn.
            _, producer = self._open.popitem()
            producer.closing = True
            await producer.resume()
