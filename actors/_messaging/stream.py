"""Streams: an async generator of an actor makes items, a reader takes them, with flow control between.

Rule 1: each item is made by a message of its own; a generator suspended at `yield` blocks no other message.
Rule 2: at most `WINDOW` items are made and not yet taken; taking one allows one more.
Rule 3: a stream ends without an error, by the error of its generator, or by the end of its actor.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from actors._base.errors import ActorCrashed, not_sendable
from actors._base.readers import Readers
from actors._messaging.mailbox import Envelope
from actors._messaging.message_table import Handler, MessageKind
from actors.transport import Unsendable, snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from actors._base.loop import Waiter
    from actors._messaging.deadlock import StreamEdge
    from actors._messaging.delivery_hooks import DeliveryHooks

__all__ = ["WINDOW", "ItemSink", "Stream", "StreamProducer", "StreamProducers"]

R = TypeVar("R")
WINDOW: Final = 16
_RESUME: Final = Handler("(resume)", lambda: None, MessageKind.RESUME)


class ItemSink(Protocol):
    """Where a generator's items go: to a stream of this node, or over a link."""

    producer: StreamProducer | None

    def done(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def put(self, value: Any) -> object: ...
    def set_result(self, value: Any, /) -> None: ...
    def set_exception(self, error: BaseException, /) -> None: ...


class Stream(Generic[R]):
    """What the reader iterates over: items in order, then the end or the error."""

    def __init__(self, make_waiter: Callable[[], Waiter]) -> None:
        self.producer: StreamProducer | None = None
        # Set by a link, which tells the node of the generator that an item was taken.
        self.on_item_taken: Callable[[], None] | None = None
        # Set if the reader is an actor.
        self.edge: StreamEdge | None = None
        # Set by what wants to know of the end: called once, with its error.
        self.on_end: Callable[[BaseException | None], None] | None = None
        self._readers = Readers(make_waiter)
        self._items: deque[R] = deque()
        self._error: BaseException | None = None
        self._ended = False

    def done(self) -> bool:
        """Whether the stream has ended."""
        return self._ended

    def cancelled(self) -> bool:
        """Never: a reader that goes away closes the stream."""
        return False

    def put(self, value: R) -> None:
        """Add a snapshot of *value* as the next item."""
        try:
            self.put_own(snapshot(value, "item"))
        except Unsendable as error:
            raise not_sendable(error) from error

    def put_own(self, value: R) -> None:
        """Add *value*, which needs no snapshot, as the next item."""
        self._items.append(value)
        self._wake()

    def set_result(self, _value: object = None, /) -> None:
        """End the stream."""
        self._ended = True
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end(self._error)
        self._wake()

    def set_exception(self, error: BaseException, /) -> None:
        """End the stream by *error*, after the items that are there."""
        if self._ended:
            return
        self._error = error
        self.set_result()

    def _wake(self) -> None:
        if self.edge is not None:
            self.edge.remove()
        self._readers.wake()

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
            self.producer.allow(1)
        elif self.on_item_taken is not None and not self._ended:
            self.on_item_taken()
        return value

    async def _next(self) -> None:
        if self.edge is None:
            await self._readers.wait()
            return
        self.edge.add()
        try:
            await self._readers.wait()
        finally:
            self.edge.remove()


class StreamProducer:
    """Runs the generator for one item at a time, each by a message to its own actor."""

    __slots__ = (
        "_credit",
        "_deliver",
        "_generator",
        "_origin",
        "_resume_queued",
        "begun",
        "closing",
        "opened_by",
        "sink",
    )

    def __init__(
        self,
        generator: Any,
        opened_by: Envelope,
        deliver: Callable[[Envelope], None],
        hooks: DeliveryHooks | None = None,
    ) -> None:
        sink: Any = opened_by.reply
        self._generator = generator
        self._deliver = deliver
        self._origin = hooks
        self._credit = WINDOW
        self._resume_queued = False
        self.opened_by: Envelope = opened_by
        self.sink: ItemSink = sink
        self.closing: bool = False
        self.begun: bool = False
        """Whether it has made an item."""
        sink.producer = self
        self._queue_resume()

    def allow(self, items: int) -> None:
        """Let the generator make *items* more items."""
        self._credit += items
        self._queue_resume()

    def close(self) -> None:
        """Have the generator closed: the reader has gone."""
        self.closing = True
        self._queue_resume()

    def _queue_resume(self) -> None:
        if not self._resume_queued and (self._credit > 0 or self.closing):
            self._resume_queued = True
            self._deliver(Envelope(_RESUME, (self,), {}, hooks=self._origin))

    async def resume(self) -> bool:
        """Make one item, or close; return whether the generator is still open."""
        self._resume_queued = False
        if self.closing or self.sink.done():
            self._release()
            await self._generator.aclose()
            return False
        try:
            self.sink.put(await anext(self._generator))
        except StopAsyncIteration:
            self._end(None)
            return False
        except Exception as error:  # noqa: BLE001 - the reader gets it
            self._end(error)
            # It is still open if it was its item that could not be sent.
            await self._generator.aclose()
            return False
        self._credit -= 1
        self.begun = True
        self._queue_resume()
        return True

    def _release(self) -> None:
        # The message refers to the sink: its arguments would be freed by the garbage collector only.
        self.sink.producer = None

    def _end(self, error: BaseException | None) -> None:
        self._release()
        if self.sink.done():
            return
        if error is None:
            self.sink.set_result(None)
        else:
            self.sink.set_exception(error)

    def crash(self, error: BaseException) -> None:
        """End the stream by *error*: the incarnation has ended."""
        self._end(error)


class StreamProducers:
    """The open streams of one incarnation, by the message that opened each."""

    def __init__(self, ref: object, deliver: Callable[[Envelope], None]) -> None:
        self._ref = ref
        self._deliver = deliver
        self._open: dict[Envelope, StreamProducer] = {}

    def __len__(self) -> int:
        return len(self._open)

    def open(self, actor: object, envelope: Envelope) -> None:
        """Start the generator that *envelope* asks for, if its reader still waits."""
        sink: Any = envelope.reply
        if not sink.done():
            try:
                generator = envelope.handler.fn(actor, *envelope.args, **envelope.kwargs)
            except TypeError as error:  # it does not take these arguments
                sink.set_exception(error)
                return
            hooks = None if envelope.hooks is None else envelope.hooks.for_resume()
            self._open[envelope] = StreamProducer(generator, envelope, self._deliver, hooks)

    def close(self, envelope: Envelope) -> None:
        """Close the stream that *envelope* opened, if there is one."""
        if envelope in self._open:
            self._open[envelope].close()

    def defer(self, producer: StreamProducer) -> Envelope:
        """Forget the stream of *producer*, which has made no item; return the message that opens it."""
        del self._open[producer.opened_by]
        producer.sink.producer = None
        return producer.opened_by

    async def resume(self, producer: StreamProducer) -> None:
        """Have *producer* make an item; end the stream if it belongs to an earlier incarnation."""
        if self._open.get(producer.opened_by) is not producer:
            producer.crash(ActorCrashed(self._ref, "it restarted"))
        elif not await producer.resume():
            del self._open[producer.opened_by]

    def crash(self, gone: Callable[[], BaseException]) -> None:
        """End every stream by the error that *gone* makes."""
        for producer in self._open.values():
            producer.crash(gone())

    async def aclose(self, gone: Callable[[], BaseException]) -> None:
        """Close all generators, and end every stream by the error that *gone* makes."""
        self.crash(gone)
        while self._open:
            # Removed first, so that one whose close fails or is interrupted is not closed again.
            _, producer = self._open.popitem()
            producer.closing = True
            await producer.resume()
